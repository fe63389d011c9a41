/**
 * The claim for a changed set of nodes: new owners from the present ones, when nodes join, leave or replace
 * others. It wants what the first claim wants (claim.ts: distinct nodes, spread, even loads, even primaries,
 * in this order), and given these, that as few replicas as possible move.
 *
 * I1 The rows are spread as the first claim would spread them, and the loads as even.
 * I2 Whoever owned a partition and still does keeps its place in the row, unless primaries must be evened.
 * I3 Deterministic: the same input gives the same owners.
 *
 * How: (1) keep of each row what may stay, (2) fill the empty places with whoever is furthest below its load,
 * (3) hand places from nodes above their load along chains to nodes below it, and take moves back that were not
 * needed (claim-chains.ts), (4) mix the places that have moved anyway, (5) even the primaries.
 *
 * The theoretical minimum of what moves is the greater of two counts, neither of which anything can be below:
 *   by node: what each node lacks of its load (a joining node: all of it). What leaving nodes owned is in it,
 *            for somebody lacks it;
 *   by row:  the places of each row that nobody in it may keep: owners that leave, and owners too many on
 *            one host or zone.
 * With a host for each node it is reached. In odd layouts, where rows and loads bind together, it may be out of
 * reach; there about one change in two hundred moves more than 1.1 times as much, hardly ever by more than 5% of all
 * replicas.
 */
import { levelLoads, undoMoves } from './claim-chains.ts';
import { evenLoads } from './claim-loads.ts';
import { mixPlaces } from './claim-mixing.ts';
import { evenPrimaries } from './claim-primaries.ts';
import { createRows, fits, NOBODY, ownsIn, put, type Rows } from './claim-rows.ts';
import { type SpreadNode, spreadOf } from './claim-spread.ts';
import { createMix, type Mix, shuffle } from './mix.ts';
import { assertShape, NODES_MAX } from './ring.ts';

export interface ChangeInput {
  /** Of the ring, joining and leaving ones too: `owners` are indexes into it. */
  readonly nodes: readonly SpreadNode[];
  /** Q. */
  readonly partitions: number;
  /** N. */
  readonly replicas: number;
  /** The present rows. */
  readonly owners: Uint16Array;
  /** Indexes of the nodes that are to own something. */
  readonly wanted: readonly number[];
}

export interface ChangedClaim {
  readonly owners: Uint16Array;
  /** Replicas that come to a node that had none of the partition. */
  readonly moved: number;
  /** The theoretical minimum of `moved`. */
  readonly minimum: number;
}

/** Throws where Q or N is not allowed, or N > wanted nodes. */
export function changeClaim(input: ChangeInput): ChangedClaim {
  const { partitions, replicas, owners: present } = input;
  const wanted = [...new Set(input.wanted)].sort((a, b) => a - b);
  assertShape(partitions, replicas, wanted.length);
  const mix = createMix(wanted.length * 31 + replicas);
  // From here on nodes are numbered as in `wanted`; NOBODY owns what the others owned.
  const numberOf = new Uint16Array(NODES_MAX + 1).fill(NOBODY);
  for (const [number, index] of wanted.entries()) numberOf[index] = number;
  const before = present.map((index) => numberOf[index] as number);
  const spread = spreadOf(
    wanted.map((index) => input.nodes[index] as SpreadNode),
    replicas,
  );
  const targets = evenLoads(spread, partitions, replicas, mix, loadsOf(before, wanted.length));
  const rows = createRows(spread, partitions, replicas);
  keep(rows, before, targets);
  const minimum = Math.max(lacking(rows, before, targets), rows.owners.filter((node) => node === NOBODY).length);
  fill(rows, targets, mix);
  levelLoads(rows, before, targets, mix);
  undoMoves(rows, before, targets, minimum, mix);
  mixPlaces(rows.owners, spread, replicas, mix, movedPlaces(rows.owners, before, replicas));
  settle(rows.owners, before, replicas);
  evenPrimaries(rows.owners, spread.weights, replicas);
  const moved = movedPlaces(rows.owners, before, replicas).length;
  return { owners: rows.owners.map((number) => wanted[number] as number), moved, minimum };
}

function loadsOf(owners: Uint16Array, nodes: number): Uint32Array {
  const loads = new Uint32Array(nodes);
  for (const node of owners) if (node !== NOBODY) loads[node] = (loads[node] as number) + 1;
  return loads;
}

/** Of each row as many present owners as may stay together; those furthest above their load go first. */
function keep(rows: Rows, before: Uint16Array, targets: Uint32Array): void {
  const surplus = loadsOf(before, targets.length).map((load, node) => load - (targets[node] as number) + NODES_MAX);
  for (let first = 0; first < before.length; first += rows.replicas) {
    const places = Array.from({ length: rows.replicas }, (_, i) => first + i)
      .filter((at) => before[at] !== NOBODY)
      .sort((a, b) => (surplus[before[a] as number] as number) - (surplus[before[b] as number] as number));
    for (const at of places) {
      const node = before[at] as number;
      if (fits(rows, first / rows.replicas, at, node)) put(rows, at, node);
      else surplus[node] = (surplus[node] as number) - 1;
    }
  }
}

function lacking(rows: Rows, before: Uint16Array, targets: Uint32Array): number {
  const loads = loadsOf(before, rows.loads.length);
  return targets.reduce((total, target, node) => total + Math.max(0, target - (loads[node] as number)), 0);
}

/** Each empty place to the node that lacks most, of those that fit. */
function fill(rows: Rows, targets: Uint32Array, mix: Mix): void {
  const nodes = targets.length;
  const empty = [...rows.owners.keys()].filter((at) => rows.owners[at] === NOBODY);
  for (const at of shuffle(empty, mix)) {
    const partition = Math.floor(at / rows.replicas);
    const start = mix(nodes);
    let best = NOBODY;
    let most = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < nodes; i++) {
      const node = (start + i) % nodes;
      const lacks = (targets[node] as number) - (rows.loads[node] as number);
      if (lacks <= most || ownsIn(rows, partition, node) || !fits(rows, partition, at, node)) continue;
      best = node;
      most = lacks;
    }
    if (best === NOBODY) throw new Error(`no node fits into partition ${partition}`);
    put(rows, at, best);
  }
}

/** Places whose node was not in the row before. */
function movedPlaces(owners: Uint16Array, before: Uint16Array, replicas: number): number[] {
  return [...owners.keys()].filter((at) => {
    const first = at - (at % replicas);
    return !before.subarray(first, first + replicas).includes(owners[at] as number);
  });
}

/** Brings those that were in the row before back to their places: mixing may have let one in again elsewhere. */
function settle(owners: Uint16Array, before: Uint16Array, replicas: number): void {
  for (let at = 0; at < owners.length; at++) {
    const first = at - (at % replicas);
    const is = owners.subarray(first, first + replicas).indexOf(before[at] as number);
    if (is === -1 || first + is === at) continue;
    owners[first + is] = owners[at] as number;
    owners[at] = before[at] as number;
  }
}
