/**
 * From which ring on a node takes operations on a partition: the last one that changed by whom it is served. An operation
 * that was placed by an older ring is refused, so that none goes to the old owners alone once the new ones have begun to
 * take over (docs/ring-changes.md).
 *
 * I1 A fence never goes down.
 * I2 Where a ring was passed over, partitions with pending owners count as changed unless the ring says that they have not
 *    been (`pendingSince`): what is pending now may have been given up meanwhile, and begun again.
 * I3 Where the ring has another number of partitions than the one before, a partition has the highest fence of those that
 *    it shares keys with, and has changed if it has towards any of them. A doubling alone moves no fence (doubling.ts).
 */
import { partitionOfStorageKey, partitionsSharing } from './partition.ts';
import { epochOf, isServedAlike, type Ring } from './ring.ts';

export interface Fences {
  /** A newer ring is gone over to. */
  follow(ring: Ring): void;
  /** Epoch (ring.ts) of a partition of the ring gone over to last; 0: no ring is known. */
  of(partition: number): number;
  /** Of the partition that the key is in now: where it was placed by an older ring, that one's number is of no use. */
  ofKey(storageKey: Uint8Array): number;
}

export function createFences(): Fences {
  let known: Ring | undefined;
  let epochs: number[] = [];
  return {
    follow(ring) {
      const epoch = epochOf(ring.version);
      const before = known;
      known = ring;
      if (before === undefined) {
        epochs = new Array<number>(ring.partitions).fill(epoch);
        return;
      }
      const passedOver = epoch !== epochOf(before.version) + 1;
      const last = epochs;
      epochs = Array.from({ length: ring.partitions }, (_, partition) => {
        const shared = partitionsSharing(partition, ring.partitions, before.partitions);
        const isPending = ring.pending.has(partition) || shared.some((old) => before.pending.has(old));
        const isAlike = shared.every((old) => isServedAlike(before, old, ring, partition));
        const since = ring.pendingSince.get(partition);
        const isSame = since !== undefined && shared.every((old) => before.pendingSince.get(old) === since);
        return (passedOver && isPending && !isSame) || !isAlike
          ? epoch
          : Math.max(...shared.map((old) => last[old] as number));
      });
    },
    of: (partition) => epochs[partition] ?? 0,
    ofKey: (key) => (known === undefined ? 0 : (epochs[partitionOfStorageKey(key, known.partitions)] as number)),
  };
}
