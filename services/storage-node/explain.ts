/** Where a key lives, and what each of its homes holds of it. */

import type { ExplainRequest, ExplainResponse, ReplicaState } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { locate } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import type { RingNode } from '../core/ring/ring.ts';
import { printContext, printDot } from '../core/versioning/causal-context.ts';
import { placeOf, replicaOn, type StorageNode } from './node.ts';

export async function explain(node: StorageNode, request: ExplainRequest, deadline: number): Promise<ExplainResponse> {
  const ring = currentRing(node);
  const { storageKey, keyHash } = locate(request.namespace, request.key, node.validation);
  const { partition, homes } = placeOf(ring, storageKey);
  const replicas = await Promise.all(homes.map((home) => stateOf(node, home, storageKey, deadline)));
  return { hash: keyHash, partition, ring: ring.version, replicas };
}

async function stateOf(node: StorageNode, { id }: RingNode, key: Uint8Array, deadline: number): Promise<ReplicaState> {
  const state = { nodeId: id, home: true, reachable: false, dots: [], clock: '', tombstone: false, hintedFor: [] };
  try {
    const bytes = await replicaOn(node, id).read({ key, deadline });
    if (bytes === undefined) return { ...state, reachable: true };
    const { clock, siblings } = node.records.decode(bytes);
    const dots = siblings.map(({ dot }) => printDot(dot));
    return { ...state, reachable: true, dots, clock: printContext(clock), tombstone: siblings.length === 0 };
  } catch (error) {
    node.metrics.replicaFailed(id, 'read', error);
    return state;
  }
}
