/**
 * One push-pull round of gossip, both sides of it, as plain functions:
 *
 *     caller                              responder
 *     ask ──── digests, ring version ───► respond      (digests: of members and of namespaces)
 *     take ◄── newer here, wanted ─────── respond
 *       └───── what was wanted, ring ───► respond      (only where there is something to push)
 *
 * Hostile input is refused whole: nothing of a message that breaks a rule is applied.
 */
import type { GossipRequest, GossipResponse, Setting } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { decodeNamespace, decodeNamespaceDigest, encodeNamespace, encodeNamespaceDigest } from '../namespaces/codec.ts';
import {
  claimOf,
  compareClaims as compareNamespaceClaims,
  type Namespace,
  namespacesMax,
} from '../namespaces/namespace.ts';
import { decodeRing, decodeVersion, encodeRing, encodeVersion, NAME_LENGTH_MAX } from '../ring/codec.ts';
import { compareVersions, type Ring, type RingVersion } from '../ring/ring.ts';
import {
  compareClaims,
  decodeDigest,
  decodeMember,
  encodeDigest,
  encodeMember,
  MEMBERS_MAX,
  type Member,
} from './member.ts';
import {
  adoptClusterId,
  adoptRing,
  hasLeft,
  hear,
  learnMembers,
  learnNamespaces,
  learnOwnIncarnation,
  type Membership,
} from './membership.ts';
import { differenceOf, encodeSettings, type Settings } from './settings.ts';

export const GOSSIP_WIRE_VERSION = 1;

/** The other end is of another cluster or wire version, or has other settings (FAILED_PRECONDITION); or it made no sense (INVALID_ARGUMENT). */
export class GossipRefused extends Error {
  readonly code: 'FAILED_PRECONDITION' | 'INVALID_ARGUMENT';

  constructor(code: GossipRefused['code'], message: string) {
    super(message);
    this.name = 'GossipRefused';
    this.code = code;
  }
}

/** The first call of a round. */
export function ask(state: Membership): GossipRequest {
  return {
    ...emptyRequest(state),
    digests: [...state.members.values()].map(encodeDigest),
    namespaceDigests: [...state.namespaces.values()].map(encodeNamespaceDigest),
  };
}

/** Throws GossipRefused; the state is then what it was. */
export function respond(state: Membership, request: GossipRequest, now: number): [Membership, GossipResponse] {
  if (request.wireVersion !== GOSSIP_WIRE_VERSION) {
    throw new GossipRefused(
      'FAILED_PRECONDITION',
      `the caller speaks wire version ${request.wireVersion} of gossip, and this process ${GOSSIP_WIRE_VERSION}`,
    );
  }
  checkSettings(request.settings, state.settings);
  const news = decodeNews(request);
  const digests = decoding(() => capped(request.digests, 'digests').map(decodeDigest));
  const namespaceDigests = decoding(() => cappedNamespaces(request.namespaceDigests).map(decodeNamespaceDigest));
  let next = learn(state, request.clusterId, news);
  const own = digests.find((digest) => digest.id === state.self?.id);
  if (own !== undefined) next = learnOwnIncarnation(next, own.incarnation);
  next = hear(next, request.senderId, news.ringVersion !== undefined, now);

  const isPush = request.members.length > 0 || news.ring !== undefined || news.namespaces.length > 0;
  const known = new Map(digests.map((digest) => [digest.id, digest]));
  const newer = isPush ? [] : [...next.members.values()].filter((member) => isNews(member, known.get(member.id)));
  // The caller hears what start of it is known here even if that is an older one: it may not remember it.
  const caller = state.members.get(request.senderId);
  const said = known.get(request.senderId);
  if (caller !== undefined && said !== undefined && caller.incarnation < said.incarnation) newer.push(caller);
  const { namespaces } = next;
  const knownNamespaces = new Map(namespaceDigests.map((digest) => [digest.name, digest]));
  const newerNamespaces = isPush
    ? []
    : [...namespaces.values()].filter((namespace) => {
        const said = knownNamespaces.get(namespace.name);
        return said === undefined || compareNamespaceClaims(claimOf(namespace), said) > 0;
      });
  const wantedNamespaces = namespaceDigests.filter((digest) => {
    const own = namespaces.get(digest.name);
    // What there is no room for is not asked for again and again.
    if (own === undefined) return namespaces.size < namespacesMax;
    return compareNamespaceClaims(digest, claimOf(own)) > 0;
  });
  const wanted = digests
    .filter((digest) => !hasLeft(next, digest.id) && isNews(digest, next.members.get(digest.id)))
    .map((digest) => digest.id);
  return [
    next,
    {
      clusterId: next.clusterId,
      responderId: next.self?.id ?? '',
      members: newer.map(encodeMember),
      wanted,
      ringVersion: next.ring && encodeVersion(next.ring.version),
      ring: next.ring && isNewerRing(next.ring, news.ringVersion) ? encodeRing(next.ring) : undefined,
      namespaces: newerNamespaces.map(encodeNamespace),
      wantedNamespaces: wantedNamespaces.map(({ name }) => name),
      settings: encodeSettings(next.settings),
    },
  ];
}

