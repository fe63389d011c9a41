/**
 * Collection: what nobody needs any more goes, once it is stable. Tombstones, records of which all has expired, and the
 * entries that clocks do not need (core/stability/settled.ts).
 *
 *   look through the records this node is a home of → of those found the last time too: what do all homes cover?
 *   → a barrier (core/stability/barrier.ts) → every home lets go what is stable
 *
 * Every home does so for every record it keeps: where one was stopped half-way another one goes on.
 *
 * I1 What is let go was covered at all homes, on their disks, before the barrier began, and its partition is stable.
 * I2 Nothing goes while a node is away, the ring changes, or something of the partition is kept for somebody else. What
 *    stays is in nobody's way.
 * I3 Between two looks `everyMs` passes: no promise rests on that, but readers that go on with a context from before are
 *    served from one replica until then.
 */
import type { CoveredDots, ExchangeRequest, ExchangeResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { groupsOf } from '../core/groups.ts';
import type { Metrics } from '../core/ports.ts';
import { partitionOfStorageKey, rangeOfPartition } from '../core/ring/partition.ts';
import { isHome, nodeById, partsOfEpoch, type Ring, type RingNode } from '../core/ring/ring.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import { type Armed, createBarrier, objection } from '../core/stability/barrier.ts';
import { eraOf } from '../core/stability/era.ts';
import { coveredByAll, covers, spare } from '../core/stability/settled.ts';
import { type CausalContext, includes } from '../core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord } from '../core/versioning/record.ts';
import { type BackgroundTask, writeDeadline } from './background.ts';
import { fetchRecords, requestOf } from './exchange.ts';
import { homesOf, replicaOn, type StorageNode, wallMs } from './node.ts';
import { createRounds } from './rounds.ts';

/** Of one question. */
const keysMax = 256;
/** With one barrier. */
const recordsAtOnce = 4_096;
/** Of one look, 100 bytes each in memory; the rest is found the next time. */
const foundMax = 200_000;

export interface Collection {
  /** Begins, and goes on until `pause` or `stop`. */
  start(): void;
  /** One look, now, and a barrier where there is something; resolves with how many records were let go, or parts of them. */
  collectAll(): Promise<number>;
  status(): CollectionStatus;
  pause(): void;
  stop(): void;
}

export interface CollectionStatus {
  /** Records of which something could go, as this node saw when it looked last, and has not. */
  readonly waiting: number;
  /** Since the first of them was found; undefined: there are none. */
  readonly oldestMs: number | undefined;
  /** Since the last look ended; undefined: there was none yet. */
  readonly lookedMs: number | undefined;
  /** For people: what stood against it when it was tried last; empty: nothing did. */
  readonly waitsFor: string;
}

/** Of one key: dots that could go. */
interface Spare {
  readonly key: Uint8Array;
  readonly dots: CausalContext;
}

/** What other homes have of some keys, by node; undefined: it has not answered. */
type Theirs = ReadonlyMap<string, ReadonlyMap<string, KeyRecord> | undefined>;

/** Keys of one partition. */
interface Asked {
  readonly keys: readonly Spare[];
  readonly theirs: Theirs;
}

export function createCollection(node: StorageNode, metrics: Metrics, everyMs: number): Collection {
  const { clock, random, background, peers, barriers } = node;
  /** By name of the key: of what could go, as far as this node sees, when it was found first. */
  let waiting = new Map<string, number>();
  let oldest: number | undefined;
  let lookedAt: number | undefined;
  /** What stood against it, in the order it was met, when it was tried last. */
  let obstacles: string[] = [];
  const measures = collectionMetrics(metrics, status);
  const rounds = createRounds({
    clock,
    delayMs: () => (everyMs > 0 ? everyMs / 2 + random.below(everyMs) : undefined),
    round: () => collectAll(),
  });

  async function collectAll(): Promise<number> {
    const ring = node.ring();
    if (ring === undefined || nodeById(ring, node.id) === undefined) return 0;
    const task = background.begin('collection', 'of what is stable');
    try {
      const found = await look(ring, task);
      const old = [...found].flatMap(([name, one]) => (waiting.has(name) ? [one] : []));
      const now = clock.now();
      waiting = new Map([...found.keys()].map((name) => [name, waiting.get(name) ?? now]));
      lookedAt = now;
      obstacles = [];
      let gone = 0;
      for (const some of groupsOf(old, recordsAtOnce)) {
        if (rounds.stopped) break;
        gone += await collect(ring, some, task);
      }
      return gone;
    } catch (error) {
      if (!rounds.stopped) node.metrics.replicaFailed(node.id, 'collection', error);
      return 0;
    } finally {
      oldest = [...waiting.values()].reduce<number | undefined>((a, b) => Math.min(a ?? b, b), undefined);
      task.end();
    }
  }

  function status(): CollectionStatus {
    const since = (at: number | undefined) => (at === undefined ? undefined : clock.now() - at);
    const { size } = waiting;
    return { waiting: size, oldestMs: since(oldest), lookedMs: since(lookedAt), waitsFor: obstacles[0] ?? '' };
  }

  /** Records of which something could go. */
  async function look(ring: Ring, { admit }: BackgroundTask): Promise<ReadonlyMap<string, Spare>> {
    const found = new Map<string, Spare>();
    const self = nodeById(ring, node.id)?.index ?? -1;
    await node.store.flush();
    for (let partition = 0; partition < ring.partitions; partition++) {
      if (!isHome(ring, partition, self)) continue;
      const { start, end } = rangeOfPartition(partition, ring.partitions);
      for (let from: Uint8Array | undefined = start; from !== undefined && found.size < foundMax; ) {
        const page = await node.store.scan(from, end);
        await admit(
          page.entries.length,
          page.entries.reduce((sum, [, stored]) => sum + stored.length, 0),
        );
        for (const [key, stored] of page.entries) {
          const opened = node.store.open(key, stored);
          if (opened === undefined || opened.owed.length > 0) continue;
          const dots = spare(opened.record, wallMs(clock));
          if (dots.length > 0) found.set(storageKeyText(key), { key, dots });
        }
        from = page.next;
      }
    }
    return found;
  }

  async function collect(ring: Ring, old: readonly Spare[], task: BackgroundTask): Promise<number> {
    const away = ring.nodes.filter(({ id, status }) => status !== 'LEFT' && id !== node.id && !peers.reachable(id));
    const obstacle = objection(ring) ?? (away.length > 0 ? `${addresses(away)}, which is away` : undefined);
    if (obstacle !== undefined) {
      obstacles.push(obstacle);
      measures.barrier.refused.add(1);
      return 0;
    }
    const asked: Asked[] = [];
    const agreed: Spare[] = [];
    for (const keys of questions(ring, old)) {
      const theirs = await recordsOfOthers(ring, keys, task);
      asked.push({ keys, theirs });
      agreed.push(...(await agreedAmong(ring, keys, theirs, task)));
    }
    const gone = await letGoOf(ring, agreed, task);
    // Only what stays as it is: a home with a full clock (record.ts, replicaEntriesMax) forgets for what it is told something
    // that the others have, and they would never have the same.
    for (const { keys, theirs } of asked) {
      const left = keys.filter(({ key }) => waiting.has(storageKeyText(key)));
      await Promise.all([...theirs].map(([id, kept]) => tell(id, left, kept, task)));
    }
    return gone;
  }

  async function letGoOf(ring: Ring, agreed: readonly Spare[], task: BackgroundTask): Promise<number> {
    if (agreed.length === 0) return 0;
    const stable = await cross(ring, new Set(agreed.map(({ key }) => partitionOfStorageKey(key, ring.partitions))));
    const going = agreed.filter(({ key }) => stable.has(partitionOfStorageKey(key, ring.partitions)));
    return letAllGo(ring, going, task);
  }

  /** What all homes say that they cover. */
  async function agreedAmong(
    ring: Ring,
    old: readonly Spare[],
    theirs: Theirs,
    task: BackgroundTask,
  ): Promise<readonly Spare[]> {
    const nodes = homesOf(ring, partitionOf(ring, old));
    const lacking = nodes.filter(({ id }) => id !== node.id && !coversAll(theirs.get(id), old));
    if (lacking.length > 0) obstacles.push(`${addresses(lacking)} to cover the same`);
    const common = old.map(({ key, dots }): Spare => {
      const records = [...theirs.values()].flatMap((kept) =>
        kept === undefined ? [] : (kept.get(storageKeyText(key)) ?? emptyRecord),
      );
      return { key, dots: coveredByAll(dots, records, wallMs(clock)) };
    });
    const covered = common.filter(({ dots }) => dots.length > 0);
    if (covered.length === 0) return covered;
    const agreements = await Promise.all(
      nodes.map(async ({ id }) => {
        await task.admit(covered.length, 0);
        return new Set((await ask(id, { agree: messageOf(covered) }))?.agreed ?? []);
      }),
    );
    return covered.filter((_, i) => agreements.every((agreed) => agreed.has(i)));
  }

  function coversAll(kept: ReadonlyMap<string, KeyRecord> | undefined, keys: readonly Spare[]): boolean {
    if (kept === undefined) return false;
    return keys.every(({ key, dots }) => covers(kept.get(storageKeyText(key)) ?? emptyRecord, dots, wallMs(clock)));
  }

  async function recordsOfOthers(ring: Ring, keys: readonly Spare[], task: BackgroundTask): Promise<Theirs> {
    const others = homesOf(ring, partitionOf(ring, keys)).filter(({ id }) => id !== node.id);
    return new Map(await Promise.all(others.map(async ({ id }) => [id, await recordsAt(id, keys, task)] as const)));
  }

  async function recordsAt(
    id: string,
    keys: readonly Spare[],
    { admit }: BackgroundTask,
  ): Promise<ReadonlyMap<string, KeyRecord> | undefined> {
    const records = new Map<string, KeyRecord>();
    try {
      await admit(keys.length, 0);
      for await (const fetched of fetchRecords(
        peers.replica(id),
        keys.map(({ key }) => key),
      )) {
        for (const { key, record } of fetched) records.set(storageKeyText(key), node.records.decode(record));
      }
    } catch (error) {
      return node.metrics.replicaFailed(id, 'collection', error);
    }
    return records;
  }

  /** Where another home lacks some of what could go here, it is told that, for the next time. */
  async function tell(
    id: string,
    keys: readonly Spare[],
    theirs: ReadonlyMap<string, KeyRecord> | undefined,
    { admit }: BackgroundTask,
  ): Promise<void> {
    if (theirs === undefined) return;
    const { era } = barriers;
    try {
      for (const { key, dots } of keys) {
        const known = theirs.get(storageKeyText(key)) ?? emptyRecord;
        const record = includes(known.clock, dots) ? undefined : await node.store.read(key);
        if (record === undefined) continue;
        await admit(1, record.length);
        const deadline = writeDeadline(node);
        await peers.replica(id).write({ key, record, era, sync: true, hintedFor: '', deadline });
      }
    } catch (error) {
      node.metrics.replicaFailed(id, 'collection', error);
    }
  }

  async function cross(ring: Ring, partitions: ReadonlySet<number>): Promise<ReadonlySet<number>> {
    const barrier = createBarrier(ring, node.id, partitions);
    const name = random.u64();
    await askAll(
      barrier.nodes,
      { arm: { barrier: name, ...partsOfEpoch(barrier.epoch), partitions: [...partitions] } },
      barrier.armed,
    );
    const era = barrier.begin();
    if (era !== undefined) {
      const crossing = { cross: { barrier: name, era: BigInt(era) } };
      await askAll([node.id], crossing, barrier.crossed); // first, see era.ts, I1
      await askAll(
        barrier.nodes.filter((id) => id !== node.id),
        crossing,
        barrier.crossed,
      );
    }
    const stable = barrier.stable();
    measures.barrier[stable.size > 0 ? 'crossed' : 'refused'].add(1);
    const holders = new Set(barrier.heldBy());
    if (holders.size > 0) {
      const names = addresses(ring.nodes.filter(({ id }) => holders.has(id)));
      obstacles.push(`${names} to go over a barrier: it does not answer, or keeps records for others`);
    }
    return stable;
  }

  function messageOf(keys: readonly Spare[]): CoveredDots {
    const encoded = ({ key, dots }: Spare) => ({
      key: key as Buffer,
      clock: Buffer.from(node.records.encode({ clock: dots, siblings: [] })),
    });
    return { keys: keys.map(encoded) };
  }

  async function askAll(
    ids: readonly string[],
    question: Partial<ExchangeRequest>,
    answered: (id: string, answer: Armed) => void,
  ): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        const answer = await ask(id, question);
        const era = answer && eraOf(answer.era);
        if (era !== undefined) answered(id, { era, partitions: answer?.partitions ?? [] });
      }),
    );
  }

  async function letAllGo(ring: Ring, going: readonly Spare[], { admit }: BackgroundTask): Promise<number> {
    let gone = 0;
    for (const records of questions(ring, going)) {
      await Promise.all(
        homesOf(ring, partitionOf(ring, records)).map(async ({ id }) => {
          await admit(records.length, 0);
          const answer = await ask(id, { collect: messageOf(records) });
          if (id !== node.id) return;
          const here = (answer?.agreed ?? []).flatMap((i) => records[i] ?? []);
          for (const { key } of here) waiting.delete(storageKeyText(key));
          gone += here.length;
        }),
      );
    }
    return gone;
  }

  /** Undefined: it has not answered. */
  async function ask(id: string, question: Partial<ExchangeRequest>): Promise<ExchangeResponse | undefined> {
    try {
      return await replicaOn(node, id).exchange(requestOf(question));
    } catch (error) {
      node.metrics.replicaFailed(id, 'collection', error);
      return undefined;
    }
  }

  return {
    start: () => rounds.start(),
    collectAll,
    status,
    pause: () => rounds.pause(),
    stop: () => rounds.stop(),
  };
}

