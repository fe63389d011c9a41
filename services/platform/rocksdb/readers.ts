import { Worker } from 'node:worker_threads';
import type { Space } from '../../core/ports.ts';
import { engineClosed } from '../engine-closed.ts';
import { packKeys, unpackValues } from './packed-read.ts';
import type { ReadReply, ReadRequest, ReadWorkerData } from './read-worker.ts';

/**
 * The event loop's side of the reader threads (read-worker.ts). They are started at the first read that is not for the
 * event loop itself, and stopped before the database is closed.
 *
 * Why not the thread pool, which the binding has a door to: a block that RocksDB refuses is there an exception of the
 * process, which nobody can catch; in a thread that calls the synchronous door it is an error like any other.
 *
 * I1 A thread answers in the order in which it was asked.
 * I2 The death of a thread rejects what it was asked, and everything after it: it is a bug, and never silence.
 */

/** As many as the record store has read batches under way. */
const threadsMax = 2;

export interface Readers {
  /** Rejects with an Error that has RocksDB's code, as `_getManySync` throws it. */
  getMany(space: Space, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /** Waits for what was asked, then for the threads' end. Never rejects. */
  stop(): Promise<void>;
}

interface Reader {
  readonly worker: Worker;
  readonly waiting: { resolve(values: (Uint8Array | undefined)[]): void; reject(error: Error): void }[];
  readonly ended: Promise<void>;
  failure: Error | undefined;
}

export function createReaders(handle: bigint): Readers {
  const readers: Reader[] = [];
  let stopping = false;

  function start(): Reader {
    const data: ReadWorkerData = { handle };
    const worker = new Worker(new URL('./read-worker.ts', import.meta.url), { workerData: data });
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const reader: Reader = { worker, waiting: [], ended, failure: undefined };
    const fail = (error: Error) => {
      reader.failure ??= error;
      for (const { reject } of reader.waiting.splice(0)) reject(error);
    };
    worker.on('message', (reply: ReadReply) => {
      const asked = reader.waiting.shift();
      if (asked === undefined) return;
      if (reply instanceof ArrayBuffer) asked.resolve(unpackValues(reply));
      else asked.reject(Object.assign(new Error(reply.error), { code: reply.code }));
    });
    worker.on('error', (error) => fail(new Error('a reader thread failed', { cause: error })));
    worker.on('exit', (code) => fail(new Error(`a reader thread ended with code ${code}`)));
    readers.push(reader);
    return reader;
  }

  /** The one that is asked the least; another one where all are asked something. */
  function next(): Reader {
    const [idlest] = readers.toSorted((a, b) => a.waiting.length - b.waiting.length);
    return idlest !== undefined && (idlest.waiting.length === 0 || readers.length === threadsMax) ? idlest : start();
  }

  return {
    getMany(space, keys) {
      if (stopping) return Promise.reject(engineClosed());
      const reader = next();
      if (reader.failure !== undefined) return Promise.reject(reader.failure);
      const packed = packKeys(keys);
      return new Promise((resolve, reject) => {
        reader.waiting.push({ resolve, reject });
        reader.worker.postMessage({ space, keys: packed } satisfies ReadRequest, [packed]);
      });
    },
    async stop() {
      stopping = true;
      for (const { worker } of readers) worker.postMessage(null satisfies ReadRequest);
      await Promise.all(readers.map(({ ended }) => ended));
    },
  };
}
