/**
 * This node's own replica: what it does for coordinators, itself among them.
 *
 * I1 A record that belongs elsewhere is stored only for a home that it is then owed to, or where one of the key is
 *    kept for a home already: what nobody would ever take away again must not come. A node that leaves, and has nothing in
 *    hand any more, takes none for a home either: it may have said that it owes nothing, and be gone in a moment.
 * I2 What was placed by a ring that is behind the fence of the partition is refused (core/ring/fences.ts).
 * I3 Of a partition that this node has lost some of nothing is said: absence would be an answer.
 * I4 A record that was known in an era before this node's is refused (core/stability/era.ts), by whomever it is sent. Who
 *    has left the ring is not told which era that is: it was not asked when it began, so what is on its disk is from before.
 * I5 A request whose write has been covered and let go by all homes is known still: the copy then tells that it is covered.
 */
import { type RecordCodec, recordChecksum } from '../core/codec/record.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, ScanPage } from '../core/ports.ts';
import {
  EraMoved,
  LeftBehind,
  type RememberedRequest,
  type Replica,
  RingMoved,
  type ScannedKey,
} from '../core/quorum/peers.ts';
import { isEmptied } from '../core/ring/change.ts';
import type { Fences } from '../core/ring/fences.ts';
import { partitionOfStorageKey } from '../core/ring/partition.ts';
import { nodeById, type Ring, serves } from '../core/ring/ring.ts';
import { parseStorageKey } from '../core/ring/storage-key.ts';
import { contains, type Dot, withDot } from '../core/versioning/causal-context.ts';
import {
  cut,
  emptyRecord,
  type KeyRecord,
  merge,
  replicaEntriesMax,
  sameBytes,
  siblingOfRequest,
  visibleSiblings,
} from '../core/versioning/record.ts';
import type { Barriers } from './barriers.ts';
import type { CoordinatorMetrics } from './coordinator-metrics.ts';
import type { HintBook } from './hints.ts';
import { wallMs } from './node.ts';
import { beside, type Held, type Next, pageRecordsMax, type RecordStore, unchanged } from './record-store.ts';
import type { RequestTable } from './request-table.ts';

/** Of one answer. */
const scanRecordsMax = 512;

export interface LocalReplicaOptions {
  /** Of this node. */
  readonly id: string;
  readonly store: RecordStore;
  readonly records: RecordCodec;
  readonly clock: Clock;
  readonly hints: HintBook;
  readonly requests: RequestTable;
  readonly metrics: Pick<CoordinatorMetrics, 'entriesCut'>;
  readonly fences: Pick<Fences, 'ofKey'>;
  readonly barriers: Pick<Barriers, 'era'>;
  ring(): Ring | undefined;
  /** Whether what is absent here may be there, see refill.ts. */
  isFilling(key: Uint8Array): boolean;
  exchange: Replica['exchange'];
}

