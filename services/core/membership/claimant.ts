/**
 * The claimant: the one process that issues rings. It forms the first ring when as many storage nodes have
 * joined as are expected, issues the ring again when a node in it has moved to another address, and walks the ring to the
 * goal that was committed (rebalance.ts). Nodes that come later stay JOINING, outside the ring, until a goal has them join.
 *
 * It decides, and does nothing: whoever runs it makes the ring durable, and only then tells others.
 *
 * I1 A first ring is formed only from nodes that said themselves, a short while ago, that they know no ring.
 *    So a claimant that has lost its memory never forms a second first ring beside the nodes' own.
 * I2 Every version is issued once: term = the term of the ring found at the first issue of this life + 1, where there is
 *    but one claimant; where it was elected (election.ts), the term that nobody else was elected for, which is higher.
 * I3 A ring of a term above its own, after it has issued one, means that another claimant is at work; this
 *    one then stops. An elected one stops too where its own term is not above that of the ring it begins from.
 * I4 It may have been started with an old directory. So before the first change of its life every node of the ring that is
 *    not DOWN has said that it knows no newer ring; before an address is followed, all but fewer than N nodes have, so that
 *    of those that any newer change had to reach first, one was asked. Where somebody knows a newer ring, gossip brings it.
 */

import { type FlightLimits, issuedAfter, newNodeOf } from '../ring/change.ts';
import { firstClaim } from '../ring/claim.ts';
import {
  compareVersions,
  createRing,
  formatVersion,
  nameOfNode,
  nodesEqual,
  type Ring,
  type RingNode,
} from '../ring/ring.ts';
import { arrived, type Course, noCourse } from './course.ts';
import type { Member } from './member.ts';
import type { Membership } from './membership.ts';
import { advance, isFromBefore, type Reports } from './rebalance.ts';

export interface ClaimantState extends Course {
  readonly expectedNodes: number;
  readonly partitions: number;
  readonly replicas: number;
  /** Of the rings issued in this life; undefined: none yet. */
  readonly term: bigint | undefined;
  /** The term that it was elected for; undefined: there is no other claimant, and it takes the next one. */
  readonly mandate: bigint | undefined;
  /** I3. */
  readonly isSuperseded: boolean;
  /** Nodes that could be in the first ring now; those of the ring, once there is one. */
  readonly joinedNodes: number;
  /** For people; empty: nothing. */
  readonly waitingFor: string;
  /** There is something to issue, and the next step wants to know what the nodes of the ring say. */
  readonly needsReports: boolean;
  /** I4, for changes. */
  readonly hasHeardAll: boolean;
}

/** In this order, each durable before the next. */
export type ClaimantEffect =
  | ({ readonly kind: 'keepCourse' } & Course)
  | { readonly kind: 'issue'; readonly clusterId: string; readonly ring: Ring };

/**
 * k and m of a change. A step takes about a second and a half besides the transfer, and while a partition moves its writes
 * go to one node more: 64 of 1,024 partitions is 6% of all, and 16 at one node keep its transfers going meanwhile.
 */
export const FLIGHT_LIMITS: FlightLimits = { partitionsInFlight: 64, partitionsPerNode: 16 };

/** A node that was not spoken to for this long is not counted: ten rounds of gossip. */
export const HEARD_RECENTLY_MS = 10_000;

export function createClaimant(
  options: Pick<ClaimantState, 'expectedNodes' | 'partitions' | 'replicas'>,
  course: Course = noCourse,
  mandate?: bigint,
): ClaimantState {
  if (options.expectedNodes < options.replicas) {
    throw new Error(`${options.replicas} replicas need as many nodes, and ${options.expectedNodes} are expected`);
  }
  return {
    ...options,
    term: undefined,
    mandate,
    isSuperseded: false,
    joinedNodes: 0,
    waitingFor: 'storage nodes',
    ...course,
    needsReports: false,
    hasHeardAll: false,
  };
}

/**
 * `freshClusterId` is the id of the cluster in case this step forms it; `reports` is what nodes have just said, where
 * `needsReports` asked for it.
 */
export function claimantStep(
  state: ClaimantState,
  known: Membership,
  freshClusterId: string,
  now: number,
  reports: Reports = new Map(),
): [ClaimantState, ClaimantEffect[]] {
  if (known.ring !== undefined) return followRing(state, known, known.ring, reports);
  const joined = joinedNodes(known, now);
  const waiting = (waitingFor: string): [ClaimantState, ClaimantEffect[]] => [
    { ...state, joinedNodes: joined.length, waitingFor },
    [],
  ];
  if (known.clusterId !== '') return waiting(`the ring of cluster ${known.clusterId}`);
  const [knowing] = [...known.heard].find(([, heard]) => heard.knowsRing) ?? [];
  if (knowing !== undefined) return waiting(`the ring that ${known.members.get(knowing)?.address ?? knowing} knows`);
  if (joined.length < state.expectedNodes) {
    return waiting(`${joined.length} of ${state.expectedNodes} storage nodes have joined`);
  }
  const ring = firstRing(state, joined.slice(0, state.expectedNodes));
  return [
    { ...state, term: ring.version.term, joinedNodes: ring.nodes.length, waitingFor: '' },
    [{ kind: 'issue', clusterId: freshClusterId, ring }],
  ];
}

