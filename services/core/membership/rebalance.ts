/**
 * A change of the ring on its way: what it is to come to (Goal), and the next ring on the way there (advance). Nodes join,
 * leave, are replaced or marked down; partitions move as change.ts draws it, many at a time.
 *
 * All that is remembered is the ring and the goal, so it can be stopped after any ring and gone on with. It issues nothing itself (claimant.ts), and does not choose the new owners (change-request.ts).
 *
 * I1 A partition is flipped only when every node that enters has said, knowing this very ring, that it has pulled it.
 * I2 A partition is settled only when every node that owns it or is pending for it, and is not DOWN, has said that it knows
 *    this very ring. So nobody drops a copy while an owner may not have heard of the flip.
 * I3 What nobody has said counts as not so: a report that is missing, or of another ring, lets nothing happen.
 * I4 From the ring alone a staged partition and a flipped one look alike, so a goal says of what it found pending which it
 *    is: staged and not wanted any more is rolled back (`withdrawn`), flipped is settled by I2 before anything else is done
 *    with the partition (`flipped`): a node that has just given it up may lack what was written since, and does not pull.
 * I5 A goal either doubles the partitions (doubling.ts) or has nodes and partitions move, never both: numbers of partitions
 *    in a goal are of the ring that it was made for, or of twice as many.
 */
import {
  addNodes,
  type FlightLimits,
  flip,
  holdsSomething,
  isStaged,
  issuedAfter,
  type NewNode,
  newNodeOf,
  remaining,
  rollBack,
  setStatus,
  settle,
  stage,
  turnRows,
} from '../ring/change.ts';
import { doubled } from '../ring/doubling.ts';
import { rowOf } from '../ring/plan.ts';
import { compareVersions, nodeById, type Ring, type RingNode, type RingVersion } from '../ring/ring.ts';

export interface Goal {
  /** Of the plan that was committed. */
  readonly id: string;
  /** The rows to come to, of indexes into the ring's nodes with `joining` behind them. Twice as many: it doubles them. */
  readonly owners: Uint16Array;
  /** To be UP, but for those that are leaving, or to be DOWN, too. Those that the ring does not have are added in this order. */
  readonly joining: readonly NewNode[];
  /** Ids of nodes to be LEFT. */
  readonly leaving: readonly string[];
  /** Ids of nodes to be DOWN: nobody waits for them. One that is also leaving is LEFT in the end. */
  readonly down: readonly string[];
  /** By partition: the nodes that an earlier goal had staged, and this one does not want. */
  readonly withdrawn: ReadonlyMap<number, readonly number[]>;
  /** Partitions that were flipped when this goal was made, and have not been settled since. */
  readonly flipped: readonly number[];
  /** Stages nothing more; what is staged goes on to its end. */
  readonly paused: boolean;
  /** Replicas to move when it was committed, and their bytes by an estimate: for people. */
  readonly replicas: number;
  readonly bytes: number;
}

/** What a node has just said of itself. */
export interface Report {
  /** Of the ring that it knew then. */
  readonly version: RingVersion;
  /** Partitions that are pending for it by that ring, and that it has pulled from all owners. */
  readonly pulled: ReadonlySet<number>;
  /** Of the others that are pending for it: how far it has come, 0 to 1. For people. */
  readonly pulling?: ReadonlyMap<number, number>;
  /** What it still has to hand to others: hints, and partitions that it does not own any more. */
  readonly owes: number;
  /** For people: why it does not pull; empty: nothing. */
  readonly waitsFor?: string;
}

/** By id of a node. */
export type Reports = ReadonlyMap<string, Report>;

export interface Advance {
  /** The goal to go on with: to be durable before the ring is issued, where it is another one. */
  readonly goal: Goal;
  /** The ring to issue now; undefined: none. */
  readonly ring: Ring | undefined;
  /** For people; empty: nothing. */
  readonly waitingFor: string;
  /** The goal is reached, and need not be remembered. */
  readonly done: boolean;
}

/** As much as can be done in one version: this ring's with sequence + 1. */
export function advance(ring: Ring, before: Goal, reports: Reports, limits: FlightLimits): Advance {
  if (doubles(ring, before)) return advanceDoubling(ring, before);
  if (isFromBefore(ring, before)) return { goal: before, ring: undefined, waitingFor: '', done: true };
  const knowing = reportsOf(ring, reports);
  const isSettled = before.flipped.some((partition) => !ring.pending.has(partition));
  const goal = isSettled ? { ...before, flipped: before.flipped.filter((p) => ring.pending.has(p)) } : before;
  let next = addNodes(ring, missingNodes(ring, goal));
  next = beginStatuses(next, goal);
  next = rollBack(next, withdrawnPartitions(next, goal));
  const owners = rowsNow(next, goal);
  next = settle(next, settleable(next, owners, knowing));
  next = flip(next, owners, flippable(next, owners, knowing));
  next = turnRows(next, owners);
  if (!goal.paused) next = stage(next, owners, limits);
  next = endStatuses(next, goal, ring, knowing);
  if (next === ring) {
    const done = isReached(ring, goal);
    return { goal, ring: undefined, waitingFor: done ? '' : waitingFor(ring, goal, knowing), done };
  }
  return { goal, ring: issuedAfter(ring, next), waitingFor: waitingFor(ring, goal, knowing), done: false };
}

