/**
 * What one process knows of its cluster: its id, the members, the ring, the namespaces. A value; every function here gives a
 * new one, or the same where nothing changed.
 *
 * Not here: what is said to whom (exchange.ts), who issues rings (claimant.ts), failure detection, which is
 * local to whoever sends.
 *
 * I1 The ring never goes back: only one of a higher version replaces it.
 * I2 The cluster id is taken over once and never changes.
 * I3 Of itself a node knows best: an entry of it that it did not make never enters the table.
 * I4 There are at most MEMBERS_MAX members, and at most namespacesMax namespaces.
 * I5 Whom the ring has as LEFT is no member any more, but to itself: the ring, which only grows in nodes, says for ever that
 *    it has left, so no entry of it is taken in again, whoever still has one. Whose ring does not say it yet keeps the entry.
 */
import { mergeNamespaces, type Namespace, type Namespaces, namespacesMax } from '../namespaces/namespace.ts';
import { compareVersions, nodeById, type Ring, ringsEqual } from '../ring/ring.ts';
import { compareMembers, INCARNATION_MAX, MEMBERS_MAX, type Member, mergeMembers } from './member.ts';
import type { Settings } from './settings.ts';

/** When another process was last spoken to, and whether it knew a ring then. */
export interface Heard {
  /** Milliseconds of this process's monotonic clock. */
  readonly at: number;
  readonly knowsRing: boolean;
}

/** What went otherwise than it should; only ever grows. */
export interface MembershipCounts {
  /** Rings with a lower version, not applied. */
  readonly ringsOlder: number;
  /** Rings of the version known, with other content. An alarm: two claimants, or a bug. */
  readonly ringConflicts: number;
  /** Times that this node had to refute what was said of it. */
  readonly refutations: number;
  /** Members not taken in, because there are MEMBERS_MAX. */
  readonly membersRefused: number;
  /** Namespaces not taken in, because there are namespacesMax. */
  readonly namespacesRefused: number;
}

export interface Membership {
  /** Empty: not known yet. */
  readonly clusterId: string;
  readonly self: Self | undefined;
  /** Of this process: it speaks with none that differs in one of them. */
  readonly settings: Settings;
  /** By id; this node's own entry is among them, and nobody else who has left (I5). */
  readonly members: ReadonlyMap<string, Member>;
  readonly ring: Ring | undefined;
  readonly namespaces: Namespaces;
  /** By id of a member; since this process started. */
  readonly heard: ReadonlyMap<string, Heard>;
  readonly counts: MembershipCounts;
}

export interface Self {
  readonly id: string;
  /** The last one of the lives before this. */
  readonly previousIncarnation: bigint;
  /** Those of this life, the newest last; at most INCARNATIONS_KEPT. */
  readonly incarnations: readonly bigint[];
  /**
   * Others know of a start of this node that its disk does not remember: an old image of the disk was
   * restored, or a copy of it is in use elsewhere. What this node said since then is not in its memory.
   */
  readonly isRestored: boolean;
}

/** What survives a restart. */
export interface Remembered {
  readonly clusterId: string;
  readonly members: readonly Member[];
  readonly ring: Ring | undefined;
  readonly namespaces: readonly Namespace[];
}

const INCARNATIONS_KEPT = 64;

/** `self`: this node's own entry in its new incarnation; undefined for a process that is no member. */
export function createMembership(
  remembered: Remembered,
  self: Member | undefined,
  settings: Settings = new Map(),
): Membership {
  const members = new Map(remembered.members.map((member) => [member.id, member]));
  const previousIncarnation = members.get(self?.id ?? '')?.incarnation ?? 0n;
  if (self !== undefined) {
    if (self.incarnation <= previousIncarnation) {
      throw new Error(`incarnation ${self.incarnation} of ${self.id} does not follow ${previousIncarnation}`);
    }
    members.set(self.id, self);
  }
  const state: Membership = {
    clusterId: remembered.clusterId,
    self: self && { id: self.id, previousIncarnation, incarnations: [self.incarnation], isRestored: false },
    settings,
    members,
    ring: remembered.ring,
    namespaces: new Map(remembered.namespaces.map((namespace) => [namespace.name, namespace])),
    heard: new Map(),
    counts: { ringsOlder: 0, ringConflicts: 0, refutations: 0, membersRefused: 0, namespacesRefused: 0 },
  };
  return followRing(state);
}

/** This node's own entry; undefined for a process that is no member. */
export function ownEntry(state: Membership): Member | undefined {
  return state.self && state.members.get(state.self.id);
}

export function adoptClusterId(state: Membership, clusterId: string): Membership {
  if (clusterId === '' || clusterId === state.clusterId) return state;
  if (state.clusterId !== '') throw new Error(`cluster ${state.clusterId} does not become ${clusterId}`);
  return { ...state, clusterId };
}

/** Takes a newer ring over; counts an older one, and one that contradicts the ring known. */
export function adoptRing(state: Membership, ring: Ring): Membership {
  if (state.ring !== undefined) {
    const order = compareVersions(ring.version, state.ring.version);
    if (order < 0) return count(state, { ringsOlder: state.counts.ringsOlder + 1 });
    if (order === 0) {
      return ringsEqual(ring, state.ring) ? state : count(state, { ringConflicts: state.counts.ringConflicts + 1 });
    }
  }
  return followRing({ ...state, ring });
}