export function createLocalReplica(options: LocalReplicaOptions): Replica {
  const { id, store, records, clock, hints, requests, metrics, fences, barriers, ring } = options;
  /** I1. */
  function checkOwnership(key: Uint8Array, hintedFor: string, own: Held): void {
    const known = ring();
    const self = known && nodeById(known, id);
    if (known !== undefined && self !== undefined) {
      const partition = partitionOfStorageKey(key, known.partitions);
      if (serves(known, partition, self.index)) return;
      const home = hintedFor === '' ? undefined : nodeById(known, hintedFor);
      if (home !== undefined && serves(known, partition, home.index) && !isEmptied(known, self)) return;
      if (own.bytes !== undefined) return;
    }
    throw new Failure('NOT_ENOUGH_REPLICAS', `node ${id} does not own the partition of the key`);
  }

  /** I2. */
  function checkFence(key: Uint8Array, epoch: number | undefined): void {
    if (epoch !== undefined && epoch < fences.ofKey(key)) throw new RingMoved(id);
  }

  /** I3. */
  function checkFilled(key: Uint8Array): void {
    if (!options.isFilling(key)) return;
    throw new Failure(
      'STORAGE_FAILED',
      `the disk of node ${id} was damaged, and the partition is not pulled again yet`,
    );
  }

  /** I4. */
  function checkEra(era: number, from: string | undefined): void {
    if (era >= barriers.era) return;
    const known = ring();
    const sender = known && from !== undefined ? nodeById(known, from) : undefined;
    if (sender?.status !== 'LEFT') throw new EraMoved(id, barriers.era);
    throw new LeftBehind(`node ${from} has left the ring, and what it kept may have been let go since`);
  }

  function merged(own: Held, incoming: KeyRecord, bytes: Uint8Array): Next {
    if (own.bytes !== undefined && sameBytes(own.bytes, bytes)) return unchanged;
    const joined = own.record === emptyRecord ? incoming : merge(own.record, incoming);
    if (joined === own.record) return unchanged;
    const { record, entriesCut } = cut(own.record, joined, own.birth?.actor, replicaEntriesMax);
    metrics.entriesCut.add(entriesCut);
    return { copy: { ...own, record, bytes: record === incoming ? bytes : records.encode(record) } };
  }

  return {
    async write({ key, record: bytes, era, sync, buffered, hintedFor, request, deadline, epoch, from }) {
      if (clock.now() >= deadline) throw new Failure('DEADLINE', 'the deadline had passed when the record arrived');
      const incoming = records.decode(bytes);
      const decide = (own: Held) => {
        checkFence(key, epoch);
        checkEra(era, from);
        checkOwnership(key, hintedFor, own);
        const next = remembering(merged(own, incoming, bytes), key, request);
        return hintedFor === '' || hintedFor === id ? next : hints.owe(own, next, hintedFor, key);
      };
      const { committed } =
        store.changeNow(key, decide, sync, buffered) ?? (await store.change(key, decide, sync, buffered));
      await committed;
    },

    async read({ key, epoch }) {
      checkFence(key, epoch);
      checkFilled(key);
      return store.read(key);
    },

    async inspect({ key, requestId }) {
      // Synced where a request is asked for: what was remembered with the record can be found then.
      const { held, committed } = await store.change(key, () => undefined, requestId !== undefined);
      if (requestId === undefined) return { record: held.bytes, owed: held.owed };
      await committed;
      const { dot: knownDot, isSettled = false } = (await requests.find(key, requestId)) ?? {};
      // What is absent may have been lost (I3): then it is no answer.
      if (knownDot === undefined && siblingOfRequest(held.record, requestId) === undefined) checkFilled(key);
      const record = isSettled && knownDot !== undefined ? covering(held, knownDot) : held.bytes;
      return { record, owed: held.owed, knownDot };
    },

    exchange: options.exchange,

    async scan({ start, end, namespace, prefix, limit }) {
      checkFilled(start);
      const keys: ScannedKey[] = [];
      let from: Uint8Array | undefined = start;
      for (let left = Math.min(limit, scanRecordsMax); left > 0 && from !== undefined; ) {
        const page: ScanPage = await store.scan(from, end, Math.min(left, pageRecordsMax));
        for (const [key, stored] of page.entries) {
          const parsed = parseStorageKey(key);
          if (parsed.namespace !== namespace || !sameBytes(parsed.key.subarray(0, prefix.length), prefix)) continue;
          const opened = store.open(key, stored);
          if (opened === undefined) continue; // the other homes list it
          const siblings = visibleSiblings(opened.record, wallMs(clock)).length;
          keys.push({ key, checksum: recordChecksum(opened.bytes), siblings });
        }
        left -= page.entries.length;
        from = page.next;
      }
      return { keys, next: from };
    },
  };

  /** I5. */
  function covering({ record, bytes }: Held, dot: Dot): Uint8Array | undefined {
    if (contains(record.clock, dot)) return bytes;
    return records.encode({ ...record, clock: withDot(record.clock, dot) });
  }

  /** What brings nothing new may be the first to bring the request. */
  function remembering(next: Next, key: Uint8Array, request: RememberedRequest | undefined): Next {
    return request === undefined ? next : beside(next, () => requests.remember(key, request));
  }
}
