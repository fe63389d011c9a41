/**
 * Anti-entropy as it goes on in a storage node: one exchange after the other, as the queue says (core/merkle), and what
 * hints had no room for handed over. Pairs are those of the ring: each partition of this node with each other home.
 */

import { createExchangeQueue, type ExchangePair, type PairState } from '../core/merkle/exchange-queue.ts';
import type { Metrics } from '../core/ports.ts';
import { EraMoved } from '../core/quorum/peers.ts';
import { isHome, nameOfNode, nodeById, type Ring, type RingNode, serves } from '../core/ring/ring.ts';
import type { Background, BackgroundTask } from './background.ts';
import { exchange } from './exchange.ts';
import { handOver } from './hand-over.ts';
import type { Handoff } from './handoff.ts';
import type { StorageNode } from './node.ts';
import { exposeLags, type Lag, lagsTold } from './partition-lag.ts';
import { createRounds } from './rounds.ts';

const lookEveryMs = 250;
const refusedMs = 5_000;

export interface RepairStatus {
  /** Pairs of a partition of this node and another home of it. */
  readonly pairs: number;
  /** Of them compared to the end since this process started. */
  readonly compared: number;
  /** How long ago the one was compared that was compared least recently; undefined where some never were. */
  readonly oldestMs: number | undefined;
  readonly differing: number;
  /** Age of the oldest known difference. */
  readonly lagMs: number;
  /** Of `differing`, the oldest first, `lagsTold` at most. */
  readonly lagging: readonly Lag[];
  /** Of this node's digests, 0 to 1. */
  readonly digestsBuilt: number;
}

export interface Exchanges {
  /** Begins, and goes on until `stop`. */
  start(): void;
  /** Compares everything that can be asked now, once; resolves with how many records moved. */
  compareAll(): Promise<number>;
  status(): RepairStatus;
  /** Begins nothing by itself any more, until `start`. */
  pause(): void;
  stop(): void;
}

const fractions = 1 << 16;