/** Merges entries in; refutes what they say of this node. */
export function learnMembers(state: Membership, entries: readonly Member[]): Membership {
  let members: Map<string, Member> | undefined;
  let refused = 0;
  for (const entry of entries) {
    if (entry.id === state.self?.id || hasLeft(state, entry.id)) continue;
    const known = (members ?? state.members).get(entry.id);
    if (known === undefined && (members ?? state.members).size >= MEMBERS_MAX) {
      refused += 1;
      continue;
    }
    const merged = known === undefined ? entry : mergeMembers(known, entry);
    if (merged === known) continue;
    members ??= new Map(state.members);
    members.set(entry.id, merged);
  }
  let next = members === undefined ? state : { ...state, members };
  if (refused > 0) next = count(next, { membersRefused: next.counts.membersRefused + refused });
  for (const entry of entries) {
    if (entry.id === state.self?.id) next = answerForSelf(next, entry);
  }
  return next;
}

/** Merges namespaces in. */
export function learnNamespaces(state: Membership, entries: readonly Namespace[]): Membership {
  let namespaces: Map<string, Namespace> | undefined;
  let refused = 0;
  for (const entry of entries) {
    const known = (namespaces ?? state.namespaces).get(entry.name);
    if (known === undefined && (namespaces ?? state.namespaces).size >= namespacesMax) {
      refused += 1;
      continue;
    }
    const merged = known === undefined ? entry : mergeNamespaces(known, entry);
    if (merged === known) continue;
    namespaces ??= new Map(state.namespaces);
    namespaces.set(entry.name, merged);
  }
  const next = namespaces === undefined ? state : { ...state, namespaces };
  return refused === 0 ? next : count(next, { namespacesRefused: next.counts.namespacesRefused + refused });
}

/** What a digest of this node says: only whether somebody knows of a start that this node does not remember. */
export function learnOwnIncarnation(state: Membership, incarnation: bigint): Membership {
  const { self } = state;
  if (self === undefined || self.isRestored) return state;
  const isUnknown = incarnation > self.previousIncarnation && !self.incarnations.includes(incarnation);
  return isUnknown ? { ...state, self: { ...self, isRestored: true } } : state;
}

/** Whether the ring known here has it as LEFT (I5). */
export function hasLeft({ ring }: Membership, id: string): boolean {
  return ring !== undefined && nodeById(ring, id)?.status === 'LEFT';
}

/** Notes that `id` was spoken to directly; of those who are no members nothing is kept. */
export function hear(state: Membership, id: string, knowsRing: boolean, now: number): Membership {
  if (!state.members.has(id)) return state;
  return { ...state, heard: new Map(state.heard).set(id, { at: now, knowsRing }) };
}

function answerForSelf(state: Membership, entry: Member): Membership {
  const own = ownEntry(state);
  if (own === undefined) return state;
  const next = learnOwnIncarnation(state, entry.incarnation);
  // At the end of the numbers there is no incarnation left that others would accept.
  if (compareMembers(own, entry) >= 0 || entry.incarnation >= INCARNATION_MAX) return next;
  return count(inNewIncarnation(next, own, entry.incarnation + 1n), { refutations: next.counts.refutations + 1 });
}

function inNewIncarnation(state: Membership, own: Member, incarnation: bigint): Membership {
  const self = state.self as Self;
  return {
    ...state,
    members: new Map(state.members).set(own.id, { ...own, incarnation }),
    self: { ...self, incarnations: [...self.incarnations, incarnation].slice(-INCARNATIONS_KEPT) },
  };
}

/** Others that the ring has LEFT are forgotten (I5). That they are DOWN is taken over: they may never say it themselves. */
function followRing(state: Membership): Membership {
  const next = followOwnStatus(state);
  const members = new Map(next.members);
  const heard = new Map(next.heard);
  let isChanged = false;
  for (const { id, status } of next.ring?.nodes ?? []) {
    const known = members.get(id);
    if (known === undefined || id === next.self?.id) continue;
    if (status === 'LEFT') {
      members.delete(id);
      heard.delete(id);
      isChanged = true;
    } else if (status === 'DOWN') {
      const merged = mergeMembers(known, { ...known, status });
      isChanged ||= merged !== known;
      members.set(id, merged);
    }
  }
  return isChanged ? { ...next, members, heard } : next;
}

/**
 * A node's own status is the one that the ring gives it; outside the ring it stays JOINING. One that an incarnation cannot
 * come to, as from LEAVING back to UP, begins a new incarnation.
 */
function followOwnStatus(state: Membership): Membership {
  const own = ownEntry(state);
  const node = own && state.ring && nodeById(state.ring, own.id);
  if (own === undefined || node === undefined) return state;
  const followed = { ...own, status: node.status };
  if (followed.status === own.status) return state;
  if (compareMembers(followed, own) < 0) return inNewIncarnation(state, followed, own.incarnation + 1n);
  return { ...state, members: new Map(state.members).set(own.id, followed) };
}

function count(state: Membership, counts: Partial<MembershipCounts>): Membership {
  return { ...state, counts: { ...state.counts, ...counts } };
}
