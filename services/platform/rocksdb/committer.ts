import { Worker } from 'node:worker_threads';
import type { Metrics, Mutation } from '../../core/ports.ts';
import { engineClosed } from '../engine-closed.ts';
import type { CommitReply, CommitRequest, CommitWorkerData } from './commit-worker.ts';
import { packWrite } from './packed-write.ts';

/**
 * The event loop's side of the committer thread (commit-worker.ts): packs writes, hands them over, and
 * resolves them in order. Owns the thread. Knows nothing of keys.
 *
 *     write()  ──packed, transferred──▶  waiting in the port  ──gathered while one batch is synced──▶  RocksDB
 *     resolve  ◀──────────── "the next 3 are done" ──────────────────────────────────────────────┘
 *
 * Writes are handed over at once and never held here, so the thread finds everything that waits (group
 * commit) without a timer and without a turn of the event loop between two batches.
 *
 * I1 Writes are handed over, and resolved or rejected, in the order of the calls.
 * I2 After the first failure, the thread's death included, every write is rejected with it.
 * An unsynced write is durable once a later synced one is: both are in one write-ahead log, and a sync
 * covers all of it up to there, older log files included.
 */

/**
 * Bytes handed over and not yet written. Callers bound what they have in flight well below (their limits
 * are what clients feel); to arrive here means that they do not, and that is a failure as any other.
 */
export const MAX_WAITING_BYTES = 512 * 1024 * 1024;

export interface Committer {
  write(mutations: readonly Mutation[], sync: boolean): Promise<void>;
  /** Waits for what was handed over, then for the thread's end. Never rejects. */
  stop(): Promise<void>;
  /** Why nothing can be written any more. */
  readonly failure: Error | undefined;
}

interface WaitingWrite {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly startedAt: number;
  readonly sync: boolean;
  readonly bytes: number;
}

/** Starts the thread on the database open under `handle`; `onFailure` is called once, at the first failure. */
export async function startCommitter(
  handle: bigint,
  groupBytesMax: number,
  metrics: Metrics,
  onFailure: (error: Error) => void,
): Promise<Committer> {
  const commitMs = 'From the call of a write of the storage engine until it is in RocksDB, and with sync on disk.';
  const syncedMs = metrics.histogram('cartwheel_engine_commit_seconds', commitMs, { sync: 'true' });
  const unsyncedMs = metrics.histogram('cartwheel_engine_commit_seconds', commitMs, { sync: 'false' });
  const mutationCount = metrics.counter('cartwheel_engine_mutations_total', 'Keys put or removed.');
  const writeCount = metrics.counter('cartwheel_engine_writes_total', 'Calls of write.');
  const batchCount = metrics.counter('cartwheel_engine_batches_total', 'Batches written to RocksDB (group commit).');

  const data: CommitWorkerData = { handle, groupBytesMax };
  const worker = new Worker(new URL('./commit-worker.ts', import.meta.url), { workerData: data });

  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));

  let waiting: WaitingWrite[] = [];
  let head = 0;
  let waitingBytes = 0;
  let failure: Error | undefined;
  let stopping = false;
  let ready = (_error?: Error) => {};

  metrics.gauge('cartwheel_engine_writes_waiting', 'Writes not yet in RocksDB.', () => waiting.length - head);
  metrics.gauge('cartwheel_engine_failed', '1 after a write has failed: nothing is written any more.', () =>
    failure === undefined ? 0 : 1,
  );

  function fail(error: Error): void {
    if (failure !== undefined) {
      return;
    }
    failure = error;
    const rejected = waiting.slice(head);
    waiting = [];
    head = 0;
    waitingBytes = 0;
    ready(error);
    onFailure(error);
    for (const write of rejected) {
      write.reject(error);
    }
  }

  function done(writes: number): void {
    const now = performance.now();
    batchCount.add(1);
    for (let n = 0; n < writes; n++) {
      const write = waiting[head];
      if (write === undefined) {
        throw new Error(`the committer thread reports ${writes} writes done, only ${n} were waiting`);
      }
      head += 1;
      waitingBytes -= write.bytes;
      (write.sync ? syncedMs : unsyncedMs).observe(now - write.startedAt);
      write.resolve();
    }
    // The done part is dropped when nothing waits, or once it is the larger half: amortised, one move a write.
    if (head === waiting.length) {
      waiting = [];
      head = 0;
    } else if (head > 1024 && head * 2 > waiting.length) {
      waiting = waiting.slice(head);
      head = 0;
    }
  }

  worker.on('message', (reply: CommitReply) => {
    if (typeof reply !== 'number') {
      fail(new Error(`a write to the disk failed, so nothing more is written: ${reply.error}`));
    } else if (reply === 0) {
      ready();
    } else if (failure === undefined) {
      done(reply);
    }
  });
  worker.on('error', (error) => fail(new Error('the committer thread failed', { cause: error })));
  worker.on('exit', (code) => {
    if (!stopping || head < waiting.length) {
      fail(new Error(`the committer thread ended with code ${code}, ${waiting.length - head} writes were waiting`));
    }
  });

  await new Promise<void>((resolve, reject) => {
    ready = (error) => (error === undefined ? resolve() : reject(error));
  });

  return {
    write(mutations, sync) {
      if (failure !== undefined) {
        return Promise.reject(failure);
      }
      if (stopping) {
        return Promise.reject(engineClosed());
      }
      const startedAt = performance.now();
      const packed = packWrite(mutations, sync);
      const bytes = packed.byteLength;
      if (waitingBytes + bytes > MAX_WAITING_BYTES) {
        fail(new Error(`${waitingBytes} + ${bytes} bytes wait for the disk, the limit is ${MAX_WAITING_BYTES}`));
        return Promise.reject(failure);
      }
      writeCount.add(1);
      mutationCount.add(mutations.length);
      waitingBytes += bytes;
      return new Promise<void>((resolve, reject) => {
        waiting.push({ resolve, reject, startedAt, sync, bytes });
        worker.postMessage(packed satisfies CommitRequest, [packed]);
      });
    },
    async stop() {
      stopping = true;
      worker.postMessage(null satisfies CommitRequest);
      await ended;
    },
    get failure() {
      return failure;
    },
  };
}
