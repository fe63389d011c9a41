/**
 * What it costs to hand an operation to another thread and take its answer back: the least that a process of several
 * threads which own partitions would pay for most of its operations, for the connection is on whichever thread accepted it.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** As much of an operation as has to cross. */
interface Parcel {
  readonly id: bigint;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly context: Uint8Array;
  readonly deadline: number;
}

const parcels = 200_000;
const warmup = 40_000;

export interface HopCost {
  readonly perMessage: number;
  /** Of both threads together, µs of CPU an operation, there and back. */
  readonly microseconds: number;
}

/** With 1, 8 and 64 operations in a message. */
export async function hopCosts(valueBytes: number): Promise<HopCost[]> {
  const worker = new Worker(new URL(import.meta.url));
  try {
    const costs: HopCost[] = [];
    for (const perMessage of [1, 8, 64]) {
      await crossings(worker, warmup, perMessage, valueBytes);
      const before = process.cpuUsage();
      await crossings(worker, parcels, perMessage, valueBytes);
      const { user, system } = process.cpuUsage(before);
      costs.push({ perMessage, microseconds: (user + system) / parcels });
    }
    return costs;
  } finally {
    await worker.terminate();
  }
}

/** As many messages under way as 64 clients would have. */
async function crossings(worker: Worker, count: number, perMessage: number, valueBytes: number): Promise<void> {
  let left = Math.ceil(count / perMessage);
  let underWay = 0;
  const send = () => {
    left--;
    underWay++;
    worker.postMessage(Array.from({ length: perMessage }, (_, i) => parcel(i, valueBytes)));
  };
  while (left > 0 && underWay * perMessage < 64) send();
  while (underWay > 0) {
    await once(worker, 'message');
    underWay--;
    if (left > 0) send();
  }
}

function parcel(i: number, valueBytes: number): Parcel {
  const bytes = (length: number) => new Uint8Array(length).fill(i);
  return { id: BigInt(i), key: bytes(16), value: bytes(valueBytes), context: bytes(40), deadline: i };
}

if (!isMainThread) {
  const port = parentPort;
  port?.on('message', (message: readonly Parcel[]) => port.postMessage(message));
}
