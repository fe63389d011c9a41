/**
 * What is left of the file system of the data directory.
 *
 * I1 Nobody waits for a disk: the answer is what the file system said when it was last asked, and asks it again where that
 *    was `lookEveryMs` ago. Every page of a transfer wants it.
 */
import type { BigIntStatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';

/** A disk that takes a gigabyte a second has 100 MB less by then. */
const lookEveryMs = 100;

export interface DiskSpace {
  /** What this process may still write, bytes. */
  available(): number;
  size(): number;
}

export async function openDiskSpace(directory: string): Promise<DiskSpace> {
  let space = await statfs(directory, { bigint: true });
  let looking = false;
  let lookedAt = performance.now();

  function lookAgain(): BigIntStatsFs {
    const now = performance.now();
    if (!looking && now - lookedAt >= lookEveryMs) {
      looking = true;
      lookedAt = now;
      void statfs(directory, { bigint: true })
        .then((found) => {
          space = found;
        })
        .catch(() => {}) // the engine finds out by itself what is wrong with its disk
        .finally(() => {
          looking = false;
        });
    }
    return space;
  }

  const bytes = (blocks: (found: BigIntStatsFs) => bigint) => () => {
    const found = lookAgain();
    return Number(blocks(found) * found.bsize);
  };
  return { available: bytes(({ bavail }) => bavail), size: bytes(({ blocks }) => blocks) };
}
