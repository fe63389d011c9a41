/**
 * Which partition a key is in: the top log2(Q) bits of its hash. As storage keys begin with the hash,
 * big-endian, a partition is one contiguous range of them, and doubling Q cuts each range in half.
 */

/** `hash` is the XXH64 of the key (storage-key.ts). */
export function partitionOf(hash: bigint, ring: { readonly partitions: number }): number {
  return Number(BigInt.asUintN(64, hash) >> 48n) >>> (16 - bitsOf(ring.partitions));
}

/** The same from the first bytes of a storage key, without a bigint: for the hot path. */
export function partitionOfStorageKey(key: Uint8Array, partitions: number): number {
  return (((key[0] as number) << 8) | (key[1] as number)) >>> (16 - bitsOf(partitions));
}

export interface StorageRange {
  /** Inclusive. */
  readonly start: Uint8Array;
  /** Exclusive; undefined: to the last key. */
  readonly end: Uint8Array | undefined;
}

/** The storage keys of a partition. Throws where there is no such partition. */
export function rangeOfPartition(partition: number, partitions: number): StorageRange {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < partitions)) {
    throw new Error(`there is no partition ${partition} of ${partitions}`);
  }
  return {
    start: lowerBound(partition, partitions),
    end: partition + 1 === partitions ? undefined : lowerBound(partition + 1, partitions),
  };
}

/** How much of the partition lies before the key, 0 to 1: how far whoever goes through it in order has come. */
export function positionIn(partition: number, partitions: number, key: Uint8Array): number {
  let hash = 0;
  for (let i = 0; i < 6; i++) hash = hash * 256 + (key[i] ?? 0);
  return Math.min(1, Math.max(0, (hash / 2 ** 48) * partitions - partition));
}

function lowerBound(partition: number, partitions: number): Uint8Array {
  const top = partition << (16 - bitsOf(partitions));
  const bound = new Uint8Array(8);
  bound[0] = top >>> 8;
  bound[1] = top & 0xff;
  return bound;
}

/**
 * The partitions of a ring of `to` that have keys in common with this one of a ring of `from`: the halves of it, their
 * halves and so on, or the one that it is a part of. Both are powers of two.
 */
export function partitionsSharing(partition: number, from: number, to: number): readonly number[] {
  if (to <= from) return [Math.floor(partition / (from / to))];
  return Array.from({ length: to / from }, (_, i) => partition * (to / from) + i);
}

/** log2; partitions ≤ 65536 is I1 of ring.ts, so two bytes of the hash always suffice. */
function bitsOf(partitions: number): number {
  return 31 - Math.clz32(partitions);
}
