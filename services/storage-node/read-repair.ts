/**
 * After a read whose replicas differed: each one that lacks something gets the merged record. Unsynced,
 * because nobody is waiting and nothing rests on it; at most `repairsMax` at a time, the rest is left to
 * the next read.
 */
import type { ReplicaWriteMessage } from '../core/quorum/peers.ts';
import type { KeyRecord } from '../core/versioning/record.ts';
import type { ReadAnswer } from './coordinate-get.ts';
import { replicaOn, type StorageNode } from './node.ts';

export const repairsMax = 256;
const repairTimeoutMs = 5_000;

export async function repairReplicas(
  node: StorageNode,
  key: Uint8Array,
  merged: KeyRecord,
  stale: readonly ReadAnswer[],
  /** In which the replicas were asked. */
  era: number,
): Promise<void> {
  if (node.metrics.repairsUnderWay >= repairsMax) {
    node.metrics.repairsSkipped.add(1);
    return;
  }
  node.metrics.repairsUnderWay++;
  const record = node.records.encode(merged);
  const message = { key, record, era, sync: false, hintedFor: '', deadline: node.clock.now() + repairTimeoutMs };
  await Promise.all(stale.map(({ nodeId }) => repair(node, nodeId, message)));
  node.metrics.repairsUnderWay--;
}

async function repair(node: StorageNode, nodeId: string, message: ReplicaWriteMessage): Promise<void> {
  try {
    await replicaOn(node, nodeId).write(message); // throws at once where the node has left the ring since
    node.metrics.repairs.add(1);
  } catch (error) {
    node.metrics.replicaFailed(nodeId, 'repair', error);
  }
}
