/**
 * Hands places on until every node has its load: from a node above it, by way of others, to a node below it.
 * Each hand-over lets one node into a row in the place of another, so that the row stays spread.
 *
 * The shortest chains come first, and nearly always they are one hand-over: those are made in passes over the rows of a
 * node, and longer ones looked for in breadth, one by one. Where several would do, one that moves nothing (the place has
 * moved already) is taken, or one that lets a former owner back in.
 */
import { fits, NOBODY, ownsIn, put, type Rows } from './claim-rows.ts';
import { type Mix, shuffle } from './mix.ts';

interface HandOver {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  /** Replicas that it moves: -1 where a former owner comes back. Not counted but for the last of a chain. */
  readonly cost: number;
}

/** `before`: the owners that were; NOBODY for those that leave. Throws where a load cannot be reached. */
export function levelLoads(rows: Rows, before: Uint16Array, targets: Uint32Array, mix: Mix): void {
  for (let from = 0; from < targets.length; from++) {
    handOverDirectly(rows, before, targets, from, mix);
    while ((rows.loads[from] as number) > (targets[from] as number)) {
      const chain = findChain(rows, before, targets, from, mix);
      if (chain === undefined) {
        throw new Error(`node ${from} has ${rows.loads[from]} places, is to have ${targets[from]}, and none will go`);
      }
      carryOut(rows, chain);
    }
  }
}

/**
 * All hand-overs from `from` to nodes below their loads, those that move least first. One pass for each price will do: a
 * hand-over changes no other row of `from`, and so makes none of them possible, or cheaper. (To look for the cheapest of all
 * anew for each place takes a time that grows with the square of the partitions.)
 */
function handOverDirectly(rows: Rows, before: Uint16Array, targets: Uint32Array, from: number, mix: Mix): void {
  const lacks = (node: number) => (rows.loads[node] as number) < (targets[node] as number);
  let below = [...targets.keys()].filter(lacks);
  let left = shuffle([...(rows.rowsOf[from] as Set<number>)], mix);
  for (const price of [-1, 0, 1]) {
    const kept: number[] = [];
    for (const partition of left) {
      if ((rows.loads[from] as number) <= (targets[from] as number) || below.length === 0) return;
      const at = rows.owners.indexOf(from, partition * rows.replicas);
      const leaving = formerly(before, rows.replicas, at, from) ? 1 : 0;
      const start = mix(below.length);
      const to = firstFrom(below, start, (node) => {
        const cost = leaving - (formerly(before, rows.replicas, at, node) ? 1 : 0);
        return cost === price && !ownsIn(rows, partition, node) && fits(rows, partition, at, node);
      });
      if (to === undefined) {
        kept.push(partition);
        continue;
      }
      put(rows, at, to);
      if (!lacks(to)) below = below.filter(lacks);
    }
    left = kept;
  }
}

/** The first that will do, looked for from `start` on and then from the beginning. */
function firstFrom(nodes: readonly number[], start: number, will: (node: number) => boolean): number | undefined {
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(start + i) % nodes.length] as number;
    if (will(node)) return node;
  }
  return undefined;
}

/** Passes over the places that `undoMoves` makes at most. */
const PASSES_MAX = 3;

/**
 * While more has moved than `minimum`: lets a former owner back into a row where a chain of hand-overs that moves
 * nothing more then evens the loads again. Loads stay what they were.
 */
export function undoMoves(rows: Rows, before: Uint16Array, targets: Uint32Array, minimum: number, mix: Mix): void {
  const { owners, replicas } = rows;
  let moved = owners.reduce((count, node, at) => count + (formerly(before, replicas, at, node) ? 0 : 1), 0);
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const atStart = moved;
    /** Of a former owner and who took its place: nothing leads from the one to the other, in whatever row. */
    const apart = new Set<number>();
    for (let at = 0; at < owners.length && moved > minimum; at++) {
      const node = owners[at] as number;
      if (formerly(before, replicas, at, node)) continue;
      if (undoMove(rows, before, targets, at, apart, mix)) moved -= 1;
    }
    if (moved === atStart) return;
  }
}

