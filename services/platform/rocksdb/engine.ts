import { type Column, RocksLevel } from 'rocksdb';
import { DamagedData } from '../../core/damaged-data.ts';
import {
  type Log,
  type Metrics,
  type Mutation,
  type Random,
  type ScanPage,
  SPACES,
  type Space,
  type StorageEngine,
} from '../../core/ports.ts';
import { engineClosed } from '../engine-closed.ts';
import { beginRun, inspectLastRun, markCleanStop, voidCleanStop } from './clean-stop.ts';
import { startCommitter } from './committer.ts';
import {
  DataDirectoryError,
  databaseDirectory,
  messageOf,
  prepareDataDirectory,
  rebuildAdvice,
} from './data-directory.ts';
import { openDiskSpace } from './disk-space.ts';
import { exposeEngine } from './engine-metrics.ts';
import { findDamagedLog } from './log-damage.ts';
import { createReadPlacement } from './read-placement.ts';
import { createReaders } from './readers.ts';
import { isDamage, isIncomplete, markComplete, markDamaged, markIncomplete, scrubIfDamaged } from './scrub.ts';
import { COLUMN_OF_SPACE, ENGINE_SETTINGS, type EngineSettings } from './settings.ts';

/**
 * The StorageEngine on RocksDB (the port's I1 to I4).
 * Owns the database and its data directory. Writes go through the committer thread (committer.ts); the event
 * loop waits for no sync. Reads run on the event loop while the data is in memory, and in reader threads (readers.ts)
 * once the disk was seen to be waited for (read-placement.ts).
 *
 * Values are copies: the binding's `unsafe` ones pin cache blocks, and any that the garbage collector has not
 * taken yet aborts the process at close.
 *
 * A block whose checksum is wrong is refused by RocksDB, and a read that needs it is a DamagedData; it is never served.
 * A compaction that needs it makes every later write fail, and so ends the process; the next start rebuilds the database
 * from what can be read (scrub.ts), which the node brings about by itself before (storage-node/rebuild.ts).
 *
 * A known limit of the binding: an iterator positions itself on the event loop (the first block of a scan page may be
 * read there).
 */

/** A page ends here even before its `limit`: it is made, and gone through, in one turn of the event loop each. */
const MAX_PAGE_BYTES = 1024 * 1024;

/** An operator looks into it once; what is damaged is met again and again. */
const TELL_OF_DAMAGE_EVERY_MS = 60_000;

/** Most entries that one visit to the thread pool brings. */
const ENTRIES_PER_VISIT = 1000;

export interface RocksEngineOptions {
  /** Made where there is none; owned by the engine (data-directory.ts). */
  readonly directory: string;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly settings?: EngineSettings;
}

