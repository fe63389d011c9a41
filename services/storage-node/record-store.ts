/**
 * The records of this node: an overlay of what is being changed, over the storage engine, with group commit.
 *
 * Reads of one turn become one getMany; changes of one turn become one batch; while one batch is being
 * written the next one gathers. Owns the order of changes to a key, the index of what is owed to whom (in
 * the same batch as the record it speaks of), and a cache of the records used last. Knows nothing of what the
 * changes mean.
 *
 * The write buffer is the batch that gathers: a `buffered` change resolves `committed` at once, and its batch is
 * written and synced when its time has come, when it is half full, or with the next change that somebody waits for.
 * That flush is background work (`admitFlush`), which may put it off within its time, and not beyond: neither its age
 * nor the room it takes waits for anybody.
 *
 * I1 Everything that changes a record goes through one overlay entry a key, made at first touch, while its
 *    read may still be pending: later changes of the key queue on it. Without it two changes read the
 *    same old record, and one is lost.
 * I2 A record is in the overlay before `change` resolves: what its caller then sends to others is never
 *    forgotten by this process.
 * I3 `committed` resolves when the state that `change` saw or made is in the engine, and on disk if that was
 *    asked for; or at once where it is `buffered`, and then not more than the buffer holds is lost by a crash. After a failed write nothing resolves any more, and the process must stop (onFailure).
 * I4 Batches reach the engine one after the other, in order.
 * I5 No change makes the overlay larger than `overlayBytesMax`: it is refused with REASON_OVERLOADED. (One that
 *    is alone there is not: a record that merges have made that large must still be taken.)
 * I6 A key is in the overlay, or in the cache, or in neither; what a read found is cached only if the key
 *    was not touched since the read began.
 * I7 While records that are not on disk yet fill the buffer, a buffered change waits for its batch like any other:
 *    none is refused, and none is lost.
 * I8 What is not whole is neither read nor changed until `restore` has put something in its place. That reads it once
 *    more, through the overlay like every change: what has been made whole meanwhile stays.
 */
import { encodeHintNote, hintKey } from '../core/codec/hint.ts';
import type { CopyNotes, RecordCodec } from '../core/codec/record.ts';
import { DamagedData } from '../core/damaged-data.ts';
import { Failure } from '../core/failure.ts';
import type { CounterHandle, Metrics, Mutation, ScanPage, StorageEngine } from '../core/ports.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import { ShortLivedMap } from '../core/short-lived-map.ts';
import { emptyRecord, type KeyRecord } from '../core/versioning/record.ts';
import { type CachedRecord, createRecordCache } from './record-cache.ts';

export const overlayBytesMax = 64 * 1024 * 1024;

export interface BufferLimits {
  /** Of records that are in memory only. */
  readonly recordsMax: number;
  readonly bytesMax: number;
  /** What nobody waits for is synced this much later at the latest, and from half of it on where the background may. */
  readonly flushAfterMs: number;
}

/** The paper's buffer of 1,000 objects (DeCandia et al. 2007, 6.1), and a bound for large ones. */
export const bufferLimits: BufferLimits = { recordsMax: 1_000, bytesMax: 4 * 1024 * 1024, flushAfterMs: 100 };

/**
 * Of a page that is gone through in one turn of the event loop. To read, open and hash a record of 1 KB takes 5 µs, so such a
 * page less than 1.5 ms; pages of half as many cost the whole scan a quarter more. Of large records a page has fewer: the
 * engine ends it by its bytes. (`npm run bench:growth -- --only scans`)
 */
export const pageRecordsMax = 256;

/** Two read batches under way keep the engine's threads busy and let the next one fill. */
const readBatchesMax = 2;
const readBatchKeysMax = 512;

/** What this node keeps of one key. */
export interface Held extends CopyNotes {
  readonly record: KeyRecord;
  /** The record's encoding; undefined where nothing is kept. */
  readonly bytes: Uint8Array | undefined;
}

/** What a change leaves. Two values, because what is held is what later changes begin with, and what is beside it is written once. */
export interface Next {
  /** In the place of what is held; `nothingHeld` to drop the record. Undefined: that stays, and is on the disk or on its way. */
  readonly copy?: Held | undefined;
  /** Written in the same batch. */
  readonly also?: readonly Beside[];
}

