import { createHash } from 'node:crypto';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../../core/ports.ts';
import { databaseDirectory, isMissing, readIfThere, syncDirectory, writeDurably } from './data-directory.ts';

/**
 * The mark of a clean stop, and with it the lineage of the data (StorageEngine.lineage; the birth rule).
 * Owns the files RUN and CLEAN_STOP.json. Knows nothing of RocksDB but where its files lie.
 *
 *     inspect (before RocksDB opens) ─▶ RocksDB opens, its lock held ─▶ beginRun ─▶ … ─▶ RocksDB closed ─▶ markCleanStop
 *
 * I1 A lineage is kept only when the mark was left by the last run that had the database open, and every
 *    file of RocksDB is the one it left: same name, inode, size, and time of last change (ctime, in
 *    nanoseconds; unlike mtime it cannot be set back). Anything else, unreadable or unknown: a new lineage.
 * I2 When the engine is handed out, the mark is gone from the disk, directory synced: no crash brings it back.
 *
 * Why RUN: RocksDB's lock is free again before the mark is written, so another process may open the
 * database in between. It writes its own RUN (only a holder of the lock does), and a mark that names
 * another run is void, however late it appears.
 *
 * What this cannot notice: the image of a whole file system taken after a clean stop and put back after
 * further runs. Inodes and times are in the image. Others notice it, by gossip (`renewLineage`); until one of them has
 * answered a node mints under births of a lineage of that run (storage-node/server.ts).
 */

const MARK = 'CLEAN_STOP.json';
const RUN = 'RUN';
const MARK_VERSION = 1;

/** What the directory says of its last run. */
export interface LastRun {
  /** undefined: none has been here. */
  readonly run: string | undefined;
  /** undefined: it did not end cleanly, or the directory was touched since. */
  readonly lineage: bigint | undefined;
  /** For the log. */
  readonly finding: string;
}

export interface Run {
  readonly run: string;
  readonly lineage: bigint;
}

interface Mark {
  readonly version: number;
  readonly run: string;
  /** 16 hexadecimal digits. */
  readonly lineage: string;
  readonly fingerprint: string;
}

/** Names the run that has, or last had, the directory open; undefined where there is none. */
export function runOf(directory: string): Promise<string | undefined> {
  return readIfThere(join(directory, RUN));
}

/** Reads the mark and compares it with the files. Call it before RocksDB opens: opening changes them. */
export async function inspectLastRun(directory: string): Promise<LastRun> {
  const run = await runOf(directory);
  const content = await readIfThere(join(directory, MARK));
  if (run === undefined) {
    return { run, lineage: undefined, finding: 'the directory is new' };
  }
  if (content === undefined) {
    return { run, lineage: undefined, finding: 'the last run did not stop cleanly' };
  }
  const mark = parseMark(content);
  if (mark === undefined) {
    return { run, lineage: undefined, finding: 'the mark of the clean stop is unreadable' };
  }
  if (mark.run !== run) {
    return { run, lineage: undefined, finding: 'the mark of the clean stop is of another run' };
  }
  if (mark.fingerprint !== (await fingerprint(databaseDirectory(directory)))) {
    return { run, lineage: undefined, finding: 'the files have changed since the clean stop' };
  }
  return { run, lineage: BigInt(`0x${mark.lineage}`), finding: 'the last run stopped cleanly' };
}

/** Takes the directory over. Call it while holding RocksDB's lock, and before anything is written (I2). */
export async function beginRun(directory: string, last: LastRun, random: Random): Promise<Run> {
  // Another process may have come and gone between the look at the mark and the lock.
  const untouched = (await runOf(directory)) === last.run;
  const lineage = untouched && last.lineage !== undefined ? last.lineage : random.u64();
  const run = hex(random.u64()) + hex(random.u64());
  await writeDurably(directory, RUN, run);
  await voidCleanStop(directory);
  return { run, lineage };
}

/** Takes the mark away: whatever comes next begins a new lineage. */
export async function voidCleanStop(directory: string): Promise<void> {
  await rm(join(directory, MARK), { force: true });
  await syncDirectory(directory);
}

/** Leaves the mark. Call it once RocksDB has synced and closed everything. */
export async function markCleanStop(directory: string, run: Run): Promise<void> {
  const database = databaseDirectory(directory);
  await syncDirectory(database);
  const mark: Mark = {
    version: MARK_VERSION,
    run: run.run,
    lineage: hex(run.lineage),
    fingerprint: await fingerprint(database),
  };
  await writeDurably(directory, MARK, `${JSON.stringify(mark)}\n`);
}

function parseMark(content: string): Mark | undefined {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { version, run, lineage, fingerprint } = value as Partial<Record<keyof Mark, unknown>>;
  if (version !== MARK_VERSION || typeof run !== 'string' || typeof fingerprint !== 'string') {
    return undefined;
  }
  if (typeof lineage !== 'string' || !/^[0-9a-f]{16}$/.test(lineage)) {
    return undefined;
  }
  return { version, run, lineage, fingerprint };
}

/**
 * SHA-256 over name, inode, size and ctime of each entry, in the order of the names.
 * Looks at files without opening them: RocksDB's lock is a POSIX one, which a process loses as soon as it
 * closes any descriptor of the file.
 */
async function fingerprint(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await namesIn(directory)).sort()) {
    const { ino, size, ctimeNs, mode } = await lstat(join(directory, name), { bigint: true });
    hash.update(`${JSON.stringify(name)} ${ino} ${size} ${ctimeNs} ${mode}\n`);
  }
  return hash.digest('hex');
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isMissing(error)) {
      return [];
    }
    throw error;
  }
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}
