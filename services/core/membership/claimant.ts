/**
 * The claimant: the one process that issues rings. It forms the first ring when as many storage nodes have
 * joined as are expected, and issues the ring again when a node in it has moved to another address. Nodes
 * that come later stay JOINING, outside the ring.
 *
 * It decides, and does nothing: whoever runs it makes the ring durable, and only then tells others.
 *
 * I1 A first ring is formed only from nodes that said themselves, a short while ago, that they know no ring.
 *    So a claimant that has lost its memory never forms a second first ring beside the nodes' own.
 * I2 Every version is issued once: term = the term of the ring found at the first issue of this life + 1.
 * I3 A ring of a term above its own, after it has issued one, means that another claimant is at work; this
 *    one then stops.
 */
import { firstClaim } from '../ring/claim.ts';
import { createRing, formatVersion, type Ring, type RingNode } from '../ring/ring.ts';
import type { Member } from './member.ts';
import type { Membership } from './membership.ts';

export interface ClaimantState {
  readonly expectedNodes: number;
  readonly partitions: number;
  readonly replicas: number;
  /** Of the rings issued in this life; undefined: none yet. */
  readonly term: bigint | undefined;
  /** Nodes that could be in the first ring now; those of the ring, once there is one. */
  readonly joinedNodes: number;
  /** For people; empty: nothing. */
  readonly waitingFor: string;
}

export type ClaimantEffect = { readonly kind: 'issue'; readonly clusterId: string; readonly ring: Ring };

/** A node that was not spoken to for this long is not counted: ten rounds of gossip. */
export const HEARD_RECENTLY_MS = 10_000;

export function createClaimant(
  options: Pick<ClaimantState, 'expectedNodes' | 'partitions' | 'replicas'>,
): ClaimantState {
  if (options.expectedNodes < options.replicas) {
    throw new Error(`${options.replicas} replicas need as many nodes, and ${options.expectedNodes} are expected`);
  }
  return { ...options, term: undefined, joinedNodes: 0, waitingFor: 'storage nodes' };
}

/** `freshClusterId` is the id of the cluster in case this step forms it. */
export function claimantStep(
  state: ClaimantState,
  known: Membership,
  freshClusterId: string,
  now: number,
): [ClaimantState, ClaimantEffect[]] {
  if (known.ring !== undefined) return followMoves(state, known, known.ring);
  const joined = joinedNodes(known, now);
  const waiting = (waitingFor: string): [ClaimantState, ClaimantEffect[]] => [
    { ...state, joinedNodes: joined.length, waitingFor },
    [],
  ];
  if (known.clusterId !== '') return waiting(`the ring of cluster ${known.clusterId}`);
  const [knowing] = [...known.heard].find(([, heard]) => heard.knowsRing) ?? [];
  if (knowing !== undefined) return waiting(`the ring that node ${knowing} knows`);
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
  const { partitions, replicas } = state;
  return createRing({
    version: { term: 1n, sequence: 1n },
    partitions,
    replicas,
    nodes: members.map(({ id, address, host, zone }, index) => ({ index, id, address, host, zone, status: 'UP' })),
    owners: firstClaim({ nodes: members, partitions, replicas }),
    pending: new Map(),
  });
}

/** The ring again where gossip has another address, host or zone of a node; indexes and owners stay. */
function followMoves(state: ClaimantState, known: Membership, ring: Ring): [ClaimantState, ClaimantEffect[]] {
  const settled = { ...state, joinedNodes: ring.nodes.length, waitingFor: '' };
  if (state.term !== undefined && ring.version.term > state.term) {
    const waitingFor = `nothing any more: another claimant has issued ring ${formatVersion(ring.version)}`;
    return [{ ...settled, waitingFor }, []];
  }
  const nodes = ring.nodes.map((node) => moved(node, known.members.get(node.id)));
  if (nodes.every((node, i) => node === ring.nodes[i])) return [settled, []];
  const term = state.term ?? ring.version.term + 1n;
  const issued = createRing({ ...ring, version: { term, sequence: ring.version.sequence + 1n }, nodes });
  return [{ ...settled, term }, [{ kind: 'issue', clusterId: known.clusterId, ring: issued }]];
}

function moved(node: RingNode, member: Member | undefined): RingNode {
  if (member === undefined) return node;
  const { address, host, zone } = member;
  if (address === node.address && host === node.host && zone === node.zone) return node;
  return { ...node, address, host, zone };
}