/** In the order of their ids; of two with one address, the one that was heard last. */
function joinedNodes(known: Membership, now: number): Member[] {
  const byAddress = new Map<string, { member: Member; at: number }>();
  for (const [id, heard] of known.heard) {
    const member = known.members.get(id);
    if (member?.status !== 'JOINING' || heard.knowsRing || now - heard.at > HEARD_RECENTLY_MS) continue;
    const other = byAddress.get(member.address);
    if (other === undefined || other.at < heard.at) byAddress.set(member.address, { member, at: heard.at });
  }
  return [...byAddress.values()].map(({ member }) => member).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function firstRing(state: ClaimantState, members: readonly Member[]): Ring {
  const { partitions, replicas, mandate = 1n } = state;
  return createRing({
    version: { term: mandate, sequence: 1n },
    partitions,
    replicas,
    nodes: members.map((member, index) => ({ ...newNodeOf(member), index, status: 'UP' })),
    owners: firstClaim({ nodes: members, partitions, replicas }),
    pending: new Map(),
  });
}

function followRing(
  state: ClaimantState,
  known: Membership,
  ring: Ring,
  reports: Reports,
): [ClaimantState, ClaimantEffect[]] {
  const settled = { ...state, joinedNodes: ring.nodes.length, waitingFor: '', needsReports: false };
  if (isSuperseded(state, ring)) {
    const waitingFor = `nothing any more: another claimant has issued ring ${formatVersion(ring.version)}`;
    return [{ ...settled, isSuperseded: true, waitingFor }, []];
  }
  const nodes = ring.nodes.map((node) => moved(node, known.members.get(node.id)));
  const hasMoved = nodes.some((node, i) => node !== ring.nodes[i]);
  const { goal } = state;
  if (!hasMoved && goal === undefined) return [{ ...settled, waitingFor: lostGoal(ring) }, []];
  const asking = { ...settled, needsReports: goal !== undefined || state.term === undefined };
  const waiting = (waitingFor: string): [ClaimantState, ClaimantEffect[]] => [{ ...asking, waitingFor }, []];

  const newer = [...reports].find(([, { version }]) => compareVersions(version, ring.version) > 0);
  if (newer !== undefined)
    return waiting(`the ring ${formatVersion(newer[1].version)} that ${nameOfNode(ring, newer[0])} knows`);
  const silent = ring.nodes.filter(({ id, status }) => status !== 'LEFT' && !reports.has(id));
  const version = { term: state.term ?? state.mandate ?? ring.version.term + 1n, sequence: ring.version.sequence + 1n };
  const issue = (issued: Ring): ClaimantEffect => {
    return { kind: 'issue', clusterId: known.clusterId, ring: issuedAfter(ring, issued, version) };
  };
  if (hasMoved) {
    if (state.term === undefined && silent.length >= ring.replicas) return waiting(whichRing(silent));
    return [{ ...asking, term: version.term }, [issue({ ...ring, nodes })]];
  }
  if (goal === undefined) return [settled, []];
  const awaited = silent.filter(({ id, status }) => status !== 'DOWN' && !goal.down.includes(id));
  if (!state.hasHeardAll && awaited.length > 0) return waiting(whichRing(awaited));
  const { ring: next, goal: after, waitingFor, done } = advance(ring, goal, reports, FLIGHT_LIMITS);
  const { ended } = state;
  const course = done ? arrived({ goal: after, ended }, !isFromBefore(ring, after)) : { goal: after, ended };
  const effects: ClaimantEffect[] = course.goal === goal ? [] : [{ kind: 'keepCourse', ...course }];
  if (next !== undefined) effects.push(issue(next));
  const term = next === undefined ? state.term : version.term;
  return [{ ...asking, ...course, term, waitingFor, needsReports: !done, hasHeardAll: true }, effects];
}

function isSuperseded({ term, mandate }: ClaimantState, { version }: Ring): boolean {
  if (term !== undefined) return version.term > term;
  return mandate !== undefined && version.term >= mandate;
}

/** A ring that is on its way has a goal, unless that was lost with the claimant's directory. */
function lostGoal({ pending, nodes }: Ring): string {
  const leaving = nodes.filter(({ status }) => status === 'LEAVING').length;
  if (pending.size === 0 && leaving === 0) return '';
  return `somebody to plan again: ${pending.size} partitions are on their way and ${leaving} nodes are leaving, and the goal is not known here`;
}

function whichRing(silent: readonly RingNode[]): string {
  return `${silent.map(({ address }) => address).join(', ')} to say which ring is known there`;
}

function moved(node: RingNode, member: Member | undefined): RingNode {
  if (member === undefined) return node;
  const { index, status } = node;
  const now = { index, status, ...newNodeOf(member) };
  return nodesEqual(now, node) ? node : now;
}
