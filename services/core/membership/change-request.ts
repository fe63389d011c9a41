/**
 * From what an operator asks for to a goal: which nodes are to own something, what that moves, and whether it may be.
 *
 * I1 The same request on the same ring gives the same goal, its id too. While a change is under way the id does not depend
 *    on how far that has come: the new goal then begins from wherever the ring is when it is committed.
 * I2 A second goal takes the first one in: its joins, leaves and downs, but for those that the request turns round.
 */
import { Failure } from '../failure.ts';
import type { Hash64 } from '../ports.ts';
import { addNodes, isStaged, type NewNode, remaining } from '../ring/change.ts';
import { changeClaim } from '../ring/claim-change.ts';
import { type BytesOf, type Plan, planOf, rowOf } from '../ring/plan.ts';
import { formatVersion, nodeById, type Ring, type RingNode } from '../ring/ring.ts';
import { refuseDuringDoubling } from './doubling.ts';
import { type Goal, isJoining, isStagedBy, missingNodes } from './rebalance.ts';

/** Nothing of all: to even what the nodes own. A replacement is the join of one and the leave of the other. */
export interface ChangeRequest {
  readonly join: readonly NewNode[];
  /** Ids, and so in `down`. */
  readonly leave: readonly string[];
  readonly down: readonly string[];
  /** Those of `leave` that wait outside the ring: they come into it as LEFT, so that nobody expects them any more. */
  readonly outside?: readonly NewNode[];
}

export interface PlannedChange {
  readonly goal: Goal;
  readonly plan: Plan;
  /** The ring with those that join in it: the plan's nodes are indexes into it. */
  readonly ring: Ring;
  /** Partitions that move, and of whose owners all are DOWN: what they hold is lost unless one of them comes back. */
  readonly withoutSource: readonly number[];
}

const utf8 = new TextEncoder();

/** Throws Failure CHANGE_IMPOSSIBLE, with what was wanted and what there is, and CHANGE_CONFLICT during a doubling. */
export function planChange(
  ring: Ring,
  underWay: Goal | undefined,
  request: ChangeRequest,
  bytesOf: BytesOf,
  hash: Hash64,
): PlannedChange {
  refuseDuringDoubling(ring, underWay);
  checkRequest(ring, underWay, request);
  const joins = request.join.map(({ id }) => id);
  const staying = union(underWay?.joining ?? [], request.join, request.leave);
  const joining = [...staying, ...(request.outside ?? [])];
  const grown = addNodes(ring, missingNodes(ring, { joining }));
  const chosen = (...ids: readonly string[]) =>
    [...new Set(ids)].filter((id) => !joins.includes(id) && nodeById(grown, id) !== undefined).sort();
  const goal = {
    joining,
    leaving: chosen(...(underWay?.leaving ?? leavingIn(ring)), ...request.leave),
    down: chosen(...(underWay?.down ?? []), ...request.down),
  };
  const wanted = wantedNodes(grown, goal);
  if (wanted.length < ring.replicas) {
    throw impossible(`${ring.replicas} replicas need as many nodes, and ${wanted.length} would be left`);
  }
  const owners = claim(grown, presentRows(ring, underWay), wanted);
  checkDown(grown, goal, owners);
  const plan = planOf(grown, owners, bytesOf);
  const isNothing =
    remaining(grown, owners) === 0 && request.join.length + request.leave.length + request.down.length === 0;
  if (isNothing) throw impossible('there is nothing to change: the ring is as even as it can be');
  const basis = underWay === undefined ? formatVersion(ring.version) : underWay.id;
  const names = wanted.map((index) => grown.nodes[index]?.id).sort();
  return {
    goal: {
      ...goal,
      id: hash(utf8.encode(JSON.stringify([basis, names, goal.leaving, goal.down])))
        .toString(16)
        .padStart(16, '0'),
      owners,
      ...foundPending(ring, underWay, owners),
      paused: false,
      replicas: plan.moves.length,
      bytes: plan.bytes,
    },
    plan,
    ring: grown,
    withoutSource: [...new Set(plan.moves.filter((move) => isLost(grown, goal.down, move.sources)).map(partitionOf))],
  };
}

