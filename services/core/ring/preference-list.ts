/**
 * All nodes that may serve a key of a partition, in order: its owners (homes), then, walking the
 * partitions upwards and round, each owner not yet named (fallbacks). The comment at kv.proto's Ring is
 * the contract: clients in other languages compute the same list.
 */
import type { Ring } from './ring.ts';

/**
 * Indexes of nodes; the first `ring.replicas` are the homes. The list is made at the first question and
 * kept with the ring, so the caller must not change it.
 */
export function preferenceList(ring: Ring, partition: number): readonly number[] {
  return ring.preferenceLists[partition] ?? remember(ring, partition);
}

function remember(ring: Ring, partition: number): readonly number[] {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < ring.partitions)) {
    throw new Error(`there is no partition ${partition} of ${ring.partitions}`);
  }
  const list = walk(ring, partition);
  ring.preferenceLists[partition] = list;
  return list;
}

function walk(ring: Ring, partition: number): readonly number[] {
  const { owners, replicas, nodes } = ring;
  const list: number[] = [];
  const named = new Uint8Array(nodes.length);
  const start = partition * replicas;
  for (let step = 0; step < owners.length && list.length < nodes.length; step++) {
    const node = owners[(start + step) % owners.length] as number;
    if (named[node] === 1) continue;
    named[node] = 1;
    list.push(node);
  }
  return list;
}
