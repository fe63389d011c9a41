/** What of V8's heap scavenges leave, which collect the young generation only. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

/**
 * Bytes, after `work(operations)`, that were not there before; everything was collected once, after some work of the same
 * kind. Synchronous: of promises the test runner keeps more.
 */
export function heapLeftBy(work: (operations: number) => void, operations: number): number {
  work(1_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  work(operations);
  collect({ type: 'minor' });
  return process.memoryUsage().heapUsed - before;
}