export function createExchanges(
  node: StorageNode,
  background: Background,
  metrics: Metrics,
  everyMs: number,
  handoff: Pick<Handoff, 'isRefused'>,
): Exchanges {
  const { clock, peers, hints, random } = node;
  const queue = createExchangeQueue(everyMs, () => random.below(fractions) / fractions);
  const measures = exchangeMetrics(metrics, { status, waitedMs });
  exposeLags(metrics, function* () {
    for (const pair of queue.lagging()) yield { partition: pair.partition, ms: ageOf(pair) };
  });
  const underWay = new Map<PairState, BackgroundTask>();
  let ringOfPairs: Ring | undefined;
  /** The newest mark whose pair has been made due. */
  let lastHurried = 0;
  /** By home: a hand-over to it has failed, and is not tried again before then. */
  const refusedUntil = new Map<string, number>();
  const rounds = createRounds({ clock, delayMs: () => lookEveryMs, round: work });

  function followRing(): void {
    const ring = node.ring();
    if (ring === ringOfPairs || ring === undefined) return;
    ringOfPairs = ring;
    queue.setPairs(pairsOf(ring, node.id), clock.now());
  }

  /**
   * Hints bring what they can; an exchange before them would only send it twice. But one hint that is refused again and
   * again must not keep all other keys from being compared.
   */
  const askable = (peer: string) => {
    return peers.reachable(peer) && (hints.count(peer) === 0 || handoff.isRefused(peer));
  };

  /** What hints had no room for is known to differ; it is compared at once, and once a mark. */
  function hurryMarked(): void {
    for (const { home, partition, partitions, mark } of hints.marks()) {
      if (mark <= lastHurried) continue;
      queue.marked({ partition, partitions, peer: home }, clock.now());
    }
    lastHurried = hints.lastMark();
  }

  async function work(): Promise<void> {
    followRing();
    // Known to differ, and handed over, while the digests are built, too: that may take half an hour.
    hurryMarked();
    if (node.digests.ready) await compareDue();
    if (rounds.goOn) await handOverMarked();
  }

  async function compareDue(): Promise<void> {
    // As many as there are, and no more: where some are due again and again, what is marked is handed over all the same.
    for (let left = queue.size; left > 0 && rounds.goOn; left--) {
      followRing();
      const pair = queue.next(clock.now(), askable);
      if (pair === undefined) return;
      await compare(pair);
    }
  }

  /** How many records moved. */
  async function compare(pair: PairState): Promise<number> {
    const { partition, partitions, peer } = pair;
    const task = background.begin('exchange', `partition ${partition} with ${nameOfNode(node.ring(), peer)}`);
    const marked = hints.markOf(peer, partition, partitions);
    underWay.set(pair, task);
    try {
      const onDifference = () => queue.differs(pair, clock.now());
      const done = await exchange(node, peer, partition, partitions, { ...task, onDifference });
      const moved = done.pulled + done.pushed;
      measures.done(done.compared ? (moved > 0 ? 'mended' : 'equal') : 'unready', done);
      if (!done.compared) {
        queue.failed(pair, 'its digests were not complete', clock.now());
        return 0;
      }
      queue.compared(pair, clock.now());
      if (marked !== undefined) await hints.unmark(peer, partition, marked);
      return moved;
    } catch (error) {
      queue.failed(pair, error instanceof Error ? error.message : String(error), clock.now());
      measures.done('failed');
      node.metrics.replicaFailed(peer, 'exchange', error);
      return 0;
    } finally {
      underWay.delete(pair);
      task.end();
    }
  }

  /** Of partitions that are none of this node's: what it keeps for their homes beyond its hints. */
  async function handOverMarked(): Promise<number> {
    const ring = node.ring();
    const self = ring && nodeById(ring, node.id);
    let moved = 0;
    if (ring === undefined || self === undefined || node.barriers.isLeftBehind) return moved;
    for (const { home, partition, mark } of hints.marks()) {
      // The numbers may be others by now.
      if (node.ring() !== ring) return moved;
      const marked = nodeById(ring, home)?.index ?? -1;
      if (!serves(ring, partition, marked)) {
        // The ring has given it to others: it is handed back to them (transfers.ts).
        if (!isHome(ring, partition, self.index)) node.leftovers.add(partition);
        await hints.unmark(home, partition, mark).catch((error) => node.metrics.replicaFailed(home, 'handoff', error));
        continue;
      }
      const refused = (refusedUntil.get(home) ?? 0) > clock.now();
      if (rounds.stopped || refused || serves(ring, partition, self.index) || !peers.reachable(home)) continue;
      const task = background.begin('hand-over', `partition ${partition} to ${nameOfNode(ring, home)}`);
      try {
        const { given, left } = await handOver(node, ring, partition, home, task);
        measures.handedOver(given);
        moved += given;
        if (left === 0) await hints.unmark(home, partition, mark);
      } catch (error) {
        // In the later era, which this node is in by now, it is tried at once.
        if (error instanceof EraMoved) moved++;
        else refusedUntil.set(home, clock.now() + refusedMs);
        node.metrics.replicaFailed(home, 'handoff', error);
      } finally {
        task.end();
      }
    }
    return moved;
  }

  const ageOf = ({ differsSince }: PairState) => (differsSince === undefined ? 0 : clock.now() - differsSince);

  /** Of the pair that has waited longest to be compared; NaN: there is none. One that never was waits since it is known. */
  function waitedMs(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { comparedAt, since } of queue.pairs) oldest = Math.min(oldest, comparedAt ?? since);
    return queue.size === 0 ? Number.NaN : clock.now() - oldest;
  }

  /** Why a difference is not mended. */
  function waitsFor(pair: PairState): string {
    const { peer, failure } = pair;
    const task = underWay.get(pair);
    if (task !== undefined) return task.waiting;
    const name = nameOfNode(node.ring(), peer);
    const built = Math.floor(node.digests.built * 100);
    if (!node.digests.ready) return `the digests of this node, of which ${built}% are built`;
    if (!peers.reachable(peer)) return `${name}, which cannot be reached`;
    if (!askable(peer)) return `what is owed to ${name} by hints, ${hints.count(peer)} of them, which go first`;
    return failure === undefined ? 'its turn' : `another try: ${failure}`;
  }

  function status(): RepairStatus {
    const now = clock.now();
    const all = [...queue.pairs];
    const compared = all.flatMap(({ comparedAt }) => comparedAt ?? []);
    const lagging = queue.lagging();
    const [oldest] = lagging;
    return {
      pairs: all.length,
      compared: compared.length,
      oldestMs: compared.length < all.length || all.length === 0 ? undefined : now - Math.min(...compared),
      differing: lagging.length,
      lagMs: oldest === undefined ? 0 : ageOf(oldest),
      lagging: lagging.slice(0, lagsTold).map((pair) => {
        return { partition: pair.partition, peer: pair.peer, ms: ageOf(pair), waitsFor: waitsFor(pair) };
      }),
      digestsBuilt: node.digests.built,
    };
  }

  peers.onReachable((peer) => queue.back(peer, clock.now()));

  return {
    start: () => rounds.start(),
    async compareAll() {
      followRing();
      let moved = 0;
      for (const pair of node.digests.ready ? [...queue.pairs] : [])
        if (!rounds.stopped && peers.reachable(pair.peer)) moved += await compare(pair);
      return moved + (await handOverMarked());
    },
    status,
    pause: () => rounds.pause(),
    stop: () => rounds.stop(),
  };
}

