/**
 * Takes what others remember into the own table: of an owner whose partition this node takes over (takeover.ts), or of
 * whoever hands records back (hand-back.ts). Most of what a second owner tells, the first one has told: that is found by
 * one look for all, and nothing more is done for it. Keeps I1 of beside-records.ts.
 *
 * What is told are hashes, and records are stored by their keys, which begin with them. So the keys are looked for in the
 * order of the hashes, many in one look where that does not pass over much else (`keysOfHashes`), and what is learned of
 * many is one synced batch.
 */
import type { RememberedRequest } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { hashOfStorageKey } from '../core/ring/storage-key.ts';
import { contains } from '../core/versioning/causal-context.ts';
import type { StorageNode } from './node.ts';
import { pageRecordsMax, type RecordStore } from './record-store.ts';
import { type ListedRequest, prefixOfHash } from './request-table.ts';

/**
 * To tell of requests, or to look whether they are known here, takes what it takes to move so many records of 1 KB, which
 * is about 0.1 ms of the event loop at either end for each (background.ts): a request is 3 µs to list and encode, 2.5 µs to
 * decode and look for, on RocksDB and 2 cores.
 */
export const costOfTelling = (requests: number): number => Math.ceil(requests / 32);
/** The same where none is known: the record of each is looked for, and it is remembered. 19 µs; 50 µs where one record in ten has one. */
export const costOfLearning = (requests: number): number => Math.ceil(requests / 4);
/** To begin a look at the engine costs about what it does to pass over so many records. */
const recordsOfBeginning = 16;
/** Changed in one go, and one synced batch: so many records are in memory. */
const keysAtOnce = 64;
/** Keys with one hash are hardly ever two. */
const pageRecordsMin = 8;
/** After all storage keys with the hash before it: namespaces are ASCII. */
const afterHash = Buffer.of(0xff);

type Learner = Pick<StorageNode, 'requests' | 'store' | 'engine'>;

function decodeRequest({ hash, id, dotActor, dotCounter, settled }: RememberedRequest): ListedRequest {
  return { hash, id, dot: { actor: dotActor, counter: Number(dotCounter) }, isSettled: settled };
}

/**
 * Says which of it is known here now, by its place. `admit` resolves when so many may be learned: they are not known yet.
 */
export async function learnRequests(
  node: Learner,
  told: readonly RememberedRequest[],
  admit: (requests: number) => Promise<void>,
): Promise<number[]> {
  const listed = told.map(decodeRequest);
  const isKnown = await node.requests.areKnown(listed);
  const news = listed.filter((_, i) => !isKnown[i]);
  const learned = new Set<ListedRequest>();
  if (news.length > 0) {
    await admit(news.length);
    await learnSettled(node, news, learned);
    await learnMade(node, news, learned);
  }
  return listed.flatMap((one, i) => (isKnown[i] || learned.has(one) ? [i] : []));
}

/** No record tells of them. Adds them to `learned`. */
async function learnSettled(
  { requests, engine }: Learner,
  news: readonly ListedRequest[],
  learned: Set<ListedRequest>,
): Promise<void> {
  const settled = news.filter(({ isSettled }) => isSettled);
  if (settled.length === 0) return;
  await engine.write(
    settled.map((one) => requests.remember(prefixOfHash(one.hash), one, true)),
    true,
  );
  for (const one of settled) learned.add(one);
}

/** Those whose writes the records here have (I1). Adds them to `learned`. */
async function learnMade(
  { requests, store }: Learner,
  news: readonly ListedRequest[],
  learned: Set<ListedRequest>,
): Promise<void> {
  const byHash = Map.groupBy(
    news.filter(({ isSettled }) => !isSettled),
    ({ hash }) => hash,
  );
  const learn = async (key: Uint8Array) => {
    const ofKey = byHash.get(hashOfStorageKey(key)) as ListedRequest[];
    let made: readonly ListedRequest[] = [];
    const { committed } = await store.change(
      key,
      (own) => {
        made = own.bytes === undefined ? [] : ofKey.filter(({ dot }) => contains(own.record.clock, dot));
        return { also: made.map((one) => () => requests.remember(key, one)) };
      },
      true,
    );
    await committed;
    for (const one of made) learned.add(one);
  };
  let keys: Uint8Array[] = [];
  for await (const page of keysOfHashes(store, [...byHash.keys()].sort(compare))) {
    keys.push(...page);
    for (; keys.length >= keysAtOnce; keys = keys.slice(keysAtOnce))
      await Promise.all(keys.slice(0, keysAtOnce).map(learn));
  }
  await Promise.all(keys.map(learn));
}

/**
 * The storage keys here that begin with one of the hashes, which ascend: page by page, each from the next hash on. After one
 * with many of them comes a longer one, after one with few a shorter one.
 */
export async function* keysOfHashes(
  { scan }: Pick<RecordStore, 'scan'>,
  hashes: readonly bigint[],
): AsyncGenerator<readonly Uint8Array[]> {
  const [first, last] = [hashes[0], hashes.at(-1)];
  if (first === undefined || last === undefined) return;
  const end = Buffer.concat([prefixOfHash(last), afterHash]);
  let limit = Math.min(Math.max(hashes.length, pageRecordsMin), pageRecordsMax);
  let at = 0;
  /** The first of the hashes that is not below; there is one, because no key below `end` is above the last. */
  const goTo = (hash: bigint) => {
    while ((hashes[at] as bigint) < hash) at++;
    return hashes[at] as bigint;
  };
  for (let from: Uint8Array | undefined = prefixOfHash(first); from !== undefined; ) {
    const before = at;
    const { entries, next } = await scan(from, end, limit);
    const keys = entries.flatMap(([key]) => {
      const hash = hashOfStorageKey(key);
      return goTo(hash) === hash ? [key] : [];
    });
    if (keys.length > 0) yield keys;
    if (next === undefined) return;
    const nextHash = hashOfStorageKey(next);
    const wanted = goTo(nextHash);
    from = wanted === nextHash ? next : prefixOfHash(wanted);
    const isDense = (at - before) * recordsOfBeginning > limit;
    limit = isDense ? Math.min(pageRecordsMax, limit * 2) : Math.max(pageRecordsMin, Math.floor(limit / 2));
  }
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
