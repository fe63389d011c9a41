/**
 * From which ring on a node takes operations on a partition: the last one that changed by whom it is served. An operation
 * that was placed by an older ring is refused, so that none goes to the old owners alone once the new ones have begun to
 * take over (docs/ring-changes.md).
 *
 * I1 A fence never goes down.
 * I2 Where a ring was passed over, partitions with pending owners count as changed: what is pending now may have been given
 *    up meanwhile, and begun again.
 */
import { epochOf, type Ring } from './ring.ts';

export interface Fences {
  /** A newer ring is gone over to. */
  follow(ring: Ring): void;
  /** Epoch (ring.ts); 0: no ring is known. */
  of(partition: number): number;
}

export function createFences(): Fences {
  let known: Ring | undefined;
  let epochs: number[] = [];
  return {
    follow(ring) {
      const epoch = epochOf(ring.version);
      const before = known;
      known = ring;
      if (before === undefined || before.partitions !== ring.partitions) {
        epochs = new Array<number>(ring.partitions).fill(epoch);
        return;
      }
      const passedOver = epoch !== epochOf(before.version) + 1;
      for (let partition = 0; partition < ring.partitions; partition++) {
        const isPending = ring.pending.has(partition) || before.pending.has(partition);
        if ((passedOver && isPending) || !isServedAlike(before, ring, partition)) epochs[partition] = epoch;
      }
    },
    of: (partition) => epochs[partition] ?? 0,
  };
}

/** Whether the same nodes own it in both, in whatever order, and the same ones are pending. */
function isServedAlike(a: Ring, b: Ring, partition: number): boolean {
  const first = partition * a.replicas;
  const row = a.owners.subarray(first, first + a.replicas);
  const other = b.owners.subarray(first, first + b.replicas);
  return isSameSet(row, other) && isSameSet(a.pending.get(partition) ?? [], b.pending.get(partition) ?? []);
}

function isSameSet(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.from(a).every((node) => Array.prototype.includes.call(b, node));
}
