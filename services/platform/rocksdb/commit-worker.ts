import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { RocksLevel } from 'rocksdb';
import { SPACES, type Space } from '../../core/ports.ts';
import { unpackWrite } from './packed-write.ts';
import { COLUMN_OF_SPACE } from './settings.ts';

/**
 * The committer thread: writes batches, and waits for the disk, so that the event loop does not.
 * Owns nothing but its batch: the database belongs to the thread that opened it, and is closed there,
 * after this thread has ended. See committer.ts for the other side.
 *
 * I1 Writes go to the database in the order in which they came; those that waited together go in one batch.
 * I2 After the first failure nothing more is written, whatever still comes.
 */

export interface CommitWorkerData {
  /** Of the open database. */
  readonly handle: bigint;
  /** A group ends here though more is waiting. */
  readonly groupBytesMax: number;
}

/** A packed write, or null: no more will come. */
export type CommitRequest = ArrayBuffer | null;

/** The next so many writes, in order, are done, in one batch (0 once, at the start: ready); or the first failure. */
export type CommitReply = number | { readonly error: string };

const port = parentPort;
if (port === null) {
  throw new Error('commit-worker.ts runs as a worker thread only');
}
const { handle, groupBytesMax } = workerData as CommitWorkerData;
const database = new RocksLevel(handle);
await database.open();
const columns = Object.fromEntries(SPACES.map((space) => [space, columnOf(COLUMN_OF_SPACE[space])])) as Record<
  Space,
  ReturnType<typeof columnOf>
>;
const batch = database._chainedBatch();

function columnOf(name: string) {
  const column = database.columns[name];
  if (column === undefined) {
    throw new Error(`the database has no column family ${name}, only ${Object.keys(database.columns).join(', ')}`);
  }
  return { column };
}

function reply(message: CommitReply): void {
  port?.postMessage(message);
}

function put(space: Space, key: Uint8Array, value: Uint8Array): void {
  batch._put(key, value, columns[space]);
}

function remove(space: Space, key: Uint8Array): void {
  batch._del(key, columns[space]);
}

/** Writes `first` and what waits behind it; returns whether to go on. */
function commitGroup(first: ArrayBuffer): boolean {
  batch._clear();
  let writes = 0;
  let bytes = 0;
  let sync = false;
  let ended = false;
  let next: CommitRequest | undefined = first;
  while (next !== undefined) {
    if (next === null) {
      ended = true;
      break;
    }
    sync = unpackWrite(next, put, remove) || sync;
    writes += 1;
    bytes += next.byteLength;
    next = bytes < groupBytesMax && port !== null ? receiveMessageOnPort(port)?.message : undefined;
  }
  batch._writeSync({ sync });
  reply(writes);
  return !ended;
}

port.on('message', (request: CommitRequest) => {
  try {
    if (request === null || !commitGroup(request)) {
      port.close();
    }
  } catch (error) {
    reply({ error: error instanceof Error ? error.message : String(error) });
    port.close();
  }
});
reply(0);
