/**
 * One change of the ring, walked as ring values: nodes are added, pending owners staged, partitions flipped, settled or
 * rolled back, statuses moved on. Nothing is transferred here; whoever calls `flip` or `settle` says that it may be done
 * (core/membership/rebalance.ts decides that).
 *
 *     A  row [a b c] pending d  ──flip──►  B  row [d b c] pending a  ──settle──►  C  row [d b c]
 *        ▲ stage │ rollBack
 *        row [a b c]
 *
 * Writes go to the row and to the pending nodes. So in B whoever still reads by A misses nothing.
 *
 * I1 Every function gives a new ring with sequence + 1, which holds the invariants of ring.ts; or the same ring, where
 *    there is nothing to change.
 * I2 Owners change only in `flip`, of partitions whose pending nodes are exactly those that enter. `turnRows` changes
 *    nothing but the order of rows.
 * I3 `stage` leaves at most `partitionsInFlight` partitions with pending nodes, and at most `partitionsPerNode` that
 *    touch any one node, as giver or as taker.
 * I4 A node is LEFT only when it owns nothing and is pending for nothing.
 */
import { rowOf } from './plan.ts';
import {
  createRing,
  epochOf,
  isHome,
  isServedAlike,
  type NodeStatusName,
  type Ring,
  type RingNode,
  type RingVersion,
} from './ring.ts';

export interface FlightLimits {
  /** k */
  readonly partitionsInFlight: number;
  /** m */
  readonly partitionsPerNode: number;
}

export type NewNode = Omit<RingNode, 'index' | 'status'>;

/** What of a member goes into the ring. */
export function newNodeOf({ id, address, host, zone, weight = 1 }: NewNode): NewNode {
  return { id, address, host, zone, ...(weight > 1 && { weight }) };
}

/** New nodes come JOINING, behind those that are there. */
export function addNodes(ring: Ring, joining: readonly NewNode[]): Ring {
  if (joining.length === 0) return ring;
  const nodes = joining.map((node, i): RingNode => ({ ...node, index: ring.nodes.length + i, status: 'JOINING' }));
  return next(ring, { nodes: [...ring.nodes, ...nodes] });
}

const STATUS_AFTER = {
  JOINING: ['UP', 'DOWN', 'LEFT'],
  UP: ['LEAVING', 'DOWN'],
  LEAVING: ['LEFT', 'UP', 'DOWN'],
  DOWN: ['UP', 'LEAVING', 'LEFT'],
  LEFT: [],
} as const satisfies Record<NodeStatusName, readonly NodeStatusName[]>;

/** Throws where the one status does not follow the other, or a node would be LEFT with something in hand (I4). */
export function setStatus(ring: Ring, index: number, status: NodeStatusName): Ring {
  const node = ring.nodes[index];
  if (node === undefined) throw new Error(`there is no node ${index} of ${ring.nodes.length}`);
  const allowed: readonly NodeStatusName[] = STATUS_AFTER[node.status];
  if (!allowed.includes(status)) throw new Error(`node ${index} is ${node.status}, and cannot become ${status}`);
  if (status === 'LEFT' && holdsSomething(ring, index)) {
    throw new Error(`node ${index} cannot have left: it owns partitions, or is pending for some`);
  }
  return next(ring, { nodes: ring.nodes.map((other) => (other === node ? { ...node, status } : other)) });
}

/**
 * A. Names those that enter as pending, for as many partitions, from the lowest, as the limits allow. The same ring where
 * none can be staged now; `remaining` says how many there still are.
 */
export function stage(ring: Ring, owners: Uint16Array, limits: FlightLimits): Ring {
  const pending = new Map(ring.pending);
  const busy = new Array<number>(ring.nodes.length).fill(0);
  const touch = (nodes: readonly number[]) => {
    for (const node of nodes) busy[node] = (busy[node] as number) + 1;
  };
  for (const [partition, nodes] of pending) touch([...nodes, ...leavingNodes(ring, owners, partition)]);
  for (const partition of changedPartitions(ring, owners)) {
    if (pending.size >= limits.partitionsInFlight) break;
    if (pending.has(partition)) continue;
    const entering = enteringNodes(ring, owners, partition);
    if (entering.length === 0) continue;
    const touched = [...entering, ...leavingNodes(ring, owners, partition)];
    if (touched.some((node) => (busy[node] as number) >= limits.partitionsPerNode)) continue;
    pending.set(partition, entering);
    touch(touched);
  }
  return pending.size === ring.pending.size ? ring : next(ring, { pending });
}

/** Whether the pending nodes of a partition are exactly those that `owners` lets enter: it is in phase A of that change. */
export function isStaged(ring: Ring, owners: Uint16Array, partition: number): boolean {
  const pending = ring.pending.get(partition) ?? [];
  const entering = enteringNodes(ring, owners, partition);
  return entering.length > 0 && isSameSet(pending, entering);
}

