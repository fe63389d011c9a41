/**
 * The disks of the storage nodes, which can be made slow or broken while they run: each node is started with
 * slow-disk-preload.c loaded, which asks a file of its own before each sync and each write.
 *
 * Where there is no C compiler or no LD_PRELOAD the nodes run as they are, and `obstacle` says why.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileLibrary } from './preload.ts';

export interface DiskTrouble {
  readonly syncDelayMs?: number;
  /** errno */
  readonly syncError?: number;
  readonly writeError?: number;
}

export interface Disks {
  /** Why disks cannot be troubled here; undefined: they can. */
  readonly obstacle: string | undefined;
  /** To start the node with. */
  environmentOf(node: string): Readonly<Record<string, string>>;
  /** From now on; `{}` is a good disk. */
  trouble(node: string, trouble: DiskTrouble): void;
}

export const EIO = constants.errno.EIO;

export const slowDiskSource = fileURLToPath(new URL('../e2e/slow-disk-preload.c', import.meta.url));

export async function prepareDisks(directory: string): Promise<Disks> {
  mkdirSync(directory, { recursive: true });
  const library = join(directory, 'slow-disk.so');
  const controlOf = (node: string) => join(directory, `${node}.control`);
  const obstacle = await compileLibrary(slowDiskSource, library);
  return {
    obstacle,
    environmentOf(node) {
      return obstacle === undefined ? { LD_PRELOAD: library, SLOW_DISK_CONTROL: controlOf(node) } : {};
    },
    trouble(node, { syncDelayMs = 0, syncError = 0, writeError = 0 }) {
      // Never seen half written.
      writeFileSync(`${controlOf(node)}.next`, `${Math.ceil(syncDelayMs)} ${syncError} ${writeError}\n`);
      renameSync(`${controlOf(node)}.next`, controlOf(node));
    },
  };
}