function checkRequest(ring: Ring, underWay: Goal | undefined, request: ChangeRequest): void {
  const { join, leave, down, outside = [] } = request;
  const joins = join.map(({ id }) => id);
  for (const [i, { id, address }] of join.entries()) {
    const status = nodeById(ring, id)?.status;
    const isGoing = underWay?.leaving.includes(id) === true || underWay?.down.includes(id) === true;
    if (status === 'LEFT') throw impossible(`${address} has left, and cannot join again: it needs an empty directory`);
    if (status === 'UP' && !isGoing) throw impossible(`${address} is in the ring already`);
    if (joins.indexOf(id) !== i) throw impossible(`${address} is named twice`);
    if (leave.includes(id) || down.includes(id))
      throw impossible(`${address} cannot join, and leave or be down at once`);
  }
  for (const id of [...leave, ...down]) {
    const node = nodeById(ring, id);
    const isKnown = [...(underWay?.joining ?? []), ...outside].some((known) => known.id === id);
    if (node === undefined && !isKnown) throw impossible(`node ${id} is not in the ring`);
    if (node?.status === 'LEFT') throw impossible(`${node.address} has left already`);
  }
}

/** A node that is down, and not taken back, pulls nothing: it can keep what it owns, and take over nothing. */
function checkDown(ring: Ring, goal: Pick<Goal, 'joining' | 'down'>, owners: Uint16Array): void {
  for (const { index, id, address, status } of ring.nodes) {
    const staysDown = goal.down.includes(id) || (status === 'DOWN' && !isJoining(goal, id));
    if (!staysDown) continue;
    let entered = 0;
    for (let p = 0; p < ring.partitions; p++) {
      const enters = rowOf(owners, p, ring.replicas).includes(index);
      if (enters && !rowOf(ring.owners, p, ring.replicas).includes(index)) entered += 1;
    }
    if (entered === 0) continue;
    throw impossible(
      `${address} is down, and would have to take over ${entered} partitions: let it leave in the same change`,
    );
  }
}

function claim(ring: Ring, owners: Uint16Array, wanted: readonly number[]): Uint16Array {
  try {
    return changeClaim({ ...ring, owners, wanted }).owners;
  } catch (error) {
    throw impossible(`no even claim was found for ${wanted.length} nodes: ${(error as Error).message}`);
  }
}

/** What is staged counts as moved: it need not be pulled again elsewhere. */
function presentRows(ring: Ring, underWay: Goal | undefined): Uint16Array {
  if (underWay === undefined) return ring.owners;
  const rows = ring.owners.slice();
  for (const partition of ring.pending.keys()) {
    if (!isStagedBy(ring, underWay, partition)) continue;
    rows.set(rowOf(underWay.owners, partition, ring.replicas), partition * ring.replicas);
  }
  return rows;
}

/** What is pending for a goal that nobody knows any more counts as flipped, which is the more careful. */
function foundPending(
  ring: Ring,
  underWay: Goal | undefined,
  owners: Uint16Array,
): Pick<Goal, 'withdrawn' | 'flipped'> {
  const withdrawn = new Map<number, readonly number[]>();
  const flipped: number[] = [];
  for (const [partition, nodes] of ring.pending) {
    const wasStaged =
      underWay !== undefined &&
      (isStagedBy(ring, underWay, partition) || underWay.withdrawn.get(partition)?.join() === nodes.join());
    if (!wasStaged) flipped.push(partition);
    else if (!isStaged(ring, owners, partition)) withdrawn.set(partition, nodes);
  }
  return { withdrawn, flipped };
}

function wantedNodes(ring: Ring, goal: Pick<Goal, 'joining' | 'leaving'>): number[] {
  return ring.nodes
    .filter(
      ({ id, status }) =>
        status !== 'LEFT' && !goal.leaving.includes(id) && (status !== 'JOINING' || isJoining(goal, id)),
    )
    .map(({ index }) => index);
}

/** Of a goal that was lost with the claimant's directory. */
function leavingIn(ring: Ring): string[] {
  return ring.nodes.filter(({ status }) => status === 'LEAVING').map(({ id }) => id);
}

function union(before: readonly NewNode[], after: readonly NewNode[], without: readonly string[]): NewNode[] {
  const byId = new Map([...before, ...after].map((node) => [node.id, node]));
  return [...byId.values()].filter(({ id }) => !without.includes(id));
}

function isLost(ring: Ring, down: readonly string[], sources: readonly number[]): boolean {
  return sources.every((index) => {
    const { id, status } = ring.nodes[index] as RingNode;
    return status === 'DOWN' || down.includes(id);
  });
}

function partitionOf({ partition }: { readonly partition: number }): number {
  return partition;
}

function impossible(message: string): Failure {
  return new Failure('CHANGE_IMPOSSIBLE', message);
}