/** Throws DataDirectoryError, with a message for the operator, when the directory cannot be used. */
export async function openRocksEngine(options: RocksEngineOptions): Promise<StorageEngine> {
  const { directory, random, log, metrics, settings = ENGINE_SETTINGS } = options;
  await prepareDataDirectory(directory);
  // Both before the look at the last run: what has lost something begins a new lineage.
  await noteDamagedLog(directory, log);
  await scrubIfDamaged(directory, (database) => openDatabase(directory, database, settings), log);
  const last = await inspectLastRun(directory);
  const database = await openDatabase(directory, databaseDirectory(directory), settings);
  try {
    return await useDatabase(database);
  } catch (error) {
    await database.close();
    throw error;
  }

  async function useDatabase(database: RocksLevel): Promise<StorageEngine> {
    const run = await beginRun(directory, last, random);
    const space = await openDiskSpace(directory);
    let { lineage } = run;
    const keptLineage = lineage === last.lineage;
    log.info({ directory, keptLineage, finding: last.finding }, 'storage engine opened');

    let incomplete = await isIncomplete(directory);
    const committer = await startCommitter(database.handle, settings.groupBytesMax, metrics, (error) => {
      log.error({ directory, error: error.message, cause: messageOf(error.cause) }, 'storage engine failed');
      if (metDamage(error)) noteDamage(error.message);
    });
    const columns = Object.fromEntries(
      SPACES.map((space) => [space, { column: columnOf(database, COLUMN_OF_SPACE[space]) }]),
    ) as Record<Space, { readonly column: Column }>;
    const readMs = metrics.histogram('cartwheel_engine_read_seconds', 'One getMany of the storage engine.');
    const inlineReads = metrics.counter('cartwheel_engine_inline_reads_total', 'getMany that ran on the event loop.');
    const placement = createReadPlacement();
    const readers = createReaders(database.handle);
    const damagedReads = metrics.counter(
      'cartwheel_engine_damaged_reads_total',
      'Reads that met bytes on the disk that are not the ones that were written',
    );
    let toldOfDamageAt = Number.NEGATIVE_INFINITY;
    let damageNoted: Promise<void> | undefined;
    let damaged = false;

    /** So that the next start rebuilds the database (scrub.ts). */
    function noteDamage(what: string): void {
      damageNoted ??= markDamaged(directory, what).then(
        () => {
          damaged = true;
        },
        (error: unknown) => {
          damageNoted = undefined; // whoever meets it next tries again
          log.error({ directory, error: messageOf(error) }, 'that files are damaged could not be noted');
        },
      );
    }
    let closing: Promise<void> | undefined;

    function property(name: string): number {
      return closing === undefined ? Number(database.getProperty(`rocksdb.${name}`)) || 0 : 0;
    }

    /** What RocksDB says of a read, as the port has it: damage is told apart from all else. */
    function readFailure(error: unknown): unknown {
      if (!isDamage(error)) return error;
      damagedReads.add(1);
      noteDamage(error.message);
      const now = performance.now();
      if (now - toldOfDamageAt > TELL_OF_DAMAGE_EVERY_MS) {
        toldOfDamageAt = now;
        const advice =
          'opened anew, which the node does by itself, it is rebuilt, from the other replicas where it cannot be read';
        log.error({ directory, error: error.message }, `files of the database are damaged; ${advice}`);
      }
      return new DamagedData(error.message, { cause: error });
    }

    async function getManyInline(
      keys: readonly Uint8Array[],
      column: { readonly column: Column },
      startedAt: number,
    ): Promise<(Uint8Array | undefined)[]> {
      const values = database._getManySync(keys, column);
      const now = performance.now();
      placement.took(now - startedAt, now);
      readMs.observe(now - startedAt);
      inlineReads.add(1);
      if (values.includes(null)) {
        throw gaveUp(values);
      }
      return values as (Uint8Array | undefined)[];
    }

    const engine: StorageEngine = {
      get lineage() {
        return lineage;
      },

      get isIncomplete() {
        return incomplete;
      },

      get isDamaged() {
        return damaged;
      },

      async complete() {
        await markComplete(directory);
        incomplete = false;
      },

      renewLineage() {
        lineage = random.u64();
      },

      async getMany(space, keys) {
        if (closing !== undefined) {
          throw engineClosed();
        }
        if (keys.length === 0) {
          return [];
        }
        const startedAt = performance.now();
        try {
          if (placement.inline(keys.length, startedAt)) {
            return await getManyInline(keys, columns[space], startedAt);
          }
          const values = await readers.getMany(space, keys);
          readMs.observe(performance.now() - startedAt);
          return values;
        } catch (error) {
          throw readFailure(error);
        }
      },

      async write(mutations: readonly Mutation[], sync: boolean) {
        try {
          await committer.write(mutations, sync);
        } catch (error) {
          throw metDamage(error) ? new DamagedData(error.message, { cause: error }) : error;
        }
      },

      async scan(space, start, end, limit): Promise<ScanPage> {
        if (closing !== undefined) {
          throw engineClosed();
        }
        if (limit < 1) {
          throw new RangeError(`a page of ${limit} entries was asked for, at least 1 is wanted`);
        }
        const iterator = database.iterator({
          column: columns[space].column,
          gte: start,
          ...(end === undefined ? {} : { lt: end }),
          keyEncoding: 'buffer',
          valueEncoding: 'buffer',
          highWaterMarkBytes: MAX_PAGE_BYTES,
          fillCache: false,
        });
        try {
          const entries: [Uint8Array, Uint8Array][] = [];
          let bytes = 0;
          // One more than the page holds: it tells whether there is a next one.
          while (entries.length <= limit && bytes < MAX_PAGE_BYTES) {
            const visit = await iterator.nextv(Math.min(limit + 1 - entries.length, ENTRIES_PER_VISIT));
            if (visit.length === 0) {
              return { entries, next: undefined };
            }
            for (const entry of visit) {
              entries.push(entry);
              bytes += entry[0].length + entry[1].length;
            }
          }
          if (entries.length > limit) {
            return { entries: entries.slice(0, limit), next: entries[limit]?.[0] };
          }
          return { entries, next: successor(entries) };
        } catch (error) {
          throw readFailure(error);
        } finally {
          await iterator.close();
        }
      },

      stats() {
        // What is in memtables is in the write-ahead log, whose size the binding does not tell.
        const diskBytes = property('total-sst-files-size') + property('size-all-mem-tables');
        return { keysEstimated: property('estimate-num-keys'), diskBytes, freeBytes: space.available() };
      },

      close() {
        closing ??= closeAll();
        return closing;
      },
    };

    async function closeAll(): Promise<void> {
      // An empty synced write: everything before it is on disk, or we hear of it. (Closing syncs too, and
      // keeps to itself whether that worked.)
      let failure = await failureOf(committer.write([], true));
      await committer.stop();
      await readers.stop();
      await damageNoted;
      // RocksDB closes in any case, but after a failed sync it says so once more.
      const closeFailure = await failureOf(database.close());
      failure ??= closeFailure;
      failure ??= await failureOf(markCleanStop(directory, { ...run, lineage }));
      if (failure === undefined) {
        log.info({ directory }, 'storage engine closed');
      } else {
        log.error({ directory, error: messageOf(failure) }, 'storage engine closed without the mark of a clean stop');
      }
    }

    exposeEngine(metrics, { property, diskBytes: () => engine.stats().diskBytes, space });
    return engine;
  }
}

