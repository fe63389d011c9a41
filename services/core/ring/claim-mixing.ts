/**
 * Exchanges places between partitions, so that each node shares its partitions with as many others as
 * possible: when it fails, its work falls on many. Loads stay what they were, and so do the bounds of the
 * spread. Hill climbing on the sum of squares of "how many partitions do a and b share".
 */
import type { Bounds, Spread } from './claim-spread.ts';
import type { Mix } from './mix.ts';

/**
 * Exchanges tried for each place. With 300 nodes and 4096 partitions of 3 the worst pair shares 6 partitions
 * after 2 tries, 2 after 6, 1 after 24, at the price of as many passes over the places.
 */
const TRIES_PER_PLACE = 8;

/** Up to here all pairs are counted (4 bytes each: 4 MiB); above, random exchanges mix well enough. */
const COUNTED_NODES_MAX = 1024;

/** Changes `owners` (rows of `replicas`), at no other place than `places`; undefined: at any. */
export function mixPlaces(
  owners: Uint16Array,
  spread: Spread,
  replicas: number,
  mix: Mix,
  places: readonly number[] = [...owners.keys()],
): void {
  const nodes = spread.hostOf.length;
  const partitions = owners.length / replicas;
  if (partitions === 1 || replicas === nodes) return;
  const pairs = nodes <= COUNTED_NODES_MAX ? countPairs(owners, nodes, replicas) : undefined;
  for (let tries = 0; tries < TRIES_PER_PLACE; tries++) {
    for (const from of places) {
      const to = places[mix(places.length)] as number;
      const p = Math.floor(from / replicas) * replicas;
      const q = Math.floor(to / replicas) * replicas;
      const a = owners[from] as number;
      const b = owners[to] as number;
      if (p === q || a === b || holds(owners, p, replicas, b) || holds(owners, q, replicas, a)) continue;
      if (!mayReplace(owners, p, replicas, a, b, spread) || !mayReplace(owners, q, replicas, b, a, spread)) continue;
      if (pairs !== undefined && !exchangePairs(pairs, nodes, owners, replicas, from, to)) continue;
      owners[from] = b;
      owners[to] = a;
    }
  }
}

function holds(owners: Uint16Array, row: number, replicas: number, node: number): boolean {
  for (let i = row; i < row + replicas; i++) {
    if (owners[i] === node) return true;
  }
  return false;
}

/** Whether the row is still spread as it must be with `entering` in the place of `leaving`. */
function mayReplace(
  owners: Uint16Array,
  row: number,
  replicas: number,
  leaving: number,
  entering: number,
  spread: Spread,
): boolean {
  return (
    mayPass(owners, row, replicas, leaving, entering, spread.hostOf, spread.hostBounds) &&
    mayPass(owners, row, replicas, leaving, entering, spread.zoneOf, spread.zoneBounds)
  );
}

function mayPass(
  owners: Uint16Array,
  row: number,
  replicas: number,
  leaving: number,
  entering: number,
  groupOf: Uint16Array,
  bounds: readonly Bounds[],
): boolean {
  const from = groupOf[leaving] as number;
  const to = groupOf[entering] as number;
  if (from === to) return true;
  let inFrom = 0;
  let inTo = 0;
  for (let i = row; i < row + replicas; i++) {
    const group = groupOf[owners[i] as number];
    if (group === from) inFrom += 1;
    else if (group === to) inTo += 1;
  }
  return inFrom > (bounds[from] as Bounds).least && inTo < (bounds[to] as Bounds).most;
}

/** How many partitions each two nodes share, at a·nodes + b and b·nodes + a. */
function countPairs(owners: Uint16Array, nodes: number, replicas: number): Uint32Array {
  const pairs = new Uint32Array(nodes * nodes);
  for (let row = 0; row < owners.length; row += replicas) {
    for (let i = row; i < row + replicas; i++) {
      for (let j = row; j < row + replicas; j++) {
        if (i !== j) add(pairs, nodes, owners[i] as number, owners[j] as number, 1);
      }
    }
  }
  return pairs;
}

/** Counts the exchange of two places into `pairs`, and says so, unless it would make them less even. */
function exchangePairs(
  pairs: Uint32Array,
  nodes: number,
  owners: Uint16Array,
  replicas: number,
  from: number,
  to: number,
): boolean {
  const p = Math.floor(from / replicas) * replicas;
  const q = Math.floor(to / replicas) * replicas;
  const a = owners[from] as number;
  const b = owners[to] as number;
  let change = 0; // half of what the sum of squares changes by: (x+1)² - x² + (y-1)² - y² = 2·(x - y + 1)
  for (let i = 0; i < replicas; i++) {
    const c = owners[p + i] as number;
    if (c !== a && !holds(owners, q, replicas, c))
      change += shared(pairs, nodes, b, c) - shared(pairs, nodes, a, c) + 1;
    const d = owners[q + i] as number;
    if (d !== b && !holds(owners, p, replicas, d))
      change += shared(pairs, nodes, a, d) - shared(pairs, nodes, b, d) + 1;
  }
  if (change > 0) return false;
  for (let i = 0; i < replicas; i++) {
    const c = owners[p + i] as number;
    if (c !== a) move(pairs, nodes, c, a, b);
    const d = owners[q + i] as number;
    if (d !== b) move(pairs, nodes, d, b, a);
  }
  return true;
}

function shared(pairs: Uint32Array, nodes: number, a: number, b: number): number {
  return pairs[a * nodes + b] as number;
}

function move(pairs: Uint32Array, nodes: number, other: number, from: number, to: number): void {
  add(pairs, nodes, other, from, -1);
  add(pairs, nodes, from, other, -1);
  add(pairs, nodes, other, to, 1);
  add(pairs, nodes, to, other, 1);
}

function add(pairs: Uint32Array, nodes: number, a: number, b: number, n: number): void {
  pairs[a * nodes + b] = (pairs[a * nodes + b] as number) + n;
}
