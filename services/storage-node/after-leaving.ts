/**
 * What becomes of the directory of a node that has left the ring: its identity never joins again, so with --renew the next
 * process on it begins anew, as another node with an empty directory.
 *
 * I1 Only a directory is emptied that carries the mark, and it is written only when the ring, durable here, has the node as
 *    LEFT, and the node holds no record of a partition of others and no hint: nobody needs anything of it.
 * I2 The mark goes last, so that a crash on the way is gone on with.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Log } from '../core/ports.ts';
import { nodeById, type Ring } from '../core/ring/ring.ts';
import { readIfThere, syncDirectory, writeDurably } from '../platform/rocksdb/data-directory.ts';
import type { StorageNode } from './node.ts';

const MARK = 'LEFT';
const LOOK_INTERVAL_MS = 1_000;
/** A node that is to be taken away is gone by then. */
const STILL_HERE_MS = 600_000;

/** Before the directory is opened. */
export async function renewDirectory(directory: string, log: Log): Promise<void> {
  const node = await readIfThere(join(directory, MARK));
  if (node === undefined) return;
  log.warn(
    { node: node.trim(), directory },
    'the node of this directory has left the ring: it is emptied for a new one',
  );
  for (const entry of await readdir(directory)) {
    if (entry !== MARK) await rm(join(directory, entry), { recursive: true, force: true });
  }
  await syncDirectory(directory);
  await rm(join(directory, MARK));
  await syncDirectory(directory);
}

/** Partitions of others, hints and marks, in one moment: what goes from one of them to another is in one of them. */
export async function inHand({
  store,
  hints,
  leftovers,
}: Pick<StorageNode, 'store' | 'hints' | 'leftovers'>): Promise<number> {
  await store.flush(); // hints count once they are written
  const hinted = hints.nodes().reduce((sum, nodeId) => sum + hints.count(nodeId), 0);
  return leftovers.size + hinted + hints.marks().length;
}

export interface AfterLeavingOptions {
  readonly id: string;
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** What it may still have to hand over. */
  readonly owes: () => Promise<number>;
  /** Called once, STILL_HERE_MS after it has left: nobody has taken it away, and a new node could be of use. */
  readonly onStillHere: () => void;
}

export interface AfterLeaving {
  follow(ring: Ring): void;
  stop(): void;
}

export function watchLeaving({ id, directory, clock, log, owes, onStillHere }: AfterLeavingOptions): AfterLeaving {
  let cancel = () => {};
  let watched = false;

  async function look(): Promise<void> {
    if ((await owes()) > 0) {
      cancel = clock.after(LOOK_INTERVAL_MS, lookAgain);
      return;
    }
    await writeDurably(directory, MARK, `${id}\n`);
    log.info({ id }, 'this node has left the ring; the next process on its directory begins as another one');
    cancel = clock.after(STILL_HERE_MS, onStillHere);
  }

  function lookAgain(): void {
    look().catch((error: unknown) => {
      log.warn({ err: error }, 'could not note that this node has left the ring; it is tried again');
      cancel = clock.after(LOOK_INTERVAL_MS, lookAgain);
    });
  }

  return {
    follow(ring) {
      if (watched || nodeById(ring, id)?.status !== 'LEFT') return;
      watched = true;
      cancel = clock.after(LOOK_INTERVAL_MS, lookAgain);
    },
    stop: () => cancel(),
  };
}
