/**
 * A client inside the cluster, run in a pod of the image by clients.ts: writes and reads all the time until its standard input
 * ends, half through the Service and half straight to storage nodes; then reads again everything that was acknowledged.
 *
 *     node load.ts SERVICE:PORT NAME PATIENCE_MS
 *
 * It prints a line once every worker has written and read, and a LoadReport as JSON at its end.
 *
 * An operation is tried again, a write under one request id, until it succeeds or PATIENCE_MS are over: then it has failed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '../../client/index.ts';

export interface LoadReport {
  /** Acknowledged. */
  readonly writes: number;
  readonly reads: number;
  /** Attempts after the first. */
  readonly again: number;
  /** Of the operation that took longest, with all its attempts. */
  readonly longestMs: number;
  /** What was given up, and why. */
  readonly failed: readonly string[];
  /** What was acknowledged, and what is read instead. */
  readonly lost: readonly string[];
}

const workers = 4;
const readers = 32;
const attemptMs = 5_000;
const betweenAttemptsMs = 100;
const betweenWritesMs = 20;

const [endpoint = '', name = '', patienceMs = ''] = process.argv.slice(2);
const clients = [connect({ endpoints: [endpoint] }), connect({ endpoints: [endpoint], direct: true })] as const;
const clientOf = (worker: number) => clients[worker % 2 === 0 ? 0 : 1];
const written: string[] = [];
const failed: string[] = [];
const lost: string[] = [];
let [reads, again, longestMs] = [0, 0, 0];
let over = false;
let notBegun = workers;

/** Whether it succeeded in the end. */
async function done(what: string, attempt: (before: number) => Promise<unknown>): Promise<boolean> {
  const from = performance.now();
  for (let before = 0; ; before++) {
    try {
      await attempt(before);
      longestMs = Math.max(longestMs, performance.now() - from);
      return true;
    } catch (error) {
      if (performance.now() - from > Number(patienceMs)) {
        failed.push(`${what}: ${(error as Error).message}`);
        return false;
      }
      again++;
      await pause(betweenAttemptsMs);
    }
  }
}

async function work(worker: number): Promise<void> {
  const client = clientOf(worker);
  for (let i = 0; !over; i++) {
    const key = `${name} ${worker} ${i}`;
    const requestId = Buffer.from(`${i} ${worker} ${name}`).subarray(0, 32);
    const put = (attempt: number) => client.put(key, key, { timeoutMs: attemptMs, requestId, attempt });
    if (await done(`put ${key}`, put)) written.push(key);
    if (await done(`get ${key}`, () => client.get(key, { timeoutMs: attemptMs }))) reads++;
    if (i === 0 && --notBegun === 0) console.log('begun');
    await pause(betweenWritesMs);
  }
}

async function readAgain(reader: number): Promise<void> {
  const client = clientOf(reader);
  for (let i = reader; i < written.length; i += readers) {
    const key = written[i] as string;
    await done(`get ${key} at the end`, async () => {
      const { siblings } = await client.get(key, { timeoutMs: attemptMs });
      const values = siblings.map(({ value }) => value.toString());
      if (values.length !== 1 || values[0] !== key) lost.push(`${key}: ${JSON.stringify(values)}`);
    });
  }
}

process.stdin.resume().once('end', () => {
  over = true;
});
await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
await Promise.all(Array.from({ length: readers }, (_, reader) => readAgain(reader)));
await Promise.all(clients.map((client) => client.close()));
const report: LoadReport = { writes: written.length, reads, again, longestMs: Math.round(longestMs), failed, lost };
console.log(JSON.stringify(report));
// gRPC does not end a connection that is being made: one to a pod that is gone would keep this process for two minutes.
process.exit();
