/**
 * One exchange: this node compares its replica of a partition with that of another home, and both get what they lack.
 *
 *   compare digests, from the partition down to leaves → list the keys of leaves that differ
 *   → fetch the records that differ → merge them here, synced → send what came of it, where the other lacks some of it
 *
 * Pulled by whoever compares, so that it is as fast as that node can bear; what is sent goes the way of every replica
 * write. Equal partitions cost one call. Interrupted anywhere, the next one finds what is left.
 *
 * I1 Records are merged, never overwritten, on both sides.
 * I2 Of a key that differs the other one's record is fetched, even where it lists none: it may have a tombstone, which
 *    is not listed, and which alone says that what is here is gone.
 * I3 A record that cannot be read or written keeps no other from being mended; the exchange then fails at its end, and
 *    is tried again. After `failuresMax` of them it ends at once.
 * I4 What the other one says is checked before it is used: only keys that clients can name, of leaves that were asked
 *    for, are taken.
 */
import type { ExchangeRequest, ExchangeResponse, KeyDigest } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../core/failure.ts';
import { groupsOf } from '../core/groups.ts';
import { leafOf, rangeOfLeaf } from '../core/merkle/digest-tree.ts';
import { createWalk, differing, isAscending, nodesMax } from '../core/merkle/walk.ts';
import type { Replica } from '../core/quorum/peers.ts';
import { epochOfParts, PARTITIONS_MAX } from '../core/ring/ring.ts';
import { isStorageKey, STORAGE_KEY_BYTES } from '../core/ring/storage-key.ts';
import type { Armed } from '../core/stability/barrier.ts';
import { eraOf } from '../core/stability/era.ts';
import { type Admission, turnToAnswer, writeDeadline } from './background.ts';
import { listLosses as listLossesOf, listRequests as listRequestsOf } from './beside-records.ts';
import { costOfLearning, costOfTelling, learnRequests } from './learn-requests.ts';
import { agreeOn, letGo } from './let-go.ts';
import type { StorageNode } from './node.ts';
import { checkRecords, listRecords } from './record-lists.ts';
import { CorruptRecord } from './record-store.ts';
import { pageRequests } from './request-table.ts';

const keysMax = 256;
/** Leaves that are listed at once: at ten records each about a thousand keys. */
const leavesAtOnce = 64;
/** Merged in one go, which takes a few milliseconds. */
const keysAtOnce = 32;
const listedKeysMax = 4_096;
const fetchedBytesMax = 1024 * 1024;
/** Records of one fetch that are in memory before it is known whether they fit. */
const readAtOnce = 16;
/** So many are single bad records; more are a bad disk. */
const failuresMax = 16;
/** A namespace, a byte 0, a time, a dot and a key (core/codec/loser.ts). */
const loserKeyBytesMax = STORAGE_KEY_BYTES.max + 16;
/** To list a record, or to compare it with what was listed, is so much of what it takes to move one. */
export const listedCost = 1 / 4;
/** Whole operations, as the governor counts them (background.ts). */
export const costOfListing = (records: number): number => Math.ceil(records * listedCost);
const absent = 0n;

export interface Exchanged {
  /** False: the other one's digests are not complete, and nothing was compared. */
  readonly compared: boolean;
  /** Keys whose digests were read, on both sides. */
  readonly keysListed: number;
  /** Records that came, and that went. */
  readonly pulled: number;
  readonly pushed: number;
}

export interface ExchangeOptions extends Admission {
  /** Called once, when the first difference is found. */
  onDifference?(): void;
}

