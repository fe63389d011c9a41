/**
 * Partitions of others that records of this node may be left of (transfers.ts hands them back). A record in one of them
 * goes only by being handed back, never with its last hint (handoff.ts).
 */
export interface Leftovers extends Iterable<number> {
  add(partition: number): void;
  has(partition: number): boolean;
  delete(partition: number): void;
  clear(): void;
  readonly size: number;
  onAdded(listener: () => void): void;
}

export function createLeftovers(): Leftovers {
  const partitions = new Set<number>();
  let onAdded = () => {};
  return {
    add(partition) {
      partitions.add(partition);
      onAdded();
    },
    has: (partition) => partitions.has(partition),
    delete: (partition) => void partitions.delete(partition),
    clear: () => partitions.clear(),
    get size() {
      return partitions.size;
    },
    onAdded(listener) {
      onAdded = listener;
    },
    [Symbol.iterator]: () => partitions[Symbol.iterator](),
  };
}
