/** Where a key lives, and what each of its homes, and each node that stands in for one, holds of it. */

import type { ExplainRequest, ExplainResponse, ReplicaState } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { locate, namespaceOf } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { printContext, printDot } from '../core/versioning/causal-context.ts';
import { placeOf, reachableOf, replicaOn, type StorageNode } from './node.ts';

/** In a large ring no more are asked: those that come first stand in first. */
const fallbacksMax = 5;

export async function explain(node: StorageNode, request: ExplainRequest, deadline: number): Promise<ExplainResponse> {
  const ring = currentRing(node);
  namespaceOf(request.namespace, node.validation);
  const { storageKey, keyHash } = locate(request.namespace, request.key, node.validation);
  const { partition, homes, preference } = placeOf(ring, storageKey);
  const fallbacks = reachableOf(node, preference.slice(homes.length)).slice(0, fallbacksMax);
  const replicas = await Promise.all([
    ...homes.map(({ id }) => stateOf(node, id, true, storageKey, deadline)),
    ...fallbacks.map(({ id }) => stateOf(node, id, false, storageKey, deadline)),
  ]);
  return { hash: keyHash, partition, ring: ring.version, replicas: replicas.filter(isWorthShowing) };
}

/** A fallback that keeps nothing is no news. */
function isWorthShowing({ home, dots, clock, hintedFor }: ReplicaState): boolean {
  return home || dots.length > 0 || clock !== '' || hintedFor.length > 0;
}

async function stateOf(
  node: StorageNode,
  nodeId: string,
  home: boolean,
  key: Uint8Array,
  deadline: number,
): Promise<ReplicaState> {
  const state = { nodeId, home, reachable: false, dots: [], clock: '', tombstone: false, hintedFor: [] };
  if (nodeId !== node.id && !node.peers.reachable(nodeId)) return state;
  try {
    const { promise: silent, reject } = Promise.withResolvers<never>();
    const onSilent = () => reject(new Error(`node ${nodeId} is silent`));
    const inspected = replicaOn(node, nodeId).inspect({ key, deadline, onSilent });
    const { record: bytes, owed } = await Promise.race([inspected, silent]);
    if (bytes === undefined) return { ...state, reachable: true };
    const { clock, siblings } = node.records.decode(bytes);
    const dots = siblings.map(({ dot }) => printDot(dot));
    const tombstone = siblings.every(({ contends }) => contends === 'delete');
    return { ...state, reachable: true, dots, clock: printContext(clock), tombstone, hintedFor: [...owed] };
  } catch (error) {
    node.metrics.replicaFailed(nodeId, 'read', error);
    return state;
  }
}
