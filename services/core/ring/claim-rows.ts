/**
 * The rows of a claim while it is being changed: who owns what, where a place is empty, and which node
 * may come into a row.
 *
 * I1 A row that `fits` can be filled up to one that is spread as evenly as can be: no host and zone is above
 *    its most, and there is room left for the least of all. (Such rows are the independent sets of a matroid:
 *    what greedy keeps of a row is as much as anything could keep.)
 * I2 `loads` and `rowsOf` say what `owners` says.
 */
import type { Bounds, Spread } from './claim-spread.ts';

/** In an empty place. */
export const NOBODY = 0xffff;

export interface Rows {
  readonly owners: Uint16Array;
  readonly replicas: number;
  readonly spread: Spread;
  readonly loads: Uint32Array;
  /** node → partitions */
  readonly rowsOf: readonly Set<number>[];
  /** The least that the hosts of each zone must get, and that all zones together must get. */
  readonly leastOfHosts: readonly number[];
  readonly leastOfAll: number;
}

/** Empty rows. */
export function createRows(spread: Spread, partitions: number, replicas: number): Rows {
  const leastOfHosts = spread.zones.map((zone) => zone.hosts.reduce((total, host) => total + host.least, 0));
  return {
    owners: new Uint16Array(partitions * replicas).fill(NOBODY),
    replicas,
    spread,
    loads: new Uint32Array(spread.hostOf.length),
    rowsOf: Array.from(spread.hostOf, () => new Set<number>()),
    leastOfHosts,
    leastOfAll: spread.zones.reduce((total, zone, i) => total + Math.max(zone.least, leastOfHosts[i] as number), 0),
  };
}

export function ownsIn(rows: Rows, partition: number, node: number): boolean {
  return (rows.rowsOf[node] as Set<number>).has(partition);
}

/** Puts `node` (or NOBODY) in a place. */
export function put(rows: Rows, at: number, node: number): void {
  const partition = Math.floor(at / rows.replicas);
  const before = rows.owners[at] as number;
  if (before !== NOBODY) {
    rows.loads[before] = (rows.loads[before] as number) - 1;
    rows.rowsOf[before]?.delete(partition);
  }
  rows.owners[at] = node;
  if (node === NOBODY) return;
  rows.loads[node] = (rows.loads[node] as number) + 1;
  rows.rowsOf[node]?.add(partition);
}

/** Whether the row of `partition` fits (I1) with `entering`, which does not own it, in the place `at`. */
export function fits(rows: Rows, partition: number, at: number, entering: number): boolean {
  const { owners, replicas, spread, leastOfHosts } = rows;
  const first = partition * replicas;
  const end = first + replicas;
  const nodeAt = (i: number) => (i === at ? entering : (owners[i] as number));
  let needed = rows.leastOfAll;
  for (let i = first; i < end; i++) {
    if (nodeAt(i) === NOBODY) continue;
    const zone = spread.zoneOf[nodeAt(i)] as number;
    let seen = false;
    for (let j = first; j < i && !seen; j++) seen = nodeAt(j) !== NOBODY && spread.zoneOf[nodeAt(j)] === zone;
    if (seen) continue;
    const bounds = spread.zoneBounds[zone] as Bounds;
    const inZone = neededInZone(rows, first, end, nodeAt, zone);
    if (inZone > bounds.most) return false;
    needed += Math.max(inZone, bounds.least) - Math.max(leastOfHosts[zone] as number, bounds.least);
  }
  return needed <= replicas;
}

/** What the zone has of the row and what its hosts still must get; infinite where a host has too much. */
function neededInZone(rows: Rows, first: number, end: number, nodeAt: (i: number) => number, zone: number): number {
  const { spread } = rows;
  let needed = rows.leastOfHosts[zone] as number;
  for (let i = first; i < end; i++) {
    const node = nodeAt(i);
    if (node === NOBODY || spread.zoneOf[node] !== zone) continue;
    const host = spread.hostOf[node] as number;
    let upToHere = 0;
    for (let j = first; j <= i; j++) if (nodeAt(j) !== NOBODY && spread.hostOf[nodeAt(j)] === host) upToHere += 1;
    const bounds = spread.hostBounds[host] as Bounds;
    if (upToHere > bounds.most) return Number.POSITIVE_INFINITY;
    if (upToHere > bounds.least) needed += 1;
  }
  return needed;
}