function undoMove(
  rows: Rows,
  before: Uint16Array,
  targets: Uint32Array,
  at: number,
  apart: Set<number>,
  mix: Mix,
): boolean {
  const partition = Math.floor(at / rows.replicas);
  const node = rows.owners[at] as number;
  for (const former of before.subarray(partition * rows.replicas, (partition + 1) * rows.replicas)) {
    const pair = former * targets.length + node;
    if (former === NOBODY || apart.has(pair)) continue;
    if (ownsIn(rows, partition, former) || !fits(rows, partition, at, former)) continue;
    put(rows, at, former);
    const chain = findChain(rows, before, targets, former, mix, true);
    // A chain may pass one row twice, and the second hand-over then no longer fit: it is not taken.
    if (chain !== undefined && new Set(chain.map((step) => step.partition)).size === chain.length) {
      carryOut(rows, chain);
      return true;
    }
    put(rows, at, node);
    if (chain === undefined) apart.add(pair);
  }
  return false;
}

function carryOut(rows: Rows, chain: readonly HandOver[]): void {
  for (const { partition, from, to } of chain) {
    put(rows, rows.owners.indexOf(from, partition * rows.replicas), to);
  }
}

function formerly(before: Uint16Array, replicas: number, at: number, node: number): boolean {
  const first = at - (at % replicas);
  for (let i = first; i < first + replicas; i++) if (before[i] === node) return true;
  return false;
}

/** `free`: only of hand-overs that move nothing more. */
function findChain(
  rows: Rows,
  before: Uint16Array,
  targets: Uint32Array,
  start: number,
  mix: Mix,
  free = false,
): HandOver[] | undefined {
  const reachedBy = new Map<number, HandOver | undefined>([[start, undefined]]);
  const below = targets.reduce<number[]>((nodes, target, node) => {
    if ((rows.loads[node] as number) < target) nodes.push(node);
    return nodes;
  }, []);
  const queue = [start];
  for (const from of queue) {
    const last = cheapest(rows, before, from, shuffle([...below], mix), mix);
    if (last !== undefined && (!free || last.cost <= 0)) return chainTo(last, reachedBy);
    for (const partition of shuffle([...(rows.rowsOf[from] as Set<number>)], mix)) {
      if (reachedBy.size === targets.length) break;
      const at = rows.owners.indexOf(from, partition * rows.replicas);
      const leaving = formerly(before, rows.replicas, at, from);
      for (let to = 0; to < targets.length; to++) {
        if (free && leaving && !formerly(before, rows.replicas, at, to)) continue;
        if (reachedBy.has(to) || ownsIn(rows, partition, to) || !fits(rows, partition, at, to)) continue;
        reachedBy.set(to, { partition, from, to, cost: 0 });
        queue.push(to);
      }
    }
  }
  return undefined;
}

/** The hand-over from `from` to one of `below` that moves least. */
function cheapest(
  rows: Rows,
  before: Uint16Array,
  from: number,
  below: readonly number[],
  mix: Mix,
): HandOver | undefined {
  let best: HandOver | undefined;
  let least = 2;
  const isBelow = new Set(below);
  for (const partition of shuffle([...(rows.rowsOf[from] as Set<number>)], mix)) {
    const at = rows.owners.indexOf(from, partition * rows.replicas);
    const row = before.subarray(partition * rows.replicas, (partition + 1) * rows.replicas);
    const leaving = row.includes(from) ? 1 : 0;
    // Once there is one at this price, only former owners of the row are cheaper.
    const candidates = leaving < least ? below : row.filter((node) => isBelow.has(node));
    for (const to of candidates) {
      const cost = leaving - (row.includes(to) ? 1 : 0);
      if (cost >= least || ownsIn(rows, partition, to) || !fits(rows, partition, at, to)) continue;
      best = { partition, from, to, cost };
      least = cost;
      if (least === -1) return best;
    }
  }
  return best;
}

/** From the start on. */
function chainTo(last: HandOver, reachedBy: ReadonlyMap<number, HandOver | undefined>): HandOver[] {
  const chain = [last];
  for (let step = reachedBy.get(last.from); step !== undefined; step = reachedBy.get(step.from)) chain.unshift(step);
  return chain;
}
