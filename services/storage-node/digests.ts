/**
 * The digest tree of this node's records (core/merkle): kept up with every change, kept over a clean stop, built anew
 * in the background after any other.
 *
 * I1 While it is built a change in what was read already is taken in at once. One ahead is noted, and put in the place of
 *    what its page says, until all changes so far are in the engine: then its page says it.
 * I2 What a clean stop left counts only in the lineage it was left in (StorageEngine.lineage).
 * I3 It is built as the background governor admits, like all that nobody waits for: a node with ten million keys would else
 *    keep its clients waiting for a minute after each crash.
 */
import { ByteReader, ByteWriter } from '../core/codec/bytes.ts';
import { Failure } from '../core/failure.ts';
import { createDigestTree, type DigestTree, leafOf } from '../core/merkle/digest-tree.ts';
import { recordDigest } from '../core/merkle/record-digest.ts';
import type { Hash64, Log, Metrics, Mutation, ScanPage, StorageEngine } from '../core/ports.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import type { KeyRecord } from '../core/versioning/record.ts';
import type { Admission, Background } from './background.ts';
import { pageRecordsMax, type RecordStore } from './record-store.ts';

/** Of all pages until changes are waited for again to reach the engine: that may take as long as a sync. */
const recordsPerFlush = 512;
/**
 * What reading a page takes, as the governor counts: a record that moves takes 0.1 ms at either end, one that is read, opened
 * and hashed 5 µs where it has 1 KB, 28 where it has 16 (`npm run bench:growth -- --only scans`).
 */
const recordsPerOperation = 20;
const bytesPerOperation = 64 * 1024;
/** A block that cannot be read now may be repaired by then. */
const againMs = 60_000;
/** Of a piece of the tree as it is kept: 12 bytes a leaf. */
const pieceLeaves = 32_768;
const keptPrefix = Buffer.from('digest tree\0');
const keptEnd = Buffer.from('digest tree\x01');
const headBytes = 9;

export interface Digests {
  readonly tree: DigestTree;
  /** False while it is built: it then says nothing. */
  readonly ready: boolean;
  /** Of the hash space, 0 to 1. */
  readonly built: number;
  of(storageKey: Uint8Array, record: KeyRecord): bigint;
  /** The same of what the engine has; counted, and 0 as if there were none, where that is not whole. */
  ofStored(storageKey: Uint8Array, stored: Uint8Array): bigint;
  changed(storageKey: Uint8Array, before: KeyRecord, after: KeyRecord): void;
  /** Whether a record of these leaves changes from now on; `end` ends it. */
  watch(firstLeaf: number, endLeaf: number): Watch;
  /** Takes up what a clean stop left, or begins to build. */
  open(): Promise<void>;
  /** Keeps the tree, if it is whole. Nothing may change any more. */
  close(): Promise<void>;
}

export interface Watch {
  readonly touched: boolean;
  end(): void;
}

export interface DigestsOptions {
  readonly engine: StorageEngine;
  readonly hash: Hash64;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly depth?: number | undefined;
  after(ms: number, run: () => void): void;
  store(): Pick<RecordStore, 'flush' | 'open'>;
  background(): Pick<Background, 'begin'>;
}

