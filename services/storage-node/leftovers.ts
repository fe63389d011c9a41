/**
 * Partitions of others that records of this node may be left of (transfers.ts hands them back). A record in one of them
 * goes only by being handed back, never with its last hint (handoff.ts).
 *
 * I1 What comes to be left of a partition while it is handed back may have been passed by already: it is added again, and
 *    a partition that was added since does not go.
 */
export interface Leftovers extends Iterable<number> {
  add(partition: number): void;
  has(partition: number): boolean;
  /** Names the last time that the partition was added. */
  addedAt(partition: number): number | undefined;
  delete(partition: number): void;
  clear(): void;
  readonly size: number;
  onAdded(listener: () => void): void;
}

export function createLeftovers(): Leftovers {
  const partitions = new Map<number, number>();
  let additions = 0;
  let onAdded = () => {};
  return {
    add(partition) {
      partitions.set(partition, ++additions);
      onAdded();
    },
    has: (partition) => partitions.has(partition),
    addedAt: (partition) => partitions.get(partition),
    delete: (partition) => void partitions.delete(partition),
    clear: () => partitions.clear(),
    get size() {
      return partitions.size;
    },
    onAdded(listener) {
      onAdded = listener;
    },
    [Symbol.iterator]: () => partitions.keys(),
  };
}
