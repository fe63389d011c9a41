/**
 * The keys of a namespace, partition by partition, in the order of their hashes. Any node can list: the
 * homes of a partition each give their keys in that order, and the lists are merged.
 *
 * I1 A key is listed when a quorum read would find a value of it: where all homes asked agree on the
 *    record (by checksum) that is known at once, where they differ the key is read.
 * I2 Every home that answers is asked, at least a majority of them.
 * I3 One page of each home and one of the answer are held at a time.
 */

import type { ListKeysRequest, ListKeysResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { neverCancelled } from '../core/cancellation.ts';
import { Malformed } from '../core/codec/bytes.ts';
import { decodePageToken, encodePageToken } from '../core/codec/page-token.ts';
import { Failure } from '../core/failure.ts';
import {
  type Replica,
  type ReplicaScanMessage,
  RingMoved,
  type ScannedKey,
  type ScannedPage,
} from '../core/quorum/peers.ts';
import { majority } from '../core/quorum/tally.ts';
import { namespaceOf } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { partitionOfStorageKey, rangeOfPartition } from '../core/ring/partition.ts';
import type { Ring } from '../core/ring/ring.ts';
import { parseStorageKey } from '../core/ring/storage-key.ts';
import { merge, visibleSiblings } from '../core/versioning/record.ts';
import { readHomes } from './coordinate-get.ts';
import {
  learnNewerRing,
  notEnoughReplicas,
  type Place,
  placeOf,
  reachableOf,
  replicaOn,
  type StorageNode,
  wallMs,
} from './node.ts';

export const pageKeysDefault = 1_000;
export const pageKeysMax = 10_000;
const pageBytesMax = 1024 * 1024;
const scanLimit = 512;
const readTimeoutMs = 10_000;

export async function* listKeys(node: StorageNode, request: ListKeysRequest): AsyncGenerator<ListKeysResponse> {
  const { name: namespace } = namespaceOf(request.namespace, node.validation);
  const { hash } = node.validation;
  const listing = hash(Buffer.concat([Buffer.from(`${namespace}\0`), request.prefix]));
  const keysMax = Math.min(request.pageSize || pageKeysDefault, pageKeysMax);
  let page: ScannedKey[] = [];
  let bytes = 0;
  for await (const found of liveKeys(node, namespace, request.prefix, startOf(node, request, listing))) {
    page.push(found);
    bytes += found.key.length;
    if (page.length < keysMax && bytes < pageBytesMax) continue;
    yield pageOf(page);
    page = [];
    bytes = 0;
  }
  if (page.length > 0) yield pageOf(page);

  function pageOf(keys: readonly ScannedKey[]): ListKeysResponse {
    const last = (keys.at(-1) as ScannedKey).key;
    return {
      entries: keys.map(({ key }) => ({ key: Buffer.from(parseStorageKey(key).key) })),
      pageToken: Buffer.from(encodePageToken(last, listing, hash)),
    };
  }
}

/** The first storage key to look at. */
function startOf(node: StorageNode, { pageToken }: ListKeysRequest, listing: bigint): Uint8Array {
  if (pageToken.length === 0) return new Uint8Array(8);
  try {
    return Buffer.concat([decodePageToken(pageToken, listing, node.validation.hash), Buffer.alloc(1)]);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Failure('PAGE_TOKEN_INVALID', `page_token is none of this listing: ${error.message}`, {
      field: 'page_token',
    });
  }
}

async function* liveKeys(
  node: StorageNode,
  namespace: string,
  prefix: Uint8Array,
  start: Uint8Array,
): AsyncGenerator<ScannedKey> {
  for (let from: Uint8Array | undefined = start; from !== undefined; ) {
    // By the ring as it is now: it may have another number of partitions, which begin and end elsewhere.
    const ring = currentRing(node);
    const { end } = rangeOfPartition(partitionOfStorageKey(from, ring.partitions), ring.partitions);
    yield* liveKeysOf(node, ring, { start: from, end, namespace, prefix, limit: scanLimit });
    from = end;
  }
}

async function* liveKeysOf(node: StorageNode, ring: Ring, range: ReplicaScanMessage): AsyncGenerator<ScannedKey> {
  const place = placeOf(ring, range.start);
  const needed = majority(ring.replicas);
  let cursors = reachableOf(node, place.homes).map(({ id }) => openCursor(id, replicaOn(node, id), range));
  for (;;) {
    const failed = new Set<Cursor>();
    await Promise.all(
      cursors.map((cursor) =>
        cursor.fill().catch((error: unknown) => {
          node.metrics.replicaFailed(cursor.nodeId, 'read', error);
          failed.add(cursor);
        }),
      ),
    );
    cursors = cursors.filter((cursor) => !failed.has(cursor));
    if (cursors.length < needed) throw notEnoughReplicas(place, needed, cursors.length);
    // Everything up to where the shortest page ends can be merged without asking again.
    while (cursors.every((cursor) => cursor.head !== undefined || cursor.done)) {
      const heads = cursors.filter((cursor) => cursor.head !== undefined);
      if (heads.length === 0) return;
      const least = heads
        .map(({ head }) => head as ScannedKey)
        .reduce((a, b) => (Buffer.compare(b.key, a.key) < 0 ? b : a));
      const holders = heads.filter(({ head }) => Buffer.compare((head as ScannedKey).key, least.key) === 0);
      const agree = holders.length === cursors.length && holders.every(({ head }) => head?.checksum === least.checksum);
      if (agree ? least.siblings > 0 : await isLive(node, place, least.key, needed)) yield least;
      for (const cursor of holders) cursor.advance();
    }
  }
}

async function isLive(node: StorageNode, place: Place, storageKey: Uint8Array, r: number): Promise<boolean> {
  const { answers } = await readByNewestRing(node, place, { storageKey, r });
  return visibleSiblings(answers.map(({ value }) => value.record).reduce(merge), wallMs(node.clock)).length > 0;
}

async function readByNewestRing(node: StorageNode, place: Place, get: { storageKey: Uint8Array; r: number }) {
  const asked = { deadline: node.clock.now() + readTimeoutMs, cancellation: neverCancelled };
  for (let at = place; ; at = placeOf(currentRing(node), get.storageKey)) {
    try {
      return await readHomes(node, at, get, asked);
    } catch (error) {
      if (!(error instanceof RingMoved)) throw error;
      if (node.clock.now() >= asked.deadline)
        throw new Failure('DEADLINE', 'the ring changed until the deadline passed');
      await learnNewerRing(node, at, error);
    }
  }
}

/** One home's keys, a page at a time. */
interface Cursor {
  readonly nodeId: string;
  /** Undefined: nothing at hand; ask `fill`, unless `done`. */
  readonly head: ScannedKey | undefined;
  readonly done: boolean;
  fill(): Promise<void>;
  advance(): void;
}

function openCursor(nodeId: string, replica: Replica, range: ReplicaScanMessage): Cursor {
  let page: ScannedPage = { keys: [], next: range.start };
  let position = 0;
  return {
    nodeId,
    get head() {
      return page.keys[position];
    },
    get done() {
      return position >= page.keys.length && page.next === undefined;
    },
    async fill() {
      while (position >= page.keys.length && page.next !== undefined) {
        page = await replica.scan({ ...range, start: page.next });
        position = 0;
      }
    },
    advance() {
      position++;
    },
  };
}