/** Throws what a call to the other replica, or the own store, throws. */
export async function exchange(
  node: StorageNode,
  peerId: string,
  partition: number,
  partitions: number,
  { admit, reached, onDifference }: ExchangeOptions,
): Promise<Exchanged> {
  const { tree } = node.digests;
  const peer = node.peers.replica(peerId);
  const walk = createWalk(tree, Math.log2(partitions), partition);
  const done = { compared: true, keysListed: 0, pulled: 0, pushed: 0 };
  const failures: unknown[] = [];
  for (let question = walk.next(); question !== undefined; question = walk.next()) {
    await admit(1, 0);
    const { level, nodes } = question;
    const answer = await peer.exchange(requestOf({ compare: { level, nodes: [...nodes] } }));
    if (answer.building) return { ...done, compared: false };
    if (answer.differences.length > 0) onDifference?.();
    const leaves = walk.take(answer.differences);
    for (const some of groupsOf(leaves, leavesAtOnce)) {
      await mendLeaves(some);
      // They come out in order (core/merkle/walk.ts).
      reached((((some.at(-1) as number) + 1) / 2 ** tree.depth) * partitions - partition);
    }
  }
  if (failures.length > 0) throw failures[0];
  return done;

  /** I3. */
  async function attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      failures.push(error);
      if (failures.length > failuresMax) throw error;
    }
  }

  async function mendLeaves(leaves: readonly number[]): Promise<void> {
    for (let left = leaves; left.length > 0; ) {
      await admit(left.length, 0);
      const { leavesListed, entries } = await peer.exchange(requestOf({ list: { leaves: [...left] } }));
      if (leavesListed < 1 || leavesListed > left.length)
        throw new Failure('INTERNAL', `node ${peerId} listed ${leavesListed} of ${left.length} leaves`);
      const listed = left.slice(0, leavesListed);
      checkListed(listed, entries);
      const ours = (await listLeaves(node, listed, Number.POSITIVE_INFINITY)).entries;
      done.keysListed += entries.length + ours.length;
      const unequal = compare(ours, entries);
      for (const some of groupsOf(unequal, keysAtOnce)) await mend(some);
      left = left.slice(leavesListed);
    }
  }

  async function mend(keys: readonly Unequal[]): Promise<void> {
    const written = { era: node.barriers.era, sync: true, hintedFor: '' };
    for await (const records of fetchRecords(
      peer,
      keys.map(({ key }) => key),
    )) {
      await admit(
        records.length,
        records.reduce((sum, { record }) => sum + record.length, 0),
      );
      const take = (one: Fetched) => node.replica.write({ ...written, ...one, deadline: writeDeadline(node) });
      const mended = (one: Fetched) => take(one).then(() => void done.pulled++);
      await Promise.all(records.map((one) => attempt(() => mended(one))));
    }
    await Promise.all(
      keys.map(({ key, theirs }) =>
        attempt(async () => {
          const record = await node.store.read(key);
          if (record === undefined || node.digests.of(key, node.records.decode(record)) === theirs) return;
          await admit(1, record.length);
          await peer.write({ ...written, key, record, deadline: writeDeadline(node) });
          done.pushed++;
        }),
      ),
    );
  }

  /** I4; and in storage order, each once, as `compare` takes them. */
  function checkListed(leaves: readonly number[], entries: readonly KeyDigest[]): void {
    const asked = new Set(leaves);
    entries.forEach(({ key }, i) => {
      const before = entries[i - 1]?.key;
      if (
        isStorageKey(key, node.validation.hash) &&
        asked.has(leafOf(key, tree.depth)) &&
        (before === undefined || Buffer.compare(before, key) < 0)
      )
        return;
      throw new Failure(
        'INTERNAL',
        `node ${peerId} listed ${key.length} bytes that are no key of the leaves asked for`,
      );
    });
  }
}