function addresses(nodes: readonly RingNode[]): string {
  return nodes.map(({ address }) => address).join(', ');
}

/** Lists of one partition each, of at most `keysMax`. */
function* questions(ring: Ring, records: readonly Spare[]): Generator<readonly Spare[], void, void> {
  for (const ofPartition of Map.groupBy(records, ({ key }) => partitionOfStorageKey(key, ring.partitions)).values())
    yield* groupsOf(ofPartition, keysMax);
}

function partitionOf(ring: Ring, [first]: readonly Spare[]): number {
  return partitionOfStorageKey((first as Spare).key, ring.partitions);
}

function collectionMetrics(metrics: Metrics, status: () => CollectionStatus) {
  const barrier = (result: string) =>
    metrics.counter('cartwheel_barriers_total', 'Barriers that this node has begun, or could not begin', { result });
  metrics.gauge('cartwheel_collectable_records', 'Records of which something may go once it is stable', () => {
    return status().waiting;
  });
  metrics.gauge(
    'cartwheel_collectable_age_seconds',
    'Since the first of those records was found; 0: there is none',
    () => {
      return (status().oldestMs ?? 0) / 1_000;
    },
  );
  metrics.gauge(
    'cartwheel_collection_held',
    '1 where something stood against a collection when it was tried last',
    () => {
      return status().waitsFor === '' ? 0 : 1;
    },
  );
  return { barrier: { crossed: barrier('crossed'), refused: barrier('refused') } };
}