/** Or what makes it: called once, of a change that is not refused any more. */
export type Beside = Mutation | (() => Mutation);

/** What a change leaves that changes nothing. */
export const unchanged: Next = Object.freeze({});

export function isUnchanged({ copy, also = [] }: Next): boolean {
  return copy === undefined && also.length === 0;
}

/** The same, with more to be written beside it. */
export function beside(next: Next, ...more: readonly Beside[]): Next {
  return { ...next, also: [...(next.also ?? []), ...more] };
}

/** Bytes on the disk that are not the ones that were written: neither served nor merged into, see record-repair.ts. */
export class CorruptRecord extends Failure {
  constructor(error: unknown) {
    super('STORAGE_FAILED', `a record is not whole: ${messageOf(error)}`);
    this.name = 'CorruptRecord';
  }
}

export interface Opened extends Held {
  readonly bytes: Uint8Array;
}

/** What comes into the place of a corrupt record. */
export interface Restored {
  /** Empty: nothing. */
  readonly record: KeyRecord;
  readonly owed: readonly string[];
  readonly also: readonly Mutation[];
}

export interface Changed {
  readonly held: Held;
  /** See I3. */
  readonly committed: Promise<void>;
}

export interface RecordStore {
  /** The record's encoding; undefined where there is none. Sees changes that are not committed yet. */
  read(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** The same of what is in memory; undefined too where it would have to be read. */
  readNow(key: Uint8Array): Uint8Array | undefined;
  /** Calls `decide` with what is held now. What it throws, `change` rejects with, and nothing is changed. */
  change(
    key: Uint8Array,
    decide: (held: Held) => Next | undefined,
    sync: boolean,
    buffered?: boolean,
  ): Promise<Changed>;
  /** The same in this turn, where what is held is in memory. Undefined: it has to be read, and nothing was done. Throws. */
  changeNow(
    key: Uint8Array,
    decide: (held: Held) => Next | undefined,
    sync: boolean,
    buffered?: boolean,
  ): Changed | undefined;
  /** Puts this in the place of a record that is not whole, without a birth, synced; false: it is whole, and stays. */
  restore(key: Uint8Array, restored: Restored): Promise<boolean>;
  /** What a scan has found; undefined where it is not whole. */
  open(key: Uint8Array, stored: Uint8Array): Opened | undefined;
  /** Resolves when all that is changed so far is in the engine; `sync`: and on the disk. Rejects with that, once it is closed. */
  flush(how?: { readonly sync: boolean }): Promise<void>;
  /** One page in storage order (usually `pageRecordsMax`), with what the buffer holds. Of other changes committed ones only. */
  scan(start: Uint8Array, end: Uint8Array | undefined, limit?: number): Promise<ScanPage>;
  /**
   * Refuses every change from now on, those too that wait for their read; resolves when everything that was
   * changed before is written.
   */
  close(): Promise<void>;
  readonly overlayBytes: number;
  /** Records whose latest state the engine does not have yet. */
  readonly pendingRecords: number;
  /** How long the batch that is being written has been on its way to the disk; 0: none is. */
  readonly writingMs: number;
}

export interface RecordStoreOptions {
  engine: StorageEngine;
  codec: RecordCodec;
  /** What of the clock it needs. */
  now(): number;
  after(ms: number, run: () => void): () => void;
  endOfTurn(run: () => void): void;
  /** Whole milliseconds since 1970; for people. */
  wallNowMs(): number;
  metrics: Metrics;
  /** 0: no cache. */
  cacheBytesMax: number;
  buffer?: BufferLimits | undefined;
  onFailure(error: unknown): void;
  /** So many records and bytes are to be flushed: how long to wait for it, `withinMs` at most. Not given: so long. */
  admitFlush?(records: number, bytes: number, withinMs: number): number;
  /** Whenever it is found not to be whole. */
  onCorrupt?(key: Uint8Array): void;
  /** In the same turn as the change. */
  onChanged?(key: Uint8Array, before: KeyRecord, after: KeyRecord): void;
  /** What is written in the same batch as the change. Asked for once, of what is not refused any more. */
  besideChange?(key: Uint8Array, before: KeyRecord, after: KeyRecord): readonly Mutation[];
  /** The record of a key has come to be owed to a node, or is no more (-1). */
  onOwed?(nodeId: string, by: 1 | -1): void;
}

interface Batch {
  readonly entries: Entry[];
  readonly also: Mutation[];
  /** When the first change came. */
  readonly since: number;
  /** Of its changes. */
  bytes: number;
  sync: boolean;
  /** Some of it was acknowledged from memory. */
  buffered: boolean;
  /** It is to be written: somebody waits for it, or its time has come. */
  due: boolean;
  readonly done: PromiseWithResolvers<void>;
}

interface Entry {
  readonly key: Uint8Array;
  readonly name: string;
  /** Undefined while the first read is pending. */
  held: Held | undefined;
  /** To whom the record is owed by the index, once the batches handed over so far are written. */
  indexed: readonly string[];
  loading: Promise<void>;
  /** Changes that wait for `loading`. */
  waiting: number;
  /** The latest batch with its state: the one that gathers, or the one being written. */
  batch: Batch | undefined;
  /** It is not what the batches handed over so far have written. */
  changed: boolean;
}

interface PendingRead {
  readonly key: Uint8Array;
  resolve(stored: Uint8Array | undefined): void;
  reject(error: unknown): void;
}

export const nothingHeld: Held = Object.freeze({
  birth: undefined,
  owed: Object.freeze([]),
  record: emptyRecord,
  bytes: undefined,
});
const alreadyDone = Promise.resolve();
/** Written where a batch has nothing else to write but must sync what was written before. */
const syncMark: Mutation = { space: 'meta', key: new TextEncoder().encode('sync'), value: new Uint8Array(0) };

export function createRecordStore(options: RecordStoreOptions): RecordStore {
  const { engine, codec, endOfTurn, onFailure, buffer = bufferLimits } = options;
  const overlay = new ShortLivedMap<string, Entry>();
  const cache = createRecordCache(options.cacheBytesMax);
  /** Reads under way that may go into the cache, by name; each with an object of its own. */
  const cacheableReads = new Map<string, object>();
  let overlayBytes = 0;
  let reads: PendingRead[] = [];
  let readBatches = 0;
  let readsScheduled = false;
  let gathering: Batch | undefined;
  let writing: Batch | undefined;
  let writingSince = 0;
  let writeScheduled = false;
  /** Records in the engine that no sync has followed, and when the first of them was changed. */
  let unsynced = 0;
  let unsyncedSince = 0;
  let flushArmed = false;
  let failure: Failure | undefined;
  /** Why nothing is changed any more. */
  let refusal: Failure | undefined;
  const metrics = storeMetrics(
    options.metrics,
    () => overlay.size,
    () => overlayBytes,
    () => cache.bytes,
    unsyncedRecords,
    unsyncedAgeMs,
  );

  function load(key: Uint8Array): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      reads.push({ key, resolve, reject });
      if (!readsScheduled && readBatches < readBatchesMax) {
        readsScheduled = true;
        endOfTurn(startReads);
      }
    });
  }

  function startReads(): void {
    readsScheduled = false;
    while (reads.length > 0 && readBatches < readBatchesMax) {
      const batch = reads.length <= readBatchKeysMax ? reads : reads.slice(0, readBatchKeysMax);
      reads = reads.length <= readBatchKeysMax ? [] : reads.slice(readBatchKeysMax);
      readBatches++;
      void runReads(batch);
    }
  }

  async function runReads(batch: readonly PendingRead[]): Promise<void> {
    await readAll(batch);
    readBatches--;
    startReads();
  }

  /** What the engine cannot read fails alone, though it is asked for all at once. */
  async function readAll(batch: readonly PendingRead[]): Promise<void> {
    try {
      const values = await engine.getMany(
        'records',
        batch.map((read) => read.key),
      );
      batch.forEach((read, i) => {
        read.resolve(values[i]);
      });
    } catch (error) {
      if (batch.length > 1) for (const read of batch) await readAll([read]);
      else
        for (const { key, reject } of batch)
          reject(error instanceof DamagedData ? corrupt(key, error) : storageFailure('read', error));
    }
  }

  function gather(): Batch {
    if (gathering !== undefined) return gathering;
    const state = { bytes: 0, sync: false, buffered: false, due: false };
    gathering = { entries: [], also: [], since: options.now(), ...state, done: Promise.withResolvers() };
    gathering.done.promise.catch(() => {}); // nobody may be waiting for it
    return gathering;
  }

  function makeDue(batch: Batch): void {
    batch.due = true;
    if (writeScheduled || writing !== undefined) return;
    writeScheduled = true;
    endOfTurn(startWrite);
  }

  /** Acknowledges what was changed last from memory; false where there is no room for it (I7). */
  function bufferIn(batch: Batch): boolean {
    if (pendingRecords() > buffer.recordsMax || batch.bytes + (writing?.bytes ?? 0) > buffer.bytesMax) return false;
    batch.buffered = true;
    // At half, so that there is room while it is written.
    if (batch.entries.length * 2 >= buffer.recordsMax || batch.bytes * 2 >= buffer.bytesMax) {
      // Once a batch: it may wait for the one before, and goes on growing.
      if (!batch.due) options.admitFlush?.(batch.entries.length, batch.bytes, 0);
      makeDue(batch);
    } else syncSoon();
    return true;
  }

  /** What is in a memory, here or below, goes to the disk before long, whether somebody waits for it or not. */
  function syncSoon(): void {
    if (flushArmed) return;
    flushArmed = true;
    const halfMs = buffer.flushAfterMs / 2;
    options.after(halfMs, () => {
      const { admitFlush = () => halfMs } = options;
      const waitMs = hasToSync() ? admitFlush(unsyncedRecords(), gathering?.bytes ?? 0, halfMs) : 0;
      if (waitMs > 0) options.after(waitMs, syncNow);
      else syncNow();
    });
  }

  const hasToSync = () => refusal === undefined && (gathering?.buffered === true || unsynced > 0);

  function syncNow(): void {
    flushArmed = false;
    if (!hasToSync()) return;
    const batch = gather();
    batch.sync = true;
    makeDue(batch);
  }

  /** What was changed so far is on the disk, or on its way there with a sync. */
  function isSynced(): boolean {
    if (gathering !== undefined) return gathering.sync;
    return writing === undefined ? unsynced === 0 : writing.sync;
  }

  /** Resolves when all that is changed so far is in the engine; `sync`: and on the disk. */
  async function flush({ sync } = { sync: false }): Promise<void> {
    if (sync && !isSynced()) {
      if (refusal !== undefined) throw refusal; // a batch begun now would come after the engine is closed
      gather().sync = true;
    }
    if (gathering !== undefined) makeDue(gathering);
    await (gathering ?? writing)?.done.promise;
  }

  function pendingRecords(): number {
    return (writing?.entries.length ?? 0) + (gathering?.entries.length ?? 0);
  }

  function unsyncedRecords(): number {
    return unsynced + pendingRecords();
  }

  function unsyncedAgeMs(): number {
    if (unsyncedRecords() === 0) return 0;
    return options.now() - (unsynced > 0 ? unsyncedSince : ((writing ?? gathering) as Batch).since);
  }

  function startWrite(): void {
    writeScheduled = false;
    if (gathering?.due !== true || writing !== undefined) return;
    writing = gathering;
    writingSince = options.now();
    gathering = undefined;
    // What was acknowledged from memory is not left in the engine's either.
    if (writing.buffered) writing.sync = true;
    void runWrite(writing);
  }

  async function runWrite(batch: Batch): Promise<void> {
    const mutations = [...batch.also];
    for (const entry of batch.entries) {
      if (!entry.changed) continue; // only something beside it (`also`)
      entry.changed = false;
      const held = entry.held as Held;
      const prefix = held.bytes && codec.encodeNotes(held);
      mutations.push({ space: 'records', key: entry.key, prefix, value: held.bytes });
      if (entry.indexed !== held.owed) index(entry, held, mutations);
    }
    metrics.batches.add(1);
    metrics.batchRecords.add(batch.entries.length);
    if (mutations.length === 0) mutations.push(syncMark);
    try {
      await engine.write(mutations, batch.sync);
    } catch (error) {
      failure = storageFailure('written', error);
      refusal = failure;
      batch.done.reject(failure);
      gathering?.done.reject(failure);
      onFailure(error);
      return;
    }
    if (unsynced === 0) unsyncedSince = batch.since;
    unsynced = batch.sync ? 0 : unsynced + batch.entries.length;
    if (unsynced > 0) syncSoon();
    writing = undefined;
    for (const entry of batch.entries) {
      if (entry.batch !== batch) continue;
      entry.batch = undefined;
      forgetIfIdle(entry);
    }
    batch.done.resolve();
    // At once: what is gathered has waited for this batch.
    startWrite();
  }

  /** What the index of hints has to learn of an entry. */
  function index(entry: Entry, { owed, bytes }: Held, mutations: Mutation[]): void {
    for (const nodeId of owed) {
      if (entry.indexed.includes(nodeId)) continue;
      const value = encodeHintNote({ sinceMs: options.wallNowMs(), recordBytes: bytes?.length ?? 0 });
      mutations.push({ space: 'hints', key: hintKey(nodeId, entry.key), value });
      options.onOwed?.(nodeId, 1);
    }
    for (const nodeId of entry.indexed) {
      if (owed.includes(nodeId)) continue;
      mutations.push({ space: 'hints', key: hintKey(nodeId, entry.key), value: undefined });
      options.onOwed?.(nodeId, -1);
    }
    entry.indexed = owed;
  }

  function forgetIfIdle(entry: Entry): void {
    if (entry.batch === undefined && entry.waiting === 0) drop(entry);
  }

  function drop(entry: Entry): void {
    if (overlay.get(entry.name) !== entry) return;
    overlay.take(entry.name);
    if (entry.held === undefined) return;
    overlayBytes -= entry.held.bytes?.length ?? 0;
    cache.put(entry.name, entry.held);
  }

  /** The entry of the key, made at first touch; where `isRead` is not wanted, only if that needs no read. */
  function touch(key: Uint8Array): Entry;
  function touch(key: Uint8Array, isRead: false): Entry | undefined;
  function touch(key: Uint8Array, isRead = true): Entry | undefined {
    const name = storageKeyText(key);
    const known = overlay.get(name);
    if (known !== undefined) return known;
    const cached = cache.take(name);
    if (cached === undefined && !isRead) return undefined;
    cacheableReads.delete(name);
    const entry: Entry = {
      key,
      name,
      held: undefined,
      indexed: nothingHeld.owed,
      waiting: 0,
      batch: undefined,
      changed: false,
      loading: alreadyDone,
    };
    if (cached === undefined) {
      entry.loading = load(key).then((stored) => hold(entry, openStored(key, stored)));
    } else {
      hold(entry, cached);
    }
    overlay.set(name, entry);
    return entry;
  }

  /** What of the stored bytes is whose. */
  function openStored(key: Uint8Array, stored: Uint8Array | undefined): CachedRecord {
    return stored === undefined ? nothingHeld : unlessCorrupt(key, () => codec.decodeStored(stored));
  }

  /** Throws CorruptRecord where `decode` throws. */
  function unlessCorrupt<T>(key: Uint8Array, decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      throw corrupt(key, error);
    }
  }

  function corrupt(key: Uint8Array, error: unknown): CorruptRecord {
    metrics.corrupt.add(1);
    options.onCorrupt?.(key);
    return new CorruptRecord(error);
  }

  function hold(entry: Entry, found: CachedRecord): void {
    if (found.bytes === undefined) {
      entry.held = nothingHeld;
      return;
    }
    const { birth, owed, bytes } = found;
    entry.held = { birth, owed, bytes, record: unlessCorrupt(entry.key, () => codec.decode(bytes)) };
    entry.indexed = owed;
    overlayBytes += bytes.length;
  }

  async function change(
    key: Uint8Array,
    decide: (held: Held) => Next | undefined,
    sync: boolean,
    buffered = false,
    /** In the place of a corrupt record, for `decide`. */
    instead?: Held,
  ): Promise<Changed> {
    if (refusal !== undefined) throw refusal;
    if (overlayBytes > overlayBytesMax) throw overloaded(overlayBytes);
    const entry = touch(key);
    if (entry.held === undefined) {
      entry.waiting++;
      try {
        await entry.loading; // those who wait go on in the order they came (I1)
      } catch (error) {
        if (entry.held === undefined) {
          drop(entry);
          if (instead === undefined || !(error instanceof CorruptRecord)) throw error;
          // Somebody reads it once more already.
          if (overlay.has(entry.name)) return change(key, decide, sync, buffered, instead);
          overlay.set(entry.name, entry);
          entry.held = instead;
          entry.indexed = instead.owed;
        }
      } finally {
        entry.waiting--;
      }
    }
    try {
      return apply(entry, decide, sync, buffered);
    } finally {
      if (entry.held === instead) entry.held = undefined; // it was refused: what is there is not whole still (I8)
      forgetIfIdle(entry);
    }
  }

  function changeNow(
    key: Uint8Array,
    decide: (held: Held) => Next | undefined,
    sync: boolean,
    buffered = false,
  ): Changed | undefined {
    if (refusal !== undefined) throw refusal;
    if (overlayBytes > overlayBytesMax) throw overloaded(overlayBytes);
    const entry = touch(key, false);
    if (entry?.held === undefined) return undefined;
    try {
      return apply(entry, decide, sync, buffered);
    } finally {
      forgetIfIdle(entry);
    }
  }

  function apply(entry: Entry, decide: (held: Held) => Next | undefined, sync: boolean, buffered: boolean): Changed {
    if (refusal !== undefined) throw refusal;
    const before = entry.held as Held;
    const next = decide(before) ?? unchanged;
    if (isUnchanged(next)) return { held: before, committed: buffered ? alreadyDone : committedAlready(entry, sync) };
    const { copy, also = [] } = next;
    const held = copy ?? before;
    // Here too: those that waited for their reads all came while there was room.
    const bytes = overlayBytes + (held.bytes?.length ?? 0) - (before.bytes?.length ?? 0);
    if (bytes > overlayBytesMax && bytes > overlayBytes && overlay.size > 1) throw overloaded(bytes);
    entry.held = held;
    overlayBytes = bytes;
    const batch = gather();
    if (held.record !== before.record) {
      options.onChanged?.(entry.key, before.record, held.record);
      batch.also.push(...(options.besideChange?.(entry.key, before.record, held.record) ?? []));
    }
    if (entry.batch !== batch) {
      entry.batch = batch;
      batch.entries.push(entry);
    }
    for (const one of also) batch.also.push(typeof one === 'function' ? one() : one);
    if (copy !== undefined) {
      entry.changed = true;
      batch.bytes += copy.bytes?.length ?? 0;
    }
    if (buffered && bufferIn(batch)) return { held, committed: alreadyDone };
    if (sync) batch.sync = true;
    makeDue(batch);
    return { held, committed: batch.done.promise };
  }

  /** For a change that changes nothing: what it saw may be on its way still, or written and not synced. */
  function committedAlready(entry: Entry, sync: boolean): Promise<void> {
    const { batch } = entry;
    if (batch !== undefined && batch === gathering) makeDue(batch); // somebody may wait for it
    if (!sync || (batch === undefined && unsynced === 0) || batch?.sync === true)
      return batch?.done.promise ?? alreadyDone;
    const next = gather();
    next.sync = true;
    makeDue(next);
    return next.done.promise;
  }

  return {
    change,
    changeNow,
    flush,

    async restore(key, { record, owed, also }) {
      const corrupt: Held = { ...nothingHeld, owed };
      const bytes = codec.encode(record);
      const copy = record.clock.length === 0 ? nothingHeld : { ...corrupt, record, bytes };
      let isRestored = false;
      const decide = (held: Held) => {
        isRestored = held === corrupt;
        return isRestored ? { copy, also } : unchanged;
      };
      const { committed } = await change(key, decide, true, false, corrupt);
      await committed;
      return isRestored;
    },

    open(key, stored) {
      try {
        return unlessCorrupt(key, () => {
          const opened = codec.decodeStored(stored);
          return { ...opened, record: codec.decode(opened.bytes) };
        });
      } catch {
        return undefined;
      }
    },

    async read(key) {
      const name = storageKeyText(key);
      const entry = overlay.get(name);
      if (entry !== undefined) {
        if (entry.held === undefined) await entry.loading;
        return entry.held?.bytes;
      }
      const cached = cache.get(name);
      metrics.reads[cached === undefined ? 'miss' : 'hit'].add(1);
      if (cached !== undefined) return cached.bytes;
      const mark = {};
      cacheableReads.set(name, mark);
      try {
        const found = openStored(key, await load(key));
        if (found.bytes !== undefined) unlessCorrupt(key, () => codec.check(found.bytes as Uint8Array));
        if (cacheableReads.get(name) === mark) cache.put(name, found);
        return found.bytes;
      } finally {
        if (cacheableReads.get(name) === mark) cacheableReads.delete(name);
      }
    },

    readNow(key) {
      const name = storageKeyText(key);
      return (overlay.get(name)?.held ?? cache.get(name))?.bytes;
    },

    async scan(start, end, limit = pageRecordsMax) {
      if (gathering?.buffered === true || writing?.buffered === true) await flush();
      return engine.scan('records', start, end, limit);
    },

    async close() {
      refusal ??= new Failure('DRAINING', 'this process is stopping');
      while (failure === undefined && (gathering !== undefined || writing !== undefined)) {
        await flush().catch(() => {});
      }
    },

    get overlayBytes() {
      return overlayBytes;
    },

    get pendingRecords() {
      return pendingRecords();
    },

    get writingMs() {
      return writing === undefined ? 0 : options.now() - writingSince;
    },
  };
}

