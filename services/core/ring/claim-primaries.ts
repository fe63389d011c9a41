/**
 * Puts one of its owners first in each partition, so that every node is first about equally often: the
 * primary coordinates most of the partition's operations.
 *
 * Greedy, then augmenting paths: where u is first in p, and v also owns p, u can hand p to v. A chain of
 * such hand-overs from a node with many to one with at least two fewer evens them out; when there is no
 * such chain, no other choice is more even (Harvey, Ladner, Lovász, Tamir: Semi-matchings, 2006).
 */
import { type Mix, shuffle } from './mix.ts';

/** Reorders the rows of `owners`; the owners after the first come in mixed order. `weights`: by node. */
export function placePrimaries(owners: Uint16Array, weights: Uint16Array, replicas: number, mix: Mix): void {
  const counts = new Uint32Array(weights.length);
  const levelOf = (node: number) => (counts[node] as number) / (weights[node] as number);
  for (let row = 0; row < owners.length; row += replicas) {
    owners.set(shuffle([...owners.subarray(row, row + replicas)], mix), row);
    let best = row;
    for (let i = row + 1; i < row + replicas; i++) {
      if (levelOf(owners[i] as number) < levelOf(owners[best] as number)) best = i;
    }
    toFront(owners, row, best);
    const primary = owners[row] as number;
    counts[primary] = (counts[primary] as number) + 1;
  }
  evenPrimaries(owners, weights, replicas);
}

/** The second half alone: begins with who is first now, and turns no more rows than it has to. */
export function evenPrimaries(owners: Uint16Array, weights: Uint16Array, replicas: number): void {
  const nodes = weights.length;
  const counts = new Uint32Array(nodes);
  const firstIn: Set<number>[] = Array.from({ length: nodes }, () => new Set());
  for (let row = 0; row < owners.length; row += replicas) {
    const primary = owners[row] as number;
    counts[primary] = (counts[primary] as number) + 1;
    firstIn[primary]?.add(row);
  }
  // One pass is not enough: a path that was missing may come to be when another one is turned.
  for (let changed = true; changed; ) {
    changed = false;
    const least = Math.min(...Array.from(counts, (_, node) => levelWithout(-1, node, counts, weights)));
    for (let node = 0; node < nodes; node++) {
      while (
        levelWithout(1, node, counts, weights) >= least &&
        handOver(owners, replicas, node, counts, weights, firstIn)
      ) {
        changed = true;
      }
    }
  }
}

/** How often a node were first, by unit of weight, with so many fewer. */
function levelWithout(fewer: number, node: number, counts: Uint32Array, weights: Uint16Array): number {
  return ((counts[node] as number) - fewer) / (weights[node] as number);
}

/**
 * One chain of hand-overs from `from` to a node that is first no more often by unit of weight afterwards, with one more, than
 * `from` with one fewer: where all weigh 1, at least two less often. False where there is none.
 */
function handOver(
  owners: Uint16Array,
  replicas: number,
  from: number,
  counts: Uint32Array,
  weights: Uint16Array,
  firstIn: readonly Set<number>[],
): boolean {
  /** node reached → the row whose hand-over reached it */
  const reachedBy = new Map<number, number>([[from, -1]]);
  const queue = [from];
  for (const node of queue) {
    if (node !== from && levelWithout(-1, node, counts, weights) <= levelWithout(1, from, counts, weights)) {
      turn(owners, node, from, reachedBy, firstIn);
      counts[from] = (counts[from] as number) - 1;
      counts[node] = (counts[node] as number) + 1;
      return true;
    }
    for (const row of firstIn[node] as Set<number>) {
      for (let i = row + 1; i < row + replicas; i++) {
        const next = owners[i] as number;
        if (reachedBy.has(next)) continue;
        reachedBy.set(next, row);
        queue.push(next);
      }
    }
  }
  return false;
}

function turn(
  owners: Uint16Array,
  last: number,
  from: number,
  reachedBy: ReadonlyMap<number, number>,
  firstIn: readonly Set<number>[],
): void {
  for (let node = last; node !== from; ) {
    const row = reachedBy.get(node) as number;
    const before = owners[row] as number;
    toFront(owners, row, owners.indexOf(node, row));
    firstIn[before]?.delete(row);
    firstIn[node]?.add(row);
    node = before;
  }
}

function toFront(owners: Uint16Array, row: number, at: number): void {
  const first = owners[row] as number;
  owners[row] = owners[at] as number;
  owners[at] = first;
}