/** What of its logs cannot be read RocksDB leaves out when it opens, and all that was written after it. */
async function noteDamagedLog(directory: string, log: Log): Promise<void> {
  const damage = await findDamagedLog(directory);
  if (damage === undefined) return;
  await voidCleanStop(directory);
  await markIncomplete(directory, `a write-ahead log is damaged: ${damage}`);
  log.warn({ directory, damage }, 'a write-ahead log is damaged; what is missing comes from the other replicas');
}

/** Not the same as absent: to take it for that would be to overwrite a record unread. */
function gaveUp(values: readonly (Uint8Array | undefined | null)[]): Error {
  return new Error(`RocksDB gave up on ${values.filter((value) => value === null).length} of ${values.length} keys`);
}

async function failureOf(work: Promise<void>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}

/** The smallest key greater than the last of `entries`. */
function successor(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
  const last = entries.at(-1)?.[0] ?? new Uint8Array();
  const next = new Uint8Array(last.length + 1);
  next.set(last);
  return next;
}

async function openDatabase(directory: string, location: string, settings: EngineSettings): Promise<RocksLevel> {
  const { columns, walCompression, backgroundThreads: parallelism } = settings;
  const database = new RocksLevel(location, { columns, walCompression, parallelism });
  try {
    await database.open();
    return database;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    if (cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_LOCKED') {
      throw new DataDirectoryError(`data directory ${directory} is in use by another process`, { cause });
    }
    const remedy = doesNotOpen(cause) ? `. ${rebuildAdvice(directory)}` : '';
    throw new DataDirectoryError(`data directory ${directory} cannot be opened: ${messageOf(cause)}${remedy}`, {
      cause,
    });
  }
}

/** Of the committer thread, which passes on the words alone: a compaction has met a block that is damaged. */
function metDamage(error: unknown): error is Error {
  return error instanceof Error && error.message.includes('Corruption:');
}

/** RocksDB's own files are not as it left them: changed, or gone. */
function doesNotOpen(cause: unknown): boolean {
  return isDamage(cause) || (cause instanceof Error && cause.message.includes('No such file'));
}

function columnOf(database: RocksLevel, name: string): Column {
  const column = database.columns[name];
  if (column === undefined) {
    throw new Error(`the database has no column family ${name}, only ${Object.keys(database.columns).join(', ')}`);
  }
  return column;
}