function overloaded(bytes: number): Failure {
  const message = `${bytes} bytes would wait to be written, the limit is ${overlayBytesMax}`;
  return new Failure('OVERLOADED', message, { retryAfterMs: 100 });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function storageFailure(what: 'read' | 'written', error: unknown): Failure {
  if (what === 'read' && error instanceof Failure) return error;
  return new Failure('STORAGE_FAILED', `a record could not be ${what}: ${messageOf(error)}`, {
    outcome: what === 'read' ? 'NOT_APPLIED' : 'UNKNOWN',
  });
}

interface StoreMetrics {
  readonly batches: CounterHandle;
  readonly batchRecords: CounterHandle;
  readonly corrupt: CounterHandle;
  readonly reads: Readonly<Record<'hit' | 'miss', CounterHandle>>;
}

function storeMetrics(
  metrics: Metrics,
  entries: () => number,
  bytes: () => number,
  cacheBytes: () => number,
  unsyncedRecords: () => number,
  unsyncedAgeMs: () => number,
): StoreMetrics {
  metrics.gauge('cartwheel_overlay_records', 'Records being changed', entries);
  metrics.gauge('cartwheel_overlay_bytes', 'Bytes of records being changed', bytes);
  metrics.gauge('cartwheel_unsynced_records', 'Records changed and not on disk yet', unsyncedRecords);
  metrics.gauge(
    'cartwheel_unsynced_age_seconds',
    'How long the oldest record that is not on disk yet has waited',
    () => unsyncedAgeMs() / 1_000,
  );
  metrics.gauge('cartwheel_record_cache_bytes', 'Bytes of records in the cache', cacheBytes);
  const reads = (cache: string) =>
    metrics.counter(
      'cartwheel_record_reads_total',
      'Records read and not being changed, by whether they were in the cache',
      {
        cache,
      },
    );
  return {
    reads: { hit: reads('hit'), miss: reads('miss') },
    batches: metrics.counter('cartwheel_commit_batches_total', 'Batches handed to the storage engine'),
    batchRecords: metrics.counter(
      'cartwheel_commit_records_total',
      'Records in the batches handed to the storage engine',
    ),
    corrupt: metrics.counter('cartwheel_corrupt_records_total', 'Records read from disk whose bytes were not whole'),
  };
}
