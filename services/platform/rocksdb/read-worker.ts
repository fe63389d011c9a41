import { parentPort, workerData } from 'node:worker_threads';
import { RocksLevel } from 'rocksdb';
import type { Space } from '../../core/ports.ts';
import { packValues, unpackKeys } from './packed-read.ts';
import { COLUMN_OF_SPACE } from './settings.ts';

/**
 * A reader thread: reads that may wait for the disk, so that the event loop does not. See readers.ts for the other side,
 * and for why it is not the thread pool. Owns nothing; ends when it is told to, before the database is closed.
 */

export interface ReadWorkerData {
  /** Of the open database. */
  readonly handle: bigint;
}

/** Or null: no more will come. */
export type ReadRequest = { readonly space: Space; readonly keys: ArrayBuffer } | null;

/** Of the requests in their order. `code` is RocksDB's, as the binding names it. */
export type ReadReply = ArrayBuffer | { readonly error: string; readonly code: string | undefined };

const port = parentPort;
if (port === null) {
  throw new Error('read-worker.ts runs as a worker thread only');
}
const database = new RocksLevel((workerData as ReadWorkerData).handle);
await database.open();

function read(space: Space, keys: ArrayBuffer): ArrayBuffer {
  const name = COLUMN_OF_SPACE[space];
  const column = database.columns[name];
  if (column === undefined) throw new Error(`the database has no column family ${name}`);
  const values = database._getManySync(unpackKeys(keys), { column });
  if (values.includes(null)) throw new Error(`RocksDB gave up on some of ${values.length} keys`);
  return packValues(values as (Uint8Array | undefined)[]);
}

port.on('message', (request: ReadRequest) => {
  if (request === null) {
    port.close();
    return;
  }
  try {
    const values = read(request.space, request.keys);
    port.postMessage(values satisfies ReadReply, [values]);
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    port.postMessage({ error: message, code } satisfies ReadReply);
  }
});
