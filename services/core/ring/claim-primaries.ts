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
  handOverDirectly(owners, replicas, counts, weights, firstIn);
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

/**
 * Chains of one hand-over, from nodes above their share to nodes below it, in one pass: nearly all there are. (Looked for one
 * by one, from the first row of a node again for each, they take a time that grows with the square of the partitions.)
 */
function handOverDirectly(
  owners: Uint16Array,
  replicas: number,
  counts: Uint32Array,
  weights: Uint16Array,
  firstIn: readonly Set<number>[],
): void {
  const share = owners.length / replicas / weights.reduce((total, weight) => total + weight, 0);
  for (const [from, rows] of firstIn.entries()) {
    for (const row of rows) {
      if (levelWithout(0, from, counts, weights) <= share) break;
      let lowest = row;
      for (let i = row + 1; i < row + replicas; i++) {
        const level = (at: number) => levelWithout(0, owners[at] as number, counts, weights);
        if (level(i) < level(lowest)) lowest = i;
      }
      const to = owners[lowest] as number;
      if (levelWithout(-1, to, counts, weights) > Math.min(share, levelWithout(1, from, counts, weights))) continue;
      toFront(owners, row, lowest);
      rows.delete(row);
      firstIn[to]?.add(row);
      counts[from] = (counts[from] as number) - 1;
      counts[to] = (counts[to] as number) + 1;
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
    for (const row of firstIn[node] as Set<number>) {
      if (reachedBy.size === counts.length) break;
      for (let i = row + 1; i < row + replicas; i++) {
        const next = owners[i] as number;
        if (reachedBy.has(next)) continue;
        reachedBy.set(next, row);
        queue.push(next);
        if (levelWithout(-1, next, counts, weights) > levelWithout(1, from, counts, weights)) continue;
        turn(owners, next, from, reachedBy, firstIn);
        counts[from] = (counts[from] as number) - 1;
        counts[next] = (counts[next] as number) + 1;
        return true;
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