/** Answers one step. Throws Failure OPERATION_INVALID for what makes no sense. */
export async function answerExchange(
  node: Omit<StorageNode, 'replica' | 'peers'>,
  asked: ExchangeRequest,
): Promise<ExchangeResponse> {
  const {
    compare: comparison,
    list,
    fetch,
    listRecords: listing,
    checkRecords: check,
    listRequests,
    listLosses,
    learnRequests: told,
    agree,
    arm,
    cross,
    collect,
  } = asked;
  const { min, max } = STORAGE_KEY_BYTES;
  const areKeys = (keys: readonly Uint8Array[]) =>
    keys.length <= keysMax && keys.every((key) => key.length >= min && key.length <= max);
  if (listing !== undefined) {
    if (!isPartition(listing) || listing.from.length > max) throw invalid('list_records');
    const page = await listRecords(node, listing);
    await turnToAnswer(node, costOfListing(page.kept.length), 0);
    return { ...nothing, ...page };
  }
  if (listRequests !== undefined) {
    if (!isPartition(listRequests) || listRequests.from.length > max) throw invalid('list_requests');
    const page = await listRequestsOf(node, listRequests);
    await turnToAnswer(node, costOfTelling(page.requests.length), 0);
    return { ...nothing, ...page };
  }
  if (listLosses !== undefined) {
    const { of, partitions, from } = listLosses;
    if (!of.every((partition) => isPartition({ partition, partitions })) || from.length > loserKeyBytesMax)
      throw invalid('list_losses');
    return { ...nothing, ...(await listLossesOf(node, listLosses)) };
  }
  if (told !== undefined) {
    const areRequests = told.requests.every(({ id }) => id.length <= node.validation.limits.requestIdBytesMax);
    if (told.requests.length > pageRequests || !areRequests) throw invalid('learn_requests');
    await turnToAnswer(node, costOfTelling(told.requests.length), 0);
    const admit = (news: number) => turnToAnswer(node, costOfLearning(news), 0);
    return { ...nothing, agreed: await learnRequests(node, told.requests, admit) };
  }
  if (check !== undefined) {
    if (!areKeys(check.keys)) throw invalid('check_records');
    await turnToAnswer(node, costOfListing(check.keys.length), 0);
    return { ...nothing, kept: await checkRecords(node, check) };
  }
  if (agree !== undefined) {
    if (!areKeys(agree.keys.map(({ key }) => key))) throw invalid('agree');
    return { ...nothing, agreed: await agreeOn(node, agree) };
  }
  if (collect !== undefined) {
    if (!areKeys(collect.keys.map(({ key }) => key))) throw invalid('collect');
    return { ...nothing, agreed: await letGo(node, collect) };
  }
  if (arm !== undefined) {
    if (arm.partitions.length > PARTITIONS_MAX) throw invalid('arm');
    const epoch = epochOfParts(arm.ringTerm, arm.ringSequence) ?? 0;
    return armedAnswer(await node.barriers.arm(arm.barrier, epoch, arm.partitions));
  }
  if (cross !== undefined) {
    const era = eraOf(cross.era);
    if (era === undefined) throw invalid('cross');
    return armedAnswer(await node.barriers.cross(cross.barrier, era));
  }
  if (fetch !== undefined) {
    if (!areKeys(fetch.keys)) throw invalid('fetch');
    const records = await recordsOf(node.store, fetch.keys);
    await turnToAnswer(
      node,
      records.length,
      records.reduce((sum, { length }) => sum + length, 0),
    );
    return { ...nothing, records };
  }
  if (!node.digests.ready) return { ...nothing, building: true };
  if (comparison !== undefined) {
    const { tree } = node.digests;
    const { level, nodes } = comparison;
    const unknown = level > tree.depth || nodes.some(({ index }) => index >= 2 ** level);
    const ordered = isAscending(nodes.map(({ index }) => index));
    if (unknown || nodes.length > nodesMax || !ordered) throw invalid('compare');
    const differences = differing(tree, comparison);
    return { ...nothing, differences: differences.map(({ index, below }) => ({ index, below: [...below] })) };
  }
  if (list !== undefined) {
    const { leaves } = list;
    const unknown = leaves.some((leaf) => leaf >= 2 ** node.digests.tree.depth);
    if (unknown || leaves.length > keysMax || !isAscending(leaves)) throw invalid('list');
    const { entries, listed } = await listLeaves(node, leaves, listedKeysMax);
    await turnToAnswer(node, costOfListing(entries.length), 0);
    return { ...nothing, leavesListed: listed, entries };
  }
  throw invalid('nothing');
}

/** As many of them as fit in one answer, at least one. */
async function recordsOf(store: StorageNode['store'], keys: readonly Uint8Array[]): Promise<Buffer[]> {
  const records: Buffer[] = [];
  let bytes = 0;
  for (const some of groupsOf(keys, readAtOnce)) {
    const read = (key: Uint8Array) => store.read(key).catch(noneIfCorrupt);
    for (const record of await Promise.all(some.map(read))) {
      if (bytes > fetchedBytesMax) return records;
      bytes += record?.length ?? 0;
      records.push((record as Buffer) ?? Buffer.alloc(0));
    }
  }
  return records;
}