export function createDigests(options: DigestsOptions): Digests {
  const { engine, hash, log, metrics, depth, after, store, background } = options;
  const tree = createDigestTree(depth);
  let ready = false;
  let stopped = false;
  /** What is before it has been read; undefined: nothing has. */
  let builtTo: Uint8Array | undefined;
  /** Changes ahead of what has been read, since the last flush, by name of the key. */
  const meanwhile = new Map<string, { readonly key: Uint8Array; readonly digest: bigint }>();
  const watches = new Set<{ first: number; end: number; touched: boolean }>();
  const skipped = metrics.counter('cartwheel_digests_corrupt_total', 'Records left out of the digests: not whole');
  metrics.gauge('cartwheel_digests_built', 'How much of the digests is complete, 0 to 1', () => built());

  const of = (key: Uint8Array, record: KeyRecord) => recordDigest(key, record, hash);

  function built(): number {
    if (ready) return 1;
    return builtTo === undefined ? 0 : ((builtTo[0] as number) * 256 + (builtTo[1] as number)) / 65_536;
  }

  function begin(): void {
    tree.clear(0, 0);
    builtTo = undefined;
    const task = background().begin('digests', 'all records');
    const building = build(task).finally(() => task.end());
    building.catch((error: unknown) => {
      if (stopped || (error instanceof Failure && error.reason === 'DRAINING')) return;
      log.error({ err: error }, 'the digests could not be built, so this node compares no replicas; it is tried again');
      after(againMs, begin);
    });
  }

  async function build({ admit, reached }: Admission): Promise<void> {
    let from: Uint8Array | undefined = new Uint8Array(0);
    let untilFlush = 0;
    while (from !== undefined && !stopped) {
      if (untilFlush <= 0) {
        meanwhile.clear();
        await store().flush();
        untilFlush = recordsPerFlush;
      }
      const page: ScanPage = await engine.scan('records', from, undefined, pageRecordsMax);
      if (stopped) return;
      for (const [key, stored] of page.entries) {
        const name = storageKeyText(key);
        const newer = meanwhile.get(name);
        tree.change(key, 0n, newer === undefined ? ofStored(key, stored) : newer.digest);
        meanwhile.delete(name);
      }
      for (const [name, { key, digest }] of meanwhile) {
        if (page.next !== undefined && Buffer.compare(key, page.next) >= 0) continue;
        tree.change(key, 0n, digest);
        meanwhile.delete(name);
      }
      untilFlush -= page.entries.length;
      from = page.next;
      builtTo = page.next;
      if (from !== undefined) {
        reached(built());
        await admit(costOfReading(page), 0);
      }
    }
    meanwhile.clear();
    ready = !stopped;
  }

  function ofStored(key: Uint8Array, stored: Uint8Array): bigint {
    const opened = store().open(key, stored);
    if (opened !== undefined) return of(key, opened.record);
    skipped.add(1);
    return 0n;
  }

  async function load(): Promise<boolean> {
    let first = true;
    for (let from: Uint8Array | undefined = keptPrefix; from !== undefined; ) {
      const page = await engine.scan('meta', from, keptEnd, 16);
      for (const [, piece] of page.entries) {
        const reader = new ByteReader(piece);
        if (reader.u8() !== tree.depth || reader.u64() !== engine.lineage) return false;
        while (reader.position < piece.length) tree.restore(reader.u32(), reader.u64());
        first = false;
      }
      from = page.next;
    }
    return !first;
  }

  return {
    tree,
    get ready() {
      return ready;
    },
    get built() {
      return built();
    },
    of,
    ofStored,

    changed(key, before, after) {
      for (const watch of watches) {
        const leaf = leafOf(key, tree.depth);
        if (leaf >= watch.first && leaf < watch.end) watch.touched = true;
      }
      const digest = of(key, after);
      if (ready || (builtTo !== undefined && Buffer.compare(key, builtTo) < 0))
        tree.change(key, of(key, before), digest);
      else meanwhile.set(storageKeyText(key), { key, digest });
    },

    watch(first, end) {
      const watch = { first, end, touched: false };
      watches.add(watch);
      return {
        get touched() {
          return watch.touched;
        },
        end: () => void watches.delete(watch),
      };
    },

    async open() {
      if (await load()) {
        ready = true;
        return;
      }
      begin();
    },

    async close() {
      stopped = true;
      try {
        await keep();
      } catch (error) {
        log.info({ err: error }, 'the digests could not be kept: they are built anew at the next start');
      }
    },
  };

  async function keep(): Promise<void> {
    const mutations: Mutation[] = [];
    const old = await engine.scan('meta', keptPrefix, keptEnd, 1_024);
    for (const [key] of old.entries) mutations.push({ space: 'meta', key, value: undefined });
    if (ready) {
      const leaves = [...tree.leaves()];
      for (let i = 0; i === 0 || i < leaves.length; i += pieceLeaves) {
        const key = Buffer.concat([keptPrefix, Buffer.from(String(i / pieceLeaves).padStart(4, '0'))]);
        mutations.push({ space: 'meta', key, value: encodePiece(leaves.slice(i, i + pieceLeaves)) });
      }
    }
    if (mutations.length > 0) await engine.write(mutations, false);
  }

  function encodePiece(leaves: readonly (readonly [number, bigint])[]): Uint8Array {
    const writer = new ByteWriter(new Uint8Array(headBytes + 12 * leaves.length));
    writer.u8(tree.depth);
    writer.u64(engine.lineage);
    for (const [leaf, digest] of leaves) {
      writer.u32(leaf);
      writer.u64(digest);
    }
    return writer.bytes;
  }
}

function costOfReading({ entries }: ScanPage): number {
  const bytes = entries.reduce((sum, [, stored]) => sum + stored.length, 0);
  return Math.ceil(entries.length / recordsPerOperation + bytes / bytesPerOperation);
}
