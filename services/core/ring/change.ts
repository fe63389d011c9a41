/**
 * One change of the ring, walked as ring values: nodes are added, pending owners staged, partitions flipped or
 * rolled back, statuses moved on. Nothing is fenced or transferred here; whoever calls `flip` says that it has been.
 *
 *     row [a b c]  ──stage──►  [a b c] pending d  ──flip──►  [d b c]
 *                                    └──rollBack──► [a b c]
 *
 * I1 Every function gives a new ring with sequence + 1, which holds the invariants of ring.ts.
 * I2 Owners change only in `flip`, of one partition whose pending owners are all the new ones. `turnRows` changes
 *    nothing but the order of rows.
 * I3 At most `partitionsInFlight` partitions have pending owners, and at most `partitionsPerNode` touch any one
 *    node, as giver or as taker.
 * I4 A node is LEFT only when it owns nothing and is pending for nothing.
 */
import { rowOf } from './plan.ts';
import { createRing, isHome, type NodeStatusName, type Ring, type RingNode } from './ring.ts';

export interface FlightLimits {
  /** k */
  readonly partitionsInFlight: number;
  /** m */
  readonly partitionsPerNode: number;
}

/** New nodes come JOINING, behind those that are there. */
export function addNodes(ring: Ring, joining: readonly Omit<RingNode, 'index' | 'status'>[]): Ring {
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
 * Names pending owners for as many partitions, from the lowest, as the limits allow. The same ring where none
 * can be staged now; `remaining` says how many there still are.
 */
export function stage(ring: Ring, owners: Uint16Array, limits: FlightLimits): Ring {
  const pending = new Map(ring.pending);
  const busy = new Array<number>(ring.nodes.length).fill(0);
  const touch = (nodes: readonly number[]) => {
    for (const node of nodes) busy[node] = (busy[node] as number) + 1;
  };
  for (const partition of pending.keys()) touch(touchedNodes(ring, owners, partition));
  for (const partition of changedPartitions(ring, owners)) {
    if (pending.size >= limits.partitionsInFlight) break;
    if (pending.has(partition)) continue;
    const touched = touchedNodes(ring, owners, partition);
    if (touched.some((node) => (busy[node] as number) >= limits.partitionsPerNode)) continue;
    const entering = enteringNodes(ring, owners, partition);
    if (entering.length === 0) continue;
    pending.set(partition, entering);
    touch(touched);
  }
  return pending.size === ring.pending.size ? ring : next(ring, { pending });
}

/** The pending owners of one partition become owners; those that they replace leave the row. */
export function flip(ring: Ring, owners: Uint16Array, partition: number): Ring {
  const staged = ring.pending.get(partition);
  if (staged === undefined) throw new Error(`partition ${partition} has no pending owners, and cannot be flipped`);
  const entering = enteringNodes(ring, owners, partition);
  if (entering.some((node) => !staged.includes(node))) {
    throw new Error(
      `partition ${partition} is pending for [${staged.join(', ')}], and [${entering.join(', ')}] is to own it`,
    );
  }
  const flipped = ring.owners.slice();
  flipped.set(rowOf(owners, partition, ring.replicas), partition * ring.replicas);
  return next(ring, { owners: flipped, pending: without(ring, [partition]) });
}

/** Turns every row that has its new owners in another order; nothing needs to be transferred for it. */
export function turnRows(ring: Ring, owners: Uint16Array): Ring {
  const turned = ring.owners.slice();
  for (const partition of changedPartitions(ring, owners)) {
    if (enteringNodes(ring, owners, partition).length > 0 || ring.pending.has(partition)) continue;
    turned.set(rowOf(owners, partition, ring.replicas), partition * ring.replicas);
  }
  return next(ring, { owners: turned });
}

/** Drops the pending owners of these partitions; undefined: of all. */
export function rollBack(ring: Ring, partitions: readonly number[] = [...ring.pending.keys()]): Ring {
  return next(ring, { pending: without(ring, partitions) });
}

/** Partitions whose row is not yet the new one. */
export function remaining(ring: Ring, owners: Uint16Array): number {
  return changedPartitions(ring, owners).length;
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

/** Those that come into the row and those that go out of it. */
function touchedNodes(ring: Ring, owners: Uint16Array, partition: number): number[] {
  const after = rowOf(owners, partition, ring.replicas);
  const leaving = rowOf(ring.owners, partition, ring.replicas).filter((node) => !after.includes(node));
  return [...enteringNodes(ring, owners, partition), ...leaving];
}

function holdsSomething(ring: Ring, index: number): boolean {
  return ring.owners.includes(index) || [...ring.pending.values()].some((nodes) => nodes.includes(index));
}

function without(ring: Ring, partitions: readonly number[]): Ring['pending'] {
  return new Map([...ring.pending].filter(([partition]) => !partitions.includes(partition)));
}

function next(ring: Ring, change: Partial<Pick<Ring, 'nodes' | 'owners' | 'pending'>>): Ring {
  const version = { term: ring.version.term, sequence: ring.version.sequence + 1n };
  return createRing({ ...ring, ...change, version });
}