/** One that is not whole is counted by the store; said to be none, it keeps no other from being mended (I3). */
function noneIfCorrupt(error: unknown): undefined {
  if (!(error instanceof CorruptRecord)) throw error;
}

const nothing: ExchangeResponse = {
  building: false,
  differences: [],
  leavesListed: 0,
  entries: [],
  records: [],
  behind: false,
  kept: [],
  next: Buffer.alloc(0),
  partitionBytes: 0n,
  requests: [],
  losses: [],
  agreed: [],
  partitions: [],
  era: 0n,
};

function armedAnswer({ era, partitions }: Armed): ExchangeResponse {
  return { ...nothing, era: BigInt(era), partitions: [...partitions] };
}

export function requestOf(part: Partial<ExchangeRequest>): ExchangeRequest {
  const none = { compare: undefined, list: undefined, fetch: undefined };
  const besides = { listRecords: undefined, checkRecords: undefined, listRequests: undefined, listLosses: undefined };
  const giving = { learnRequests: undefined };
  const collecting = { agree: undefined, arm: undefined, cross: undefined, collect: undefined };
  return { ...none, ...besides, ...giving, ...collecting, hello: undefined, ...part };
}

function isPartition({ partition, partitions }: { readonly partition: number; readonly partitions: number }): boolean {
  return partitions > 0 && partition < partitions;
}

function invalid(part: string): Failure {
  return new Failure('OPERATION_INVALID', `the exchange asks for what there is not, or for too much: ${part}`);
}

/** The keys of whole leaves with their digests, in storage order, of as many as fit, at least one. */
async function listLeaves(
  { store, digests }: Pick<StorageNode, 'digests' | 'store'>,
  leaves: readonly number[],
  most: number,
): Promise<{ entries: KeyDigest[]; listed: number }> {
  await store.flush();
  const entries: KeyDigest[] = [];
  let listed = 0;
  for (const leaf of leaves) {
    if (listed > 0 && entries.length >= most) break;
    const { start, end } = rangeOfLeaf(leaf, digests.tree.depth);
    for (let from: Uint8Array | undefined = start; from !== undefined; ) {
      const page = await store.scan(from, end);
      for (const [key, stored] of page.entries) {
        const digest = digests.ofStored(key, stored);
        if (digest !== absent) entries.push({ key: key as Buffer, digest });
      }
      from = page.next;
    }
    listed++;
  }
  return { entries, listed };
}

interface Unequal {
  readonly key: Uint8Array;
  readonly theirs: bigint;
}

/** Keys that are something else there, of two lists in storage order. */
function compare(ours: readonly KeyDigest[], theirs: readonly KeyDigest[]): Unequal[] {
  const unequal: Unequal[] = [];
  let i = 0;
  let j = 0;
  while (i < ours.length || j < theirs.length) {
    const [our, their] = [ours[i], theirs[j]];
    const order = our === undefined ? 1 : their === undefined ? -1 : Buffer.compare(our.key, their.key);
    if (order < 0) unequal.push({ key: (our as KeyDigest).key, theirs: absent });
    else if (order > 0 || our?.digest !== their?.digest)
      unequal.push({ key: (their as KeyDigest).key, theirs: (their as KeyDigest).digest });
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
  return unequal;
}

export interface Fetched {
  readonly key: Uint8Array;
  readonly record: Uint8Array;
}

/** Their records, as many at a time as come in one answer. */
export async function* fetchRecords(peer: Replica, keys: readonly Uint8Array[]): AsyncGenerator<readonly Fetched[]> {
  for (let left = keys.map((key) => Buffer.from(key)); left.length > 0; ) {
    const { records } = await peer.exchange(requestOf({ fetch: { keys: left } }));
    if (records.length === 0 || records.length > left.length)
      throw new Failure('INTERNAL', `${records.length} of ${left.length} records were fetched`);
    yield records.flatMap((record, i) => (record.length === 0 ? [] : [{ key: left[i] as Buffer, record }]));
    left = left.slice(records.length);
  }
}