/** Each partition that the node owns, with each of its other owners. */
function pairsOf(ring: Ring, id: string): ExchangePair[] {
  const self = nodeById(ring, id)?.index;
  if (self === undefined) return [];
  const pairs: ExchangePair[] = [];
  for (let partition = 0; partition < ring.partitions; partition++) {
    if (!isHome(ring, partition, self)) continue;
    for (let i = 0; i < ring.replicas; i++) {
      const owner = ring.owners[partition * ring.replicas + i] as number;
      if (owner !== self)
        pairs.push({ partition, partitions: ring.partitions, peer: (ring.nodes[owner] as RingNode).id });
    }
  }
  return pairs;
}

type Outcome = 'equal' | 'mended' | 'unready' | 'failed';

interface Watched {
  status(): RepairStatus;
  waitedMs(): number;
}

function exchangeMetrics(metrics: Metrics, { status, waitedMs }: Watched) {
  const ended = (result: Outcome) =>
    metrics.counter('cartwheel_exchanges_total', 'Comparisons of a partition with another home', { result });
  const results = {
    equal: ended('equal'),
    mended: ended('mended'),
    unready: ended('unready'),
    failed: ended('failed'),
  };
  const moved = (direction: 'pulled' | 'pushed') =>
    metrics.counter('cartwheel_exchanged_records_total', 'Records that an exchange has mended', { direction });
  const pulled = moved('pulled');
  const pushed = moved('pushed');
  const listed = metrics.counter('cartwheel_exchange_keys_total', 'Keys whose digests an exchange has read');
  const handedOver = metrics.counter('cartwheel_handed_over_records_total', 'Records given to a home without a hint');
  metrics.gauge('cartwheel_exchange_pairs_differing', 'Partitions known to differ from another home', () => {
    return status().differing;
  });
  metrics.gauge(
    'cartwheel_exchange_age_seconds',
    'How long ago the partition and home were compared that have waited longest, or became known; NaN: there are none',
    () => waitedMs() / 1_000,
  );
  metrics.gauge('cartwheel_convergence_lag_seconds', 'Age of the oldest difference that is known', () => {
    return status().lagMs / 1_000;
  });
  return {
    done(outcome: Outcome, done?: { readonly keysListed: number; readonly pulled: number; readonly pushed: number }) {
      results[outcome].add(1);
      listed.add(done?.keysListed ?? 0);
      pulled.add(done?.pulled ?? 0);
      pushed.add(done?.pushed ?? 0);
    },
    handedOver: (records: number) => handedOver.add(records),
  };
}
