/**
 * The digest tree compared with the data it speaks of, block after block, for as long as the node runs: so that a bit
 * that turned on the disk, or a mistake in keeping the tree up, is found although nobody reads the record.
 *
 *   watch a block of leaves → wait until earlier changes are in the engine → read it → untouched? then what was read
 *   is what the tree must say; where it does not, it is set right
 *
 * A record that is not whole is read as none: the tree then differs from that of the other homes, which is where
 * exchanges find it, and say so until it is mended.
 *
 * I1 A block is judged only if none of its records changed since before it was read. Equal sums before and after would
 *    not show that: a record may have gone and come back.
 * I2 It reads at the pace of `everyMs` a round, as the background governor admits; nothing waits for it.
 */
import { leafOf, rangeOfLeaf } from '../core/merkle/digest-tree.ts';
import type { Clock, Metrics } from '../core/ports.ts';
import type { Admission, Background } from './background.ts';
import type { Digests } from './digests.ts';
import type { RecordStore } from './record-store.ts';
import { createRounds } from './rounds.ts';

/** A block is 2^8 leaves, so a node of 2^20 has 4,096 blocks, of 2,500 records each where there are ten million. */
const blockLevels = 8;
/** A block that changes all the time is left to the next round. */
const attemptsMax = 3;

export interface Verification {
  /** Begins, and goes on until `pause` or `stop`. */
  start(): void;
  /** One round, now; resolves with how many leaves were wrong. */
  verifyAll(): Promise<number>;
  /** Sets this leaf right; false where that cannot be done now. */
  verifyLeaf(leaf: number): Promise<boolean>;
  pause(): void;
  stop(): void;
}

export interface VerificationOptions {
  readonly digests: Digests;
  readonly store: Pick<RecordStore, 'flush' | 'scan'>;
  readonly background: Background;
  readonly clock: Pick<Clock, 'after'>;
  readonly metrics: Metrics;
  /** A round; 0: never by itself. */
  readonly everyMs: number;
}

export function createVerification(options: VerificationOptions): Verification {
  const { digests, store, background, clock, metrics, everyMs } = options;
  const { tree } = digests;
  const level = Math.max(0, tree.depth - blockLevels);
  const blocks = 2 ** level;
  const leavesOfBlock = 2 ** (tree.depth - level);
  let block = 0;
  const rounds = createRounds({
    clock,
    delayMs: () => (everyMs > 0 ? everyMs / blocks : undefined),
    async round() {
      await verifyBlock(block);
      block = (block + 1) % blocks;
    },
  });
  const verified = metrics.counter('cartwheel_verified_records_total', 'Records read to verify the digests');
  const wrong = metrics.counter(
    'cartwheel_digests_wrong_total',
    'Leaves of the digests that were not what the data is',
  );
  const unreadable = metrics.counter('cartwheel_verification_failed_total', 'Blocks of records that could not be read');
  const changing = metrics.counter('cartwheel_verification_skipped_total', 'Blocks that changed while they were read');
  metrics.gauge(
    'cartwheel_verification_progress',
    'How much of the records has been verified in this round, 0 to 1',
    () => block / blocks,
  );

  /** How many leaves were wrong; undefined: some changed meanwhile (I1). */
  async function look(first: number, leaves: number, { admit, reached }: Admission): Promise<number | undefined> {
    const watch = digests.watch(first, first + leaves);
    const found = new Map<number, bigint>();
    try {
      await store.flush();
      const { end } = rangeOfLeaf(first + leaves - 1, tree.depth);
      for (let from: Uint8Array | undefined = rangeOfLeaf(first, tree.depth).start; from !== undefined; ) {
        const page = await store.scan(from, end);
        let bytes = 0;
        for (const [key, stored] of page.entries) {
          const leaf = leafOf(key, tree.depth);
          found.set(leaf, BigInt.asUintN(64, (found.get(leaf) ?? 0n) + digests.ofStored(key, stored)));
          bytes += stored.length;
        }
        verified.add(page.entries.length);
        await admit(page.entries.length, bytes);
        if (watch.touched || rounds.stopped) return undefined;
        from = page.next;
        if (from !== undefined) reached((leafOf(from, tree.depth) - first) / leaves);
      }
      // In one turn with the look at `touched`.
      if (watch.touched || !digests.ready) return undefined;
      let differing = 0;
      for (let leaf = first; leaf < first + leaves; leaf++) {
        const read = found.get(leaf) ?? 0n;
        if (tree.digest(tree.depth, leaf) === read) continue;
        tree.restore(leaf, read);
        differing++;
      }
      return differing;
    } finally {
      watch.end();
    }
  }

  /** How many leaves were wrong; undefined where that cannot be told now. */
  async function verify(first: number, leaves: number, name: string): Promise<number | undefined> {
    if (!digests.ready) return undefined;
    const task = background.begin('verification', name);
    try {
      for (let attempt = 0; attempt < attemptsMax && !rounds.stopped; attempt++) {
        const differing = await look(first, leaves, task);
        if (differing !== undefined) return differing;
      }
      if (!rounds.stopped) changing.add(1);
    } catch {
      if (!rounds.stopped) unreadable.add(1); // the next round tries again; who reads one of these records says more
    } finally {
      task.end();
    }
    return undefined;
  }

  async function verifyBlock(index: number): Promise<number> {
    const name = `block ${index} of ${blocks}`;
    const differing = (await verify(index * leavesOfBlock, leavesOfBlock, name)) ?? 0;
    wrong.add(differing);
    return differing;
  }

  return {
    start: () => rounds.start(),
    async verifyAll() {
      let differing = 0;
      for (let index = 0; index < blocks && !rounds.stopped; index++) differing += await verifyBlock(index);
      return differing;
    },
    verifyLeaf: async (leaf) => (await verify(leaf, 1, `leaf ${leaf}`)) !== undefined,
    pause: () => rounds.pause(),
    stop: () => rounds.stop(),
  };
}
