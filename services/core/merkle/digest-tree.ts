/**
 * A tree of digests over all records of a node, by which two replicas find where they differ (Merkle 1987; DeCandia
 * et al. 2007, 4.7). Its leaves are equal, contiguous ranges of the hash space; the digest of a node of the tree is the
 * *sum*, modulo 2^64, of the digests of the records in its range.
 *
 *     level 0                     all hashes
 *     level log2 Q                one node a partition
 *     level `depth`               the leaves: 2^20 in a real node
 *
 * Sums and not hashes of hashes, because a write then changes one leaf by the difference of two digests, with no look
 * at other records, and inner nodes need not be kept: they are added up when somebody asks. Against an adversary a sum
 * would be too weak; here it compares replicas that trust each other, whose digests are hashes.
 *
 * One tree a node, and not one a partition: a partition is a subtree of it whatever Q is, so doubling Q changes nothing.
 *
 * I1 A digest is that of the records, however they came, in whatever order.
 */

import { highOf, lowOf, u64Of } from '../codec/bytes.ts';

export interface DigestTree {
  /** Leaves are at this level. */
  readonly depth: number;
  /** The record of the key changed. */
  change(storageKey: Uint8Array, before: bigint, after: bigint): void;
  /** Of the `index`th node of a level, counted from hash 0. */
  digest(level: number, index: number): bigint;
  /** Leaves whose digest is not 0, in order. */
  leaves(): Iterable<readonly [leaf: number, digest: bigint]>;
  /** Overwrites a leaf. */
  restore(leaf: number, digest: bigint): void;
  /** Of all records in these leaves nothing is known any more. */
  clear(level: number, index: number): void;
}

/** 8 MiB of memory; of 10 million keys a leaf has ten. */
export const treeDepth = 20;
/** Of memory. */
export const treeBytes = 8 * 2 ** treeDepth;
/** A leaf is told by the first three bytes of a key. */
const depthMax = 24;

const limb = 2 ** 32;

export function createDigestTree(depth: number = treeDepth): DigestTree {
  if (!(Number.isInteger(depth) && depth >= 1 && depth <= depthMax)) {
    throw new Error(`a digest tree has 1 to ${depthMax} levels below its root, not ${depth}`);
  }
  // Halves of 32 bits: a sum of 2^20 of them is exact in a number, and bigints would be made for each.
  const high = new Uint32Array(2 ** depth);
  const low = new Uint32Array(2 ** depth);

  function rangeOf(level: number, index: number): readonly [first: number, end: number] {
    if (!(level >= 0 && level <= depth && index >= 0 && index < 2 ** level)) {
      throw new Error(`a digest tree of depth ${depth} has no node ${index} at level ${level}`);
    }
    const size = 2 ** (depth - level);
    return [index * size, (index + 1) * size];
  }

  return {
    depth,
    change(storageKey, before, after) {
      const leaf = leafOf(storageKey, depth);
      const sum = u64Of(high[leaf] as number, low[leaf] as number) + after - before;
      high[leaf] = highOf(sum);
      low[leaf] = lowOf(sum);
    },
    digest(level, index) {
      const [first, end] = rangeOf(level, index);
      let highs = 0;
      let lows = 0;
      for (let leaf = first; leaf < end; leaf++) {
        highs += high[leaf] as number;
        lows += low[leaf] as number;
      }
      return u64Of((highs + Math.floor(lows / limb)) % limb, lows % limb);
    },
    *leaves() {
      for (let leaf = 0; leaf < high.length; leaf++) {
        const digest = u64Of(high[leaf] as number, low[leaf] as number);
        if (digest !== 0n) yield [leaf, digest];
      }
    },
    restore(leaf, digest) {
      high[leaf] = highOf(digest);
      low[leaf] = lowOf(digest);
    },
    clear(level, index) {
      const [first, end] = rangeOf(level, index);
      high.fill(0, first, end);
      low.fill(0, first, end);
    },
  };
}

/** Which leaf of a tree of this depth a key is in: the first bits of its hash. */
export function leafOf(storageKey: Uint8Array, depth: number): number {
  const first = ((storageKey[0] as number) << 16) | ((storageKey[1] as number) << 8) | (storageKey[2] as number);
  return first >>> (depthMax - depth);
}

/** The storage keys of a leaf: from `start`, up to and without `end`; undefined for the last. */
export function rangeOfLeaf(
  leaf: number,
  depth: number,
): { readonly start: Uint8Array; readonly end: Uint8Array | undefined } {
  return { start: lowerBound(leaf, depth), end: leaf + 1 === 2 ** depth ? undefined : lowerBound(leaf + 1, depth) };
}

function lowerBound(leaf: number, depth: number): Uint8Array {
  const first = leaf * 2 ** (depthMax - depth);
  const bound = new Uint8Array(8);
  bound[0] = first >>> 16;
  bound[1] = (first >>> 8) & 0xff;
  bound[2] = first & 0xff;
  return bound;
}
