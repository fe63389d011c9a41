/**
 * A storage node as gossip knows it, and how two entries of one node merge.
 *
 * I1 merge is commutative, associative and idempotent: entries may come in any order, any number of times.
 * I2 Only the node itself raises its incarnation, so within one incarnation its address, host, zone and
 *    weight are fixed. Where two entries differ all the same, the greater one by text wins, which keeps I1.
 */
import type { MemberDigest, Member as MemberMessage } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { checkAddress, checkName, checkWeight, decodeStatus, encodeStatus } from '../ring/codec.ts';
import { type NodeStatusName, weightOf } from '../ring/ring.ts';

export interface Member {
  readonly id: string;
  /** Raised at each start, and to refute what is said of the node; see nextIncarnation. */
  readonly incarnation: bigint;
  readonly status: NodeStatusName;
  /** host:port */
  readonly address: string;
  readonly host: string;
  readonly zone: string;
  /** See ring.ts. */
  readonly weight?: number | undefined;
}

/**
 * A node's life in one incarnation goes one way. DOWN is an operator's word, which only the node itself can take back, by a
 * new incarnation. LEFT is last: who is replaced while it is DOWN leaves, and whoever has left never comes back.
 */
const STATUS_ORDER: Readonly<Record<NodeStatusName, number>> = { JOINING: 1, UP: 2, LEAVING: 3, DOWN: 4, LEFT: 5 };

/** More is refused from the wire, so that what follows still fits in 64 bits. */
export const INCARNATION_MAX = 2n ** 63n;

/** One entry in the table of members and one in a frame; keeps a gossip message under 1 MiB. */
export const MEMBERS_MAX = 4096;

/** Negative where `b` is newer, positive where `a` is, 0 where they are the same. */
export function compareMembers(a: Member, b: Member): number {
  return (
    compareClaims(a, b) ||
    compareTexts(a.address, b.address) ||
    compareTexts(a.host, b.host) ||
    compareTexts(a.zone, b.zone) ||
    weightOf(a) - weightOf(b)
  );
}

/** The newer of two entries of one node. */
export function mergeMembers(a: Member, b: Member): Member {
  return compareMembers(a, b) >= 0 ? a : b;
}

interface Claim {
  readonly incarnation: bigint;
  readonly status: NodeStatusName;
}

/** By (incarnation, status): all that a digest says. */
export function compareClaims(a: Claim, b: Claim): number {
  if (a.incarnation !== b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  return STATUS_ORDER[a.status] - STATUS_ORDER[b.status];
}

/**
 * The incarnation of a start that follows `previous` (0 for the first): a count in the upper bits, and below
 * it `random`, so that two starts from one copy of a disk do not choose the same.
 */
export function nextIncarnation(previous: bigint, random: bigint): bigint {
  return (((previous >> 24n) + 1n) << 24n) | BigInt.asUintN(24, random);
}

export function encodeMember(member: Member): MemberMessage {
  return { ...member, weight: weightOf(member), status: encodeStatus(member.status) };
}

/** Throws an Error that names what is wrong. */
export function decodeMember(message: MemberMessage): Member {
  const id = checkName(message.id, 'the id of a member', false);
  const address = checkAddress(message.address, `the address of member ${id}`);
  return {
    id,
    incarnation: decodeIncarnation(message.incarnation, id),
    status: decodeStatus(message.status, `member ${id}`),
    address,
    host: checkName(message.host, `the host of member ${id}`, true),
    zone: checkName(message.zone, `the zone of member ${id}`, true),
    ...checkWeight(message.weight, `the weight of member ${id}`),
  };
}

export function encodeDigest(member: Member): MemberDigest {
  return { id: member.id, incarnation: member.incarnation, status: encodeStatus(member.status) };
}

/** Throws an Error that names what is wrong. */
export function decodeDigest(message: MemberDigest): Claim & { readonly id: string } {
  const id = checkName(message.id, 'the id of a digest', false);
  return {
    id,
    incarnation: decodeIncarnation(message.incarnation, id),
    status: decodeStatus(message.status, `member ${id}`),
  };
}

function decodeIncarnation(incarnation: bigint, id: string): bigint {
  if (incarnation < 1n || incarnation > INCARNATION_MAX) {
    throw new Error(`the incarnation of member ${id} is ${incarnation}, and 1 to ${INCARNATION_MAX} is allowed`);
  }
  return incarnation;
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