/** Takes an answer in; the request is the second call, where there is one to make. Throws GossipRefused. */
export function take(
  state: Membership,
  response: GossipResponse,
  now: number,
): [Membership, GossipRequest | undefined] {
  checkSettings(response.settings, state.settings);
  const news = decodeNews(response);
  let next = learn(state, response.clusterId, news);
  next = hear(next, response.responderId, news.ringVersion !== undefined, now);
  const pushed = capped(response.wanted, 'wanted members')
    .map((id) => next.members.get(id))
    .filter((member) => member !== undefined);
  const ring = next.ring && isNewerRing(next.ring, news.ringVersion) ? encodeRing(next.ring) : undefined;
  const namespaces = cappedNamespaces(response.wantedNamespaces)
    .map((name) => next.namespaces.get(name))
    .filter((namespace) => namespace !== undefined)
    .map(encodeNamespace);
  if (pushed.length === 0 && ring === undefined && namespaces.length === 0) return [next, undefined];
  return [next, { ...emptyRequest(next), members: pushed.map(encodeMember), ring, namespaces }];
}

interface News {
  readonly members: readonly Member[];
  readonly ringVersion: RingVersion | undefined;
  readonly ring: Ring | undefined;
  readonly namespaces: readonly Namespace[];
}

function decodeNews(message: GossipRequest | GossipResponse): News {
  return decoding(() => {
    const { clusterId } = message;
    if (clusterId.length > NAME_LENGTH_MAX) {
      throw new Error(`the cluster id has ${clusterId.length} characters, and at most ${NAME_LENGTH_MAX} are allowed`);
    }
    const ring = message.ring && decodeRing(message.ring);
    if (ring !== undefined && clusterId === '') throw new Error('a ring came without the id of its cluster');
    return {
      members: capped(message.members, 'members').map(decodeMember),
      ringVersion: ring?.version ?? (message.ringVersion && decodeVersion(message.ringVersion)),
      ring,
      namespaces: cappedNamespaces(message.namespaces).map(decodeNamespace),
    };
  });
}

function learn(state: Membership, clusterId: string, news: News): Membership {
  if (clusterId !== '' && state.clusterId !== '' && clusterId !== state.clusterId) {
    throw new GossipRefused(
      'FAILED_PRECONDITION',
      `the other process is of cluster ${clusterId}, and this one of cluster ${state.clusterId}`,
    );
  }
  const next = learnNamespaces(learnMembers(adoptClusterId(state, clusterId), news.members), news.namespaces);
  return news.ring === undefined ? next : adoptRing(next, news.ring);
}

type Claim = Parameters<typeof compareClaims>[0];

function isNews(claim: Claim, known: Claim | undefined): boolean {
  return known === undefined || compareClaims(claim, known) > 0;
}

function isNewerRing(ring: Ring, than: RingVersion | undefined): boolean {
  return than === undefined || compareVersions(ring.version, than) > 0;
}

function emptyRequest(state: Membership): GossipRequest {
  return {
    wireVersion: GOSSIP_WIRE_VERSION,
    clusterId: state.clusterId,
    senderId: state.self?.id ?? '',
    digests: [],
    members: [],
    ringVersion: state.ring && encodeVersion(state.ring.version),
    ring: undefined,
    namespaceDigests: [],
    namespaces: [],
    settings: encodeSettings(state.settings),
  };
}

function checkSettings(theirs: readonly Setting[], ours: Settings): void {
  const difference = differenceOf(theirs, ours);
  if (difference !== undefined) throw new GossipRefused('FAILED_PRECONDITION', `other settings: ${difference}`);
}

function cappedNamespaces<T>(items: readonly T[]): readonly T[] {
  if (items.length <= namespacesMax) return items;
  throw new GossipRefused('INVALID_ARGUMENT', `${items.length} namespaces, and at most ${namespacesMax} are allowed`);
}

function capped<T>(items: readonly T[], what: string): readonly T[] {
  if (items.length > MEMBERS_MAX) {
    throw new GossipRefused('INVALID_ARGUMENT', `${items.length} ${what}, and at most ${MEMBERS_MAX} are allowed`);
  }
  return items;
}

function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof GossipRefused) throw error;
    throw new GossipRefused('INVALID_ARGUMENT', error instanceof Error ? error.message : String(error));
  }
}
