import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Column, RocksLevel } from 'rocksdb';
import { type Log, SPACES } from '../../core/ports.ts';
import { databaseDirectory, isThere, readIfThere, syncDirectory, writeDurably } from './data-directory.ts';
import { COLUMN_OF_SPACE } from './settings.ts';

/**
 * What becomes of a database with damaged files (Cassandra calls it a scrub): at the start after damage was met, all that
 * can be read is copied into a new database, which takes the place of the old one.
 *
 *     DAMAGED, rocksdb  ──copy──▶  rocksdb.scrubbed  ──INCOMPLETE, rename, rename──▶  rocksdb      DAMAGED and the old one go
 *
 * It has to be done, because RocksDB refuses every write once a compaction has met a damaged block, after each opening
 * anew; and it cannot be done while the database is open.
 *
 * I1 While INCOMPLETE is there what is absent may have been written (StorageEngine.isIncomplete). It is on the disk before
 *    the new database is in its place.
 * I2 It can end at any point, and is begun again, or gone on with, at the next start.
 * I3 The requests that were seen are not copied: a second attempt would be told that its write is here, and it may be lost.
 */

/** Damage was met; for people, what RocksDB said. */
const DAMAGED = 'DAMAGED';
const INCOMPLETE = 'INCOMPLETE';

/** A page is in memory as a whole, once to read it and once to write it. */
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_ENTRIES = 1000;

export function markDamaged(directory: string, what: string): Promise<void> {
  return writeDurably(directory, DAMAGED, `${what}\n`);
}

export function isIncomplete(directory: string): Promise<boolean> {
  return isThere(join(directory, INCOMPLETE));
}

export function markIncomplete(directory: string, why: string): Promise<void> {
  return writeDurably(directory, INCOMPLETE, `${why}\n`);
}

export async function markComplete(directory: string): Promise<void> {
  await rm(join(directory, INCOMPLETE), { force: true });
  await syncDirectory(directory);
}

/** Does nothing where no damage was met. `open` opens the database in a directory, or makes one. */
export async function scrubIfDamaged(
  directory: string,
  open: (database: string) => Promise<RocksLevel>,
  log: Log,
): Promise<void> {
  const damage = await readIfThere(join(directory, DAMAGED));
  if (damage === undefined) return;
  const present = databaseDirectory(directory);
  const [scrubbed, old] = [`${present}.scrubbed`, `${present}.damaged`];
  if (!(await isThere(old))) {
    await rm(scrubbed, { recursive: true, force: true });
    log.warn({ directory, damage: damage.trim() }, 'the database has damaged files; what can be read of it is copied');
    const { kept, gaps } = await copyReadable(present, scrubbed, open);
    log.warn({ directory, kept, gaps }, 'the database was rebuilt; what is missing comes from the other replicas');
    await markIncomplete(directory, damage.trim());
    await syncDirectory(scrubbed);
    await rename(present, old);
  }
  // What was put aside was copied before.
  if (!(await isThere(present))) await rename(scrubbed, present);
  await syncDirectory(directory);
  await rm(join(directory, DAMAGED), { force: true });
  await syncDirectory(directory);
  await rm(old, { recursive: true, force: true });
}

async function copyReadable(
  from: string,
  to: string,
  open: (database: string) => Promise<RocksLevel>,
): Promise<{ kept: number; gaps: number }> {
  const source = await open(from);
  const target = await open(to);
  const batch = target._chainedBatch();
  let kept = 0;
  let gaps = 0;
  try {
    for (const space of SPACES) {
      // A request that is remembered says that its write is here (I3).
      if (space === 'requests') continue;
      const name = COLUMN_OF_SPACE[space];
      const [column, into] = [columnIn(source, name), columnIn(target, name)];
      for (let at: Uint8Array | undefined = new Uint8Array(0); at !== undefined; ) {
        const page: Page = await readPage(source, column, at);
        batch._clear();
        for (const [key, value] of page.entries) batch._put(key, value, { column: into });
        batch._writeSync({ sync: false });
        kept += page.entries.length;
        if (page.end === 'damage') gaps += 1;
        at =
          page.end === 'damage'
            ? await firstReadable(source, column, page.next)
            : page.end === 'more'
              ? page.next
              : undefined;
      }
    }
    batch._clear();
    batch._writeSync({ sync: true });
  } finally {
    await target.close();
    await source.close();
  }
  return { kept, gaps };
}

