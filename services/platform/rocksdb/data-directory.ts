import { access, constants, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from '../make-directory.ts';

/**
 * The layout of the engine's directory, and its version.
 *
 *     FORMAT           the version of this layout and of all that is stored in it
 *     RUN              names the run of a process that has, or last had, the database open   (clean-stop.ts)
 *     CLEAN_STOP.json  only while the database is closed cleanly                             (clean-stop.ts)
 *     DAMAGED          bytes on the disk were not those that were written: rebuilt at the next start   (scrub.ts)
 *     INCOMPLETE       what is absent may have been written: it was rebuilt, or a log of it is damaged   (scrub.ts)
 *     rocksdb/         RocksDB's own
 *
 * Other files of the node may lie beside these.
 */

/** Raised when a change makes data that older versions cannot read. */
export const FORMAT_VERSION = 1;

/** The directory cannot be used as it is. The message is for the operator, and names the directory. */
export class DataDirectoryError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DataDirectoryError';
  }
}

/** What an operator does about files that are damaged. */
export function rebuildAdvice(directory: string): string {
  return (
    'Its files are damaged; the other replicas still have what was acknowledged. Move ' +
    `${directory} away, start the node with an empty one, and run \`cartwheel ring replace ADDRESS\` ` +
    '(in a cluster of `cartwheel dev`, only: `cartwheel dev replace NODE`)'
  );
}

export function databaseDirectory(directory: string): string {
  return join(directory, 'rocksdb');
}

/** Makes the directory where there is none; refuses one that cannot be written or has another format. */
export async function prepareDataDirectory(directory: string): Promise<void> {
  try {
    // With their names: what is synced below is lost with a power failure that takes one of these.
    for (const parent of makeDirectory(directory)) await syncDirectory(parent);
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new DataDirectoryError(`data directory ${directory} is not writable: ${messageOf(error)}`, { cause: error });
  }
  const format = await readIfThere(join(directory, 'FORMAT'));
  if (format !== undefined) {
    checkFormat(directory, format);
  } else if (await isThere(databaseDirectory(directory))) {
    throw new DataDirectoryError(
      `data directory ${directory} holds a database but no file FORMAT, so its version is unknown; ` +
        `restore the file (this version writes format ${FORMAT_VERSION}) or use an empty directory`,
    );
  } else {
    try {
      await writeDurably(directory, 'FORMAT', `${FORMAT_VERSION}\n`);
    } catch (error) {
      throw new DataDirectoryError(`data directory ${directory} is not writable: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

function checkFormat(directory: string, content: string): void {
  if (!/^\d{1,9}\n?$/.test(content)) {
    const seen = JSON.stringify(content.slice(0, 40));
    throw new DataDirectoryError(
      `data directory ${directory}: FORMAT holds ${seen}, wanted a number such as ${FORMAT_VERSION}`,
    );
  }
  const found = Number(content);
  if (found !== FORMAT_VERSION) {
    throw new DataDirectoryError(
      `data directory ${directory} has format ${found}, this version of Cartwheel reads and writes format ` +
        `${FORMAT_VERSION}; ${found > FORMAT_VERSION ? 'start a newer version on it' : 'it cannot be upgraded'}`,
    );
  }
}

/** Replaces the file as a whole: afterwards it is on disk, and no crash leaves half of it. */
export async function writeDurably(directory: string, name: string, content: string): Promise<void> {
  const path = join(directory, name);
  const draft = `${path}.new`;
  const file = await open(draft, 'w');
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  await syncDirectory(directory);
}

/** Makes the names in the directory durable: files made, renamed and removed. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** undefined where there is no such file; any other failure is thrown. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) {
      return undefined;
    }
    throw error;
  }
}

export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) {
      return false;
    }
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