/** B. Those that enter become owners, and those that leave are pending, but for nodes that are DOWN. */
export function flip(ring: Ring, owners: Uint16Array, partitions: readonly number[]): Ring {
  if (partitions.length === 0) return ring;
  const flipped = ring.owners.slice();
  const pending = new Map(ring.pending);
  for (const partition of partitions) {
    if (!isStaged(ring, owners, partition)) {
      throw new Error(
        `partition ${partition} cannot be flipped: [${enteringNodes(ring, owners, partition).join(', ')}] are to ` +
          `enter, and it is pending for [${(ring.pending.get(partition) ?? []).join(', ')}]`,
      );
    }
    const leaving = leavingNodes(ring, owners, partition).filter((node) => ring.nodes[node]?.status !== 'DOWN');
    flipped.set(rowOf(owners, partition, ring.replicas), partition * ring.replicas);
    if (leaving.length > 0) pending.set(partition, leaving);
    else pending.delete(partition);
  }
  return next(ring, { owners: flipped, pending });
}

/** C, after `flip`. Throws where a partition has no pending nodes. */
export function settle(ring: Ring, partitions: readonly number[]): Ring {
  return dropPending(ring, partitions);
}

/** Back from A. Not from B: there those that left may be all that coordinators with an older ring know. */
export function rollBack(ring: Ring, partitions: readonly number[]): Ring {
  return dropPending(ring, partitions);
}

/** Turns every row that has its new owners in another order; nothing needs to be transferred for it. */
export function turnRows(ring: Ring, owners: Uint16Array): Ring {
  const turned = ring.owners.slice();
  let isTurned = false;
  for (const partition of changedPartitions(ring, owners)) {
    if (enteringNodes(ring, owners, partition).length > 0 || ring.pending.has(partition)) continue;
    turned.set(rowOf(owners, partition, ring.replicas), partition * ring.replicas);
    isTurned = true;
  }
  return isTurned ? next(ring, { owners: turned }) : ring;
}

/** Partitions whose row is not yet the new one, or that have pending nodes. */
export function remaining(ring: Ring, owners: Uint16Array): number {
  return new Set([...changedPartitions(ring, owners), ...ring.pending.keys()]).size;
}

function changedPartitions(ring: Ring, owners: Uint16Array): number[] {
  const changed = new Set<number>();
  for (const [at, node] of owners.entries()) {
    if (ring.owners[at] !== node) changed.add(Math.floor(at / ring.replicas));
  }
  return [...changed];
}

function enteringNodes(ring: Ring, owners: Uint16Array, partition: number): number[] {
  return rowOf(owners, partition, ring.replicas).filter((node) => !isHome(ring, partition, node));
}

function leavingNodes(ring: Ring, owners: Uint16Array, partition: number): number[] {
  const after = rowOf(owners, partition, ring.replicas);
  return rowOf(ring.owners, partition, ring.replicas).filter((node) => !after.includes(node));
}

/**
 * Whether a node that leaves has nothing in hand any more: it says what it still owes to others, and is LEFT once that is
 * nothing. So it takes nothing more.
 */
export function isEmptied(ring: Ring, { index, status }: Pick<RingNode, 'index' | 'status'>): boolean {
  return (status === 'LEAVING' || status === 'LEFT') && !holdsSomething(ring, index);
}

/** Whether a node owns partitions, or is pending for some. */
export function holdsSomething(ring: Ring, index: number): boolean {
  return ring.owners.includes(index) || [...ring.pending.values()].some((nodes) => nodes.includes(index));
}

function dropPending(ring: Ring, partitions: readonly number[]): Ring {
  if (partitions.length === 0) return ring;
  const pending = new Map(ring.pending);
  for (const partition of partitions) {
    if (!pending.delete(partition)) throw new Error(`partition ${partition} has no pending nodes`);
  }
  return next(ring, { pending });
}

function isSameSet(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node));
}

/**
 * `after`, made of `before` in any number of steps, as the one ring that is issued next: the steps between nobody has seen.
 * `version` must be the one under which it is issued: what is pending since then must not look like what another claimant
 * has staged from the same ring.
 */
export function issuedAfter(before: Ring, after: Ring, version: RingVersion = versionAfter(before)): Ring {
  const pendingSince = new Map<number, number>();
  for (const partition of after.pending.keys()) {
    const isAsBefore = isServedAlike(before, partition, after, partition);
    const since = isAsBefore ? before.pendingSince.get(partition) : epochOf(version);
    if (since !== undefined) pendingSince.set(partition, since);
  }
  return createRing({ ...after, version, pendingSince });
}

function versionAfter({ version: { term, sequence } }: Ring): RingVersion {
  return { term, sequence: sequence + 1n };
}

function next(ring: Ring, change: Partial<Pick<Ring, 'nodes' | 'owners' | 'pending'>>): Ring {
  return createRing({ ...ring, ...change, version: versionAfter(ring) });
}