/** Whether the goal is to have more partitions than the ring has. */
export function doubles(ring: Ring, { owners }: Pick<Goal, 'owners'>): boolean {
  return owners.length > ring.owners.length;
}

/** Kept by a claimant whose directory is from before a doubling: nothing in it is of any use, nor is it known how it ended. */
export function isFromBefore(ring: Ring, { owners }: Pick<Goal, 'owners'>): boolean {
  return owners.length < ring.owners.length;
}

/** In one version: nobody's keys change hands, so nothing is waited for but what moves. */
function advanceDoubling(ring: Ring, goal: Goal): Advance {
  const waitingFor = goal.paused
    ? 'somebody to resume it'
    : `${ring.pending.size} ${plural(ring.pending.size, 'partition')} to be where they go`;
  if (goal.paused || ring.pending.size > 0) return { goal, ring: undefined, waitingFor, done: false };
  return { goal, ring: doubled(ring), waitingFor: '', done: false };
}

/** Partitions that are not yet as the goal wants them. */
export function partitionsLeft(ring: Ring, goal: Goal): number {
  if (goal.owners.length !== ring.owners.length) return doubles(ring, goal) ? ring.partitions : 0;
  return remaining(addNodes(ring, missingNodes(ring, goal)), goal.owners);
}

/** The goal that leaves everything where it is: what is staged is rolled back, what was flipped stays flipped. */
export function rolledBack(ring: Ring, goal: Goal): Goal {
  const withdrawn = new Map(withdrawnPartitions(ring, goal).map((p) => [p, ring.pending.get(p) ?? []]));
  for (const [partition, nodes] of ring.pending) {
    if (isStagedBy(ring, goal, partition)) withdrawn.set(partition, nodes);
  }
  const staying = ring.nodes.filter(({ id, status }) => status === 'LEAVING' && !goal.down.includes(id));
  return {
    ...goal,
    id: rolledBackId(goal.id),
    owners: ring.owners,
    joining: staying,
    leaving: [],
    withdrawn,
    flipped: [...ring.pending.keys()].filter((partition) => !withdrawn.has(partition)),
    paused: false,
    replicas: 0,
    bytes: 0,
  };
}

/** Of the goal that gives the one of this id up. */
export function rolledBackId(id: string): string {
  return `${id}-rolled-back`;
}

/** Whether it is to be UP; one that is to leave, or to be DOWN, may be among these. */
export function isJoining({ joining }: Pick<Goal, 'joining'>, id: string): boolean {
  return joining.some((node) => node.id === id);
}

export function missingNodes(ring: Ring, { joining }: Pick<Goal, 'joining'>): NewNode[] {
  return joining.filter(({ id }) => nodeById(ring, id) === undefined).map(newNodeOf);
}

/** Those of this very ring, for I3. One of a newer ring comes where another claimant is at work: claimant.ts looks for it. */
function reportsOf({ version }: Ring, reports: Reports): Reports {
  return new Map([...reports].filter(([, report]) => compareVersions(report.version, version) === 0));
}

/** What is known from the start: who goes, who is down, and who comes back. */
function beginStatuses(ring: Ring, goal: Goal): Ring {
  const { leaving, down } = goal;
  let next = ring;
  for (const { index, id, status } of ring.nodes) {
    if (status === 'LEFT') continue;
    if (down.includes(id)) {
      if (status !== 'DOWN') next = setStatus(next, index, 'DOWN');
    } else if (leaving.includes(id)) {
      if (status === 'UP') next = setStatus(next, index, 'LEAVING');
    } else if (isJoining(goal, id)) {
      if (status === 'LEAVING' || status === 'DOWN') next = setStatus(next, index, 'UP');
    }
  }
  return next;
}

/**
 * A node is UP from its first partition on, or when nothing moves any more; LEFT when it has nothing in hand, and has said
 * by a ring in which it had nothing that it owes nothing to others.
 */