interface Page {
  readonly entries: readonly (readonly [Uint8Array, Uint8Array])[];
  readonly end: 'more' | 'none' | 'damage';
  /** The first key not looked at. */
  readonly next: Uint8Array;
}

/** Up to where something cannot be read: then one by one, because a visit that fails gives nothing of what it had read. */
async function readPage(source: RocksLevel, column: Column, from: Uint8Array): Promise<Page> {
  for (const size of [PAGE_ENTRIES, 1]) {
    const entries: (readonly [Uint8Array, Uint8Array])[] = [];
    const next = () => {
      const last = entries.at(-1)?.[0];
      return last === undefined ? from : Buffer.concat([last, Buffer.alloc(1)]);
    };
    const iterator = iterate(source, column, from);
    try {
      let bytes = 0;
      while (entries.length < PAGE_ENTRIES && bytes < PAGE_BYTES) {
        const visit = await iterator.nextv(Math.min(size, PAGE_ENTRIES - entries.length));
        if (visit.length === 0) return { entries, end: 'none', next: next() };
        for (const [key, value] of visit) {
          entries.push([key, value]);
          bytes += key.length + value.length;
        }
      }
      return { entries, end: 'more', next: next() };
    } catch (error) {
      if (!isDamage(error)) throw error;
      if (size === 1) return { entries, end: 'damage', next: next() };
    } finally {
      await iterator.close();
    }
  }
  throw new Error('a page is read in one of two ways');
}

function iterate(source: RocksLevel, column: Column, gte: Uint8Array) {
  const encoding = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
  return source.iterator({ column, gte, ...encoding, highWaterMarkBytes: PAGE_BYTES, fillCache: false });
}

const POSITION_BYTES = 32;
const LAST_POSITION = 2n ** BigInt(8 * POSITION_BYTES) - 1n;

/**
 * The first key from which on can be read again after `unreadable`; undefined: none. Keys as numbers: in ever larger steps
 * until one can be read, then in halves. What can be read between two damaged blocks may be passed over where they are
 * close; it is pulled again like what they held.
 */
async function firstReadable(
  source: RocksLevel,
  column: Column,
  unreadable: Uint8Array,
): Promise<Uint8Array | undefined> {
  const isReadable = async (position: bigint) => (await readOne(source, column, keyAt(position))) !== 'damage';
  let low = positionOf(unreadable);
  let step = 1n;
  let high = low + step;
  while (high <= LAST_POSITION && !(await isReadable(high))) {
    low = high;
    step *= 2n;
    high = low + step;
  }
  if (high > LAST_POSITION) {
    if (!(await isReadable(LAST_POSITION))) return undefined;
    high = LAST_POSITION;
  }
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (await isReadable(middle)) high = middle;
    else low = middle;
  }
  return keyAt(high);
}

async function readOne(source: RocksLevel, column: Column, from: Uint8Array): Promise<'damage' | 'fine'> {
  const iterator = iterate(source, column, from);
  try {
    await iterator.nextv(1);
    return 'fine';
  } catch (error) {
    if (!isDamage(error)) throw error;
    return 'damage';
  } finally {
    await iterator.close();
  }
}

function positionOf(key: Uint8Array): bigint {
  const bytes = Buffer.alloc(POSITION_BYTES);
  bytes.set(key.subarray(0, POSITION_BYTES));
  return BigInt(`0x${bytes.toString('hex')}`);
}

function keyAt(position: bigint): Uint8Array {
  return Buffer.from(position.toString(16).padStart(2 * POSITION_BYTES, '0'), 'hex');
}

/** As the binding says what RocksDB calls corruption. */
export function isDamage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'LEVEL_CORRUPTION';
}

function columnIn(database: RocksLevel, name: string): Column {
  const column = database.columns[name];
  if (column === undefined) throw new Error(`the database has no column family ${name}`);
  return column;
}
