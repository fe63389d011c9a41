/**
 * A disk that can be full: a tmpfs at the data directory of one node, and a ballast file that takes all that is
 * left. Mounting needs root on Linux.
 *
 * Where this process is killed the mount stays; `umount` takes it away.
 *
 * I1 It is unmounted when it is given back; what was on it is copied away before where somebody wants to see it.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCodeOf } from '../../cli/problem.ts';

export interface SmallDisk {
  readonly node: string;
  fill(): Promise<void>;
  free(): Promise<void>;
  /** Its node does not run any more. */
  giveBack(keep: boolean): Promise<void>;
}

const run = promisify(execFile);
/** More than a node writes in a run of some minutes, and filled in a moment. */
const sizeMiB = 512;
const chunkBytes = [4 * 1024 * 1024, 4 * 1024];

/** The disk, or in words why there is none. */
export async function mountSmallDisk(node: string, directory: string): Promise<SmallDisk | string> {
  if (process.platform !== 'linux') return `tmpfs is of Linux, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'mounting a tmpfs needs root';
  mkdirSync(directory, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', directory]);
  } catch (error) {
    return `mount failed: ${error instanceof Error ? error.message.trim().split('\n').at(-1) : error}`;
  }
  const ballast = join(directory, 'ballast');
  return {
    node,
    async fill() {
      const file = await open(ballast, 'w');
      try {
        for (const bytes of chunkBytes) await writeUntilFull(file, Buffer.alloc(bytes));
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast, { force: true }),
    async giveBack(keep) {
      await rm(ballast, { force: true });
      const copy = `${directory}.copy`;
      if (keep) cpSync(directory, copy, { recursive: true });
      await run('umount', ['--lazy', directory]);
      if (!keep) return;
      rmSync(directory, { recursive: true });
      await run('mv', [copy, directory]);
    },
  };
}

async function writeUntilFull(file: Awaited<ReturnType<typeof open>>, chunk: Buffer): Promise<void> {
  try {
    for (;;) await file.write(chunk);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOSPC') throw error;
  }
}
