/**
 * The gossip loop of one process: once a second a push-pull round with a random peer. Storage nodes,
 * routers and membership processes run the same loop; only storage nodes have an entry of their own.
 *
 * It owns this process's Membership value, and makes it durable where it is given a place. What the value
 * means is core/membership's; how a call travels is the transport's.
 *
 * I1 The incarnation of this start, and a ring or namespace that is issued here, are durable before anybody hears
 *    of them.
 * I2 A peer's failure is counted, never thrown; a bug (any other exception) goes to the process.
 * I3 A ring is told to this process (onRing) only once it is durable: what was done by it is not undone by a restart.
 * I4 One round of the loop and one write at a time; a write takes what is known when it begins.
 */
import type { GossipRequest, GossipResponse } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { ask, GossipRefused, respond, take } from '../../core/membership/exchange.ts';
import { type Member, nextIncarnation } from '../../core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  learnNamespaces,
  type Membership,
  type MembershipCounts,
  ownEntry,
} from '../../core/membership/membership.ts';
import { type Settings, settingsOf } from '../../core/membership/settings.ts';
import type { Namespace } from '../../core/namespaces/namespace.ts';
import type { Clock, Log, Metrics, Random } from '../../core/ports.ts';
import { compareVersions, formatVersion, type Ring } from '../../core/ring/ring.ts';
import { xxh64 } from '../hash.ts';
import { sparingly } from '../logging.ts';
import { createRefusals, type RefusedBy } from '../refusals.ts';
import { decodeRemembered, encodeRemembered } from './remembered.ts';

export interface GossipTransport {
  /**
   * One call to `address`, given up after `timeoutMs`. Rejects where it fails: with GossipRefused where the other process
   * wants nothing to do with this one, or with whatever the reason is.
   */
  exchange(address: string, request: GossipRequest, timeoutMs: number): Promise<GossipResponse>;
}

export interface GossipOptions {
  /** Undefined for a process that is no storage node. */
  readonly self?: Pick<Member, 'id' | 'address' | 'host' | 'zone' | 'weight'> | undefined;
  /** host:port; asked when nobody is known, and now and then. */
  readonly seeds: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: GossipTransport;
  /** Where a test wants others than those of this build. */
  readonly settings?: Settings | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /** What `persist` was given last, in this or an earlier life; undefined: nothing yet. */
  readonly remembered?: Uint8Array | undefined;
  /** Makes the bytes durable in place of the ones before. */
  readonly persist?: ((bytes: Uint8Array) => Promise<void>) | undefined;
  /** Each ring that this process goes over to; the remembered one first. */
  readonly onRing?: ((ring: Ring, clusterId: string) => void) | undefined;
  /**
   * Others know of a start of this node that its disk does not remember: its disk was restored from an old
   * image, or a copy of it is in use elsewhere. It must trust no birth from before this start. Called once.
   */
  readonly onRestored?: (() => void) | undefined;
  /**
   * Called once: another process has answered, and knows of no start of this node that its disk does not. Never of a node that
   * has left by then: others have forgotten its starts.
   */
  readonly onConfirmed?: (() => void) | undefined;
}

/** Ids of members, this process's own not among them. */
export interface Reached {
  readonly reached: readonly string[];
  readonly notReached: readonly string[];
}

export interface Gossip {
  state(): Membership;
  /** The ring that this process goes by: the newest that is durable (I3). */
  ring(): Ring | undefined;
  /** The answer to another process's call, from `address` as the connection has it. Throws GossipRefused. */
  handle(request: GossipRequest, address?: string): GossipResponse;
  /** Why this process is in no cluster: since its start others have only refused it. Undefined: none has, or one has not. */
  refusal(): string | undefined;
  /** Makes a new ring durable, goes over to it, and lets gossip spread it. For the claimant. */
  issue(ring: Ring, clusterId: string): Promise<void>;
  /** Makes a namespace durable, unless a newer one is known by then, and knows it. */
  issueNamespace(namespace: Namespace): Promise<void>;
  /** A round with the process at this address now; resolves when what it brought is durable, or it failed. */
  askNow(address: string): Promise<void>;
  /** A round with every other storage node at once: what is known here is then known to all that are named as reached. */
  reachAll(): Promise<Reached>;
  /** Resolves when what is known is durable; what a peer still answers is ignored. */
  stop(): Promise<void>;
}

