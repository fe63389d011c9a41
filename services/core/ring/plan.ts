/**
 * A plan: what a change of owners would move, as a value to print, test and then carry out (change.ts).
 *
 * Not here: how the new owners are chosen (claim-change.ts), and the time it takes (who transfers knows its pace).
 *
 * I1 A move says who takes one replica of one partition over; each partition has as many moves as owners that go.
 * I2 Sources are the present owners, the ones that go first: those that stay have other work to do.
 */
import { type Spread, type SpreadNode, spreadOf } from './claim-spread.ts';
import { isHome, type Ring } from './ring.ts';

export interface Move {
  readonly partition: number;
  /** The owner whose place it takes; it leaves the row. */
  readonly from: number;
  readonly to: number;
  /** From whom it can be pulled, `from` first. */
  readonly sources: readonly number[];
  readonly bytes: number;
}

export interface PairTotal {
  readonly from: number;
  readonly to: number;
  readonly replicas: number;
  readonly bytes: number;
}

export interface PlanSide {
  /** By index of the ring's nodes: replicas owned. */
  readonly loads: readonly number[];
  /** Partitions first owned. */
  readonly primaries: readonly number[];
  /** Partitions on fewer distinct hosts, or zones, than the nodes that own something make possible. */
  readonly unsafeHosts: number;
  readonly unsafeZones: number;
}

export interface Plan {
  readonly moves: readonly Move[];
  /** In order of from, then to. */
  readonly pairs: readonly PairTotal[];
  /** Partitions with a move; `moves.length` replicas move in all. */
  readonly partitions: number;
  readonly bytes: number;
  readonly before: PlanSide;
  readonly after: PlanSide;
}

export type BytesOf = (partition: number) => number;

/** `owners`: the new rows, of indexes into `ring.nodes`. `bytesOf`: what one replica of a partition takes. */
export function planOf(ring: Ring, owners: Uint16Array, bytesOf: BytesOf): Plan {
  if (owners.length !== ring.owners.length) {
    throw new Error(`the ring has ${ring.owners.length} places, and new owners are named for ${owners.length}`);
  }
  const moves: Move[] = [];
  for (let partition = 0; partition < ring.partitions; partition++) {
    moves.push(...movesOf(ring, owners, partition, bytesOf));
  }
  return {
    moves,
    pairs: pairTotals(moves),
    partitions: new Set(moves.map((move) => move.partition)).size,
    bytes: moves.reduce((total, move) => total + move.bytes, 0),
    before: sideOf(ring, ring.owners),
    after: sideOf(ring, owners),
  };
}

function movesOf(ring: Ring, owners: Uint16Array, partition: number, bytesOf: BytesOf): Move[] {
  const before = rowOf(ring.owners, partition, ring.replicas);
  const after = rowOf(owners, partition, ring.replicas);
  const leaving = before.filter((node) => !after.includes(node));
  const entering = after.filter((node) => !isHome(ring, partition, node));
  if (entering.length === 0) return [];
  const staying = before.filter((node) => after.includes(node));
  const bytes = bytesOf(partition);
  return entering.map((to) => {
    // Whoever had its place, where that one leaves; else any that leaves.
    const samePlace = leaving.indexOf(before[after.indexOf(to)] as number);
    const from = leaving.splice(Math.max(samePlace, 0), 1)[0] as number;
    return {
      partition,
      from,
      to,
      sources: [from, ...before.filter((node) => node !== from && !after.includes(node)), ...staying],
      bytes,
    };
  });
}

export function rowOf(owners: Uint16Array, partition: number, replicas: number): number[] {
  return [...owners.subarray(partition * replicas, (partition + 1) * replicas)];
}

function pairTotals(moves: readonly Move[]): PairTotal[] {
  const totals = new Map<string, PairTotal>();
  for (const { from, to, bytes } of moves) {
    const key = `${from}:${to}`;
    const total = totals.get(key);
    totals.set(key, { from, to, replicas: (total?.replicas ?? 0) + 1, bytes: (total?.bytes ?? 0) + bytes });
  }
  return [...totals.values()].sort((a, b) => a.from - b.from || a.to - b.to);
}

function sideOf(ring: Ring, owners: Uint16Array): PlanSide {
  const { replicas, partitions, nodes } = ring;
  const loads = new Array<number>(nodes.length).fill(0);
  const primaries = new Array<number>(nodes.length).fill(0);
  for (const [at, node] of owners.entries()) {
    loads[node] = (loads[node] as number) + 1;
    if (at % replicas === 0) primaries[node] = (primaries[node] as number) + 1;
  }
  const inUse = nodes.filter((node) => (loads[node.index] as number) > 0);
  const spread = spreadOf(inUse, replicas);
  const zoneOfNode = zonesByIndex(inUse, spread);
  const hostsPossible = Math.min(replicas, spread.hostBounds.length);
  const zonesPossible = Math.min(replicas, spread.zoneBounds.length);
  let unsafeHosts = 0;
  let unsafeZones = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const row = rowOf(owners, partition, replicas);
    if (new Set(row.map((node) => nodes[node]?.host)).size < hostsPossible) unsafeHosts += 1;
    if (new Set(row.map((node) => zoneOfNode.get(node))).size < zonesPossible) unsafeZones += 1;
  }
  return { loads, primaries, unsafeHosts, unsafeZones };
}

function zonesByIndex(inUse: readonly (SpreadNode & { index: number })[], spread: Spread): Map<number, number> {
  return new Map(inUse.map((node, number) => [node.index, spread.zoneOf[number] as number]));
}