function endStatuses(ring: Ring, goal: Goal, known: Ring, knowing: Reports): Ring {
  let next = ring;
  const isSettled = remaining(ring, goal.owners) === 0;
  for (const { index, id, status } of ring.nodes) {
    const isLeaving = goal.leaving.includes(id);
    if (status === 'JOINING' && !isLeaving) {
      if ((isSettled && isJoining(goal, id)) || ring.owners.includes(index)) next = setStatus(next, index, 'UP');
    } else if (isLeaving && status !== 'LEFT' && !holdsSomething(ring, index)) {
      const owesNothing =
        known.nodes[index] !== undefined && !holdsSomething(known, index) && knowing.get(id)?.owes === 0;
      if (status === 'DOWN' || owesNothing) next = setStatus(next, index, 'LEFT');
    }
  }
  return next;
}

function withdrawnPartitions(ring: Ring, { withdrawn }: Goal): number[] {
  return [...withdrawn].filter(([p, nodes]) => nodes.join() === ring.pending.get(p)?.join()).map(([p]) => p);
}

/** The rows to come to as far as may be now: what is flipped stays as it is until it is settled. */
function rowsNow(ring: Ring, { owners, flipped }: Goal): Uint16Array {
  const rows = owners.slice();
  for (const p of flipped) rows.set(rowOf(ring.owners, p, ring.replicas), p * ring.replicas);
  return rows;
}

/** Whether a goal has staged it itself: it is in phase A. */
export function isStagedBy(ring: Ring, goal: Goal, partition: number): boolean {
  return isStaged(ring, goal.owners, partition) && !goal.flipped.includes(partition);
}

function settleable(ring: Ring, owners: Uint16Array, knowing: Reports): number[] {
  return [...ring.pending.keys()].filter(
    (partition) => !isStaged(ring, owners, partition) && unaware(ring, partition, knowing).length === 0,
  );
}

/** Of those that have a part in a partition, who has not said that it knows this ring. */
function unaware(ring: Ring, partition: number, knowing: Reports): RingNode[] {
  const nodes = [...rowOf(ring.owners, partition, ring.replicas), ...(ring.pending.get(partition) ?? [])];
  return nodes.map((index) => nodeOf(ring, index)).filter(({ id, status }) => status !== 'DOWN' && !knowing.has(id));
}

function flippable(ring: Ring, owners: Uint16Array, knowing: Reports): number[] {
  return [...ring.pending.keys()].filter(
    (partition) => isStaged(ring, owners, partition) && unpulled(ring, partition, knowing).length === 0,
  );
}

function unpulled(ring: Ring, partition: number, knowing: Reports): RingNode[] {
  const nodes = (ring.pending.get(partition) ?? []).map((index) => nodeOf(ring, index));
  return nodes.filter(({ id }) => knowing.get(id)?.pulled.has(partition) !== true);
}

function isReached(ring: Ring, goal: Goal): boolean {
  const statusOf = (id: string) => nodeById(ring, id)?.status;
  return (
    remaining(ring, goal.owners) === 0 &&
    goal.joining.every(({ id }) => [...goal.leaving, ...goal.down].includes(id) || statusOf(id) === 'UP') &&
    goal.leaving.every((id) => statusOf(id) === 'LEFT') &&
    goal.down.every((id) => statusOf(id) === 'DOWN' || statusOf(id) === 'LEFT')
  );
}

function waitingFor(ring: Ring, goal: Goal, knowing: Reports): string {
  const silent = new Set<string>();
  const pulling = new Map<string, number>();
  const reasons = new Map<string, string>();
  for (const partition of ring.pending.keys()) {
    if (isStagedBy(ring, goal, partition)) {
      for (const node of unpulled(ring, partition, knowing)) {
        const report = knowing.get(node.id);
        if (report === undefined) {
          silent.add(node.address);
          continue;
        }
        pulling.set(node.address, (pulling.get(node.address) ?? 0) + 1);
        if (report.waitsFor) reasons.set(node.address, ` (${report.waitsFor})`);
      }
    } else {
      for (const { address } of unaware(ring, partition, knowing)) silent.add(address);
    }
  }
  const owing: string[] = [];
  for (const { id, address, index, status } of ring.nodes) {
    if (!goal.leaving.includes(id) || status === 'LEFT' || status === 'DOWN' || holdsSomething(ring, index)) continue;
    const report = knowing.get(id);
    if (report === undefined) silent.add(address);
    else if (report.owes > 0) owing.push(`${address} to hand over what it still has (${report.owes})`);
  }
  const parts = [...pulling].map(([address, count]) => {
    return `${address} to pull ${count} ${plural(count, 'partition')}${reasons.get(address) ?? ''}`;
  });
  if (silent.size > 0) parts.push(`${[...silent].join(', ')} to say that the present ring is known there`);
  parts.push(...owing);
  if (goal.paused) parts.push('somebody to resume it');
  return parts.join('; ');
}

function nodeOf(ring: Ring, index: number): RingNode {
  return ring.nodes[index] as RingNode;
}

function plural(count: number, noun: string): string {
  return count === 1 ? noun : `${noun}s`;
}