const ROUND_INTERVAL_MS = 1_000;
/** While no ring is known, or nobody has answered yet, things wait for it; five calls a second are nothing then. */
const EAGER_INTERVAL_MS = 200;
/** Less than a round, so that a dead peer costs one. */
const CALL_TIMEOUT_MS = 900;
/** Of reachAll: fewer than the connections that the transport keeps. */
const CALLS_AT_A_TIME = 16;
/**
 * One round in this many goes to a seed, so that halves that do not know of each other meet. So does each one while nobody
 * answers: who was away for long knows only addresses that nobody has any more, but by its configuration.
 */
const SEED_ROUND_ONE_IN = 10;

/** Resolves when the node's incarnation is durable (I1) and the loop runs. Rejects where `persist` does. */
export async function createGossip(options: GossipOptions): Promise<Gossip> {
  const { clock, random, transport, log, persist } = options;
  const quietly = sparingly(log, clock.now);
  const remembered = decodeRemembered(options.remembered);
  const previous = remembered.members.find((member) => member.id === options.self?.id)?.incarnation ?? 0n;
  const self: Member | undefined = options.self && {
    ...options.self,
    incarnation: nextIncarnation(previous, random.u64()),
    status: 'JOINING',
  };
  let state = createMembership(remembered, self, options.settings ?? settingsOf(xxh64));
  let durable: Membership | undefined;
  /** The ring that onRing was called with last. */
  let announced: Ring | undefined;
  let lastWrite = Promise.resolve();
  let isStopped = false;
  /** There is news that should not wait for the next second. */
  let isUrgent = false;
  let isConfirmed = false;
  /** Somebody answered in the last round. */
  let isAnswered = false;
  let refusal: string | undefined;
  let wake = () => {};
  const counters = createCounters(options.metrics, () => state);
  const refusals = createRefusals('gossip', log, options.metrics);

  function change(next: Membership): void {
    const before = state;
    state = next;
    counters.changed(before.counts, next.counts);
    if (next.counts.ringConflicts > before.counts.ringConflicts && next.ring !== undefined) {
      log.error({ ring: formatVersion(next.ring.version) }, 'ALARM: two different rings have one version');
    }
    if (next.ring !== undefined && next.ring !== before.ring) {
      isUrgent = true;
      wake();
      void settleOrCount();
    }
    if (next.namespaces !== before.namespaces) {
      log.info({ namespaces: next.namespaces.size }, 'learnt of a namespace, or of a change of one');
      isUrgent = true;
      wake();
    }
    if (next.self?.isRestored === true && before.self?.isRestored === false) {
      log.error({ id: next.self.id }, 'others know of starts of this node that its disk does not: it was restored');
      options.onRestored?.();
    }
  }

  /** I3. */
  function announce({ ring, clusterId }: Membership): void {
    if (ring === undefined || (announced !== undefined && compareVersions(ring.version, announced.version) <= 0))
      return;
    announced = ring;
    log.info({ ring: formatVersion(ring.version), clusterId }, 'went over to a ring');
    options.onRing?.(ring, clusterId);
  }

  /** Waits for the write before, makes `what()` durable, and then does `after`, before the next write begins. */
  function write(what: () => Membership, after: () => void = () => {}): Promise<void> {
    const written = lastWrite.then(async () => {
      const next = what();
      await persist?.(encodeRemembered(next));
      durable = next;
      after();
      announce(next);
    });
    lastWrite = written.catch(() => {});
    return written;
  }

  /** After this, what is known now is durable. */
  async function settle(): Promise<void> {
    if (durable === undefined || !isSameMemory(durable, state)) await write(() => state);
  }

  /** One call and what follows from its answer: the push to make next, if any. */
  async function call(address: string, request: GossipRequest): Promise<GossipRequest | undefined> {
    let response: GossipResponse;
    try {
      response = await transport.exchange(address, request, CALL_TIMEOUT_MS);
    } catch (error) {
      if (error instanceof GossipRefused) refuse(address, error, 'the other one');
      throw new PeerFailed(error instanceof Error ? error.message : String(error));
    }
    if (isStopped) return undefined;
    try {
      const [next, push] = take(state, response, clock.now());
      change(next);
      refusals.accepted(address);
      return push;
    } catch (error) {
      if (error instanceof GossipRefused) refuse(address, error, 'this process');
      throw error;
    }
  }

  function refuse(other: string, { code, message }: GossipRefused, by: RefusedBy): void {
    if (code !== 'FAILED_PRECONDITION') return;
    refusals.refused(other, message, by);
    refusal = `${other}: ${message}`;
  }

  /** Whether it went well. */
  async function exchangeWith(address: string): Promise<boolean> {
    try {
      const push = await call(address, ask(state));
      if (push !== undefined) await call(address, push);
      counters.rounds.add(1);
      isAnswered = true;
      confirm();
      return true;
    } catch (error) {
      if (!(error instanceof PeerFailed || error instanceof GossipRefused)) throw error;
      counters.failures.add(1);
      quietly.warn({ address, reason: error.message }, 'gossip failed');
      return false;
    }
  }

  function confirm(): void {
    if (isConfirmed || isStopped) return;
    isConfirmed = true;
    if (state.self?.isRestored !== true && ownEntry(state)?.status !== 'LEFT') options.onConfirmed?.();
  }

  async function round(): Promise<void> {
    const seedRoundOneIn = isAnswered ? SEED_ROUND_ONE_IN : 1;
    isAnswered = false;
    for (const address of choosePeers(state, options.seeds, seedRoundOneIn, random)) await exchangeWith(address);
    if (!isStopped) await settleOrCount();
  }

  async function settleOrCount(): Promise<void> {
    try {
      await settle();
    } catch (error) {
      counters.persistFailures.add(1);
      quietly.warn({ err: error }, 'what gossip brought could not be made durable');
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.after(ms, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async function loop(): Promise<void> {
    while (!isStopped) {
      isUrgent = false;
      await round();
      if (isStopped || isUrgent) continue;
      await pause(state.ring === undefined || !isConfirmed ? EAGER_INTERVAL_MS : ROUND_INTERVAL_MS);
    }
  }

  await settle();
  void loop();

  return {
    state: () => state,
    ring: () => announced,
    handle(request, address = '') {
      const other = request.senderId || address;
      try {
        const [next, response] = respond(state, request, clock.now());
        change(next);
        refusals.accepted(other);
        return response;
      } catch (error) {
        if (error instanceof GossipRefused && error.code === 'FAILED_PRECONDITION') {
          refusals.refused(other, error.message, 'this process', { address });
        }
        throw error;
      }
    },
    refusal: () => (isConfirmed ? undefined : refusal),
    async issue(ring, clusterId) {
      const issued = () => adoptRing(adoptClusterId(state, clusterId), ring);
      await write(issued, () => change(issued()));
    },
    issueNamespace(namespace) {
      return write(
        () => learnNamespaces(state, [namespace]),
        () => change(learnNamespaces(state, [namespace])),
      );
    },
    async askNow(address) {
      if (await exchangeWith(address)) await settleOrCount();
    },
    async reachAll() {
      const reached: string[] = [];
      const notReached: string[] = [];
      const others = othersOf(state);
      for (let i = 0; i < others.length; i += CALLS_AT_A_TIME) {
        await Promise.all(
          others.slice(i, i + CALLS_AT_A_TIME).map(async ({ id, address }) => {
            ((await exchangeWith(address)) ? reached : notReached).push(id);
          }),
        );
      }
      return { reached: reached.sort(), notReached: notReached.sort() };
    },
    async stop() {
      isStopped = true;
      wake();
      await settleOrCount();
    },
  };
}

class PeerFailed extends Error {}

function othersOf(state: Membership): Member[] {
  const own = ownEntry(state);
  return [...state.members.values()].filter(
    ({ id, status }) => id !== own?.id && status !== 'LEFT' && status !== 'DOWN',
  );
}

/** Usually one; also a seed in one of `seedRoundOneIn` rounds. */
function choosePeers(state: Membership, seeds: readonly string[], seedRoundOneIn: number, random: Random): string[] {
  const own = ownEntry(state);
  const others = othersOf(state);
  const strangers = seeds.filter((seed) => seed !== own?.address);
  const peers: string[] = [];
  if (others.length > 0) peers.push((others[random.below(others.length)] as Member).address);
  if (strangers.length > 0 && (others.length === 0 || random.below(seedRoundOneIn) === 0)) {
    peers.push(strangers[random.below(strangers.length)] as string);
  }
  return [...new Set(peers)];
}

/** Whether what is to be remembered of both is the same. */
function isSameMemory(a: Membership, b: Membership): boolean {
  return a.clusterId === b.clusterId && a.members === b.members && a.ring === b.ring && a.namespaces === b.namespaces;
}

function createCounters(metrics: Metrics, state: () => Membership) {
  const by: Record<keyof MembershipCounts, string> = {
    ringsOlder: 'Rings of a lower version that were offered and ignored.',
    ringConflicts: 'Alarm: rings of the version known, with other content.',
    refutations: 'Times this node refuted what was said of it.',
    membersRefused: 'Members not taken in because the table is full.',
    namespacesRefused: 'Namespaces not taken in because there are too many.',
  };
  const names: Record<keyof MembershipCounts, string> = {
    ringsOlder: 'cartwheel_gossip_rings_older_total',
    ringConflicts: 'cartwheel_gossip_ring_conflicts_total',
    refutations: 'cartwheel_gossip_refutations_total',
    membersRefused: 'cartwheel_gossip_members_refused_total',
    namespacesRefused: 'cartwheel_gossip_namespaces_refused_total',
  };
  const kinds = Object.keys(by) as (keyof MembershipCounts)[];
  const counters = kinds.map((kind) => [kind, metrics.counter(names[kind], by[kind])] as const);
  metrics.gauge(
    'cartwheel_gossip_members',
    'Storage nodes known, but for those that have left.',
    () => state().members.size,
  );
  metrics.gauge('cartwheel_namespaces', 'Namespaces known, besides the built-in one.', () => state().namespaces.size);
  metrics.gauge('cartwheel_ring_term', 'Term of the ring; 0: none.', () => Number(state().ring?.version.term ?? 0n));
  metrics.gauge('cartwheel_ring_sequence', 'Sequence of the ring; 0: none.', () =>
    Number(state().ring?.version.sequence ?? 0n),
  );
  metrics.gauge('cartwheel_ring_nodes', 'Storage nodes in the ring.', () => {
    return state().ring?.nodes.filter(({ status }) => status !== 'LEFT').length ?? 0;
  });
  return {
    rounds: metrics.counter('cartwheel_gossip_rounds_total', 'Rounds with a peer that went well.'),
    failures: metrics.counter('cartwheel_gossip_failures_total', 'Rounds with a peer that failed.'),
    persistFailures: metrics.counter('cartwheel_gossip_persist_failures_total', 'Failed writes of members and ring.'),
    changed(before: MembershipCounts, after: MembershipCounts): void {
      for (const [kind, counter] of counters) {
        if (after[kind] > before[kind]) counter.add(after[kind] - before[kind]);
      }
    },
  };
}
