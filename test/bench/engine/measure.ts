/**
 * One storage engine under load, alone in its process: half of the operations are synced writes of a record and of
 * the request that made it, a quarter reads of records, a quarter reads of keys that are not there, which a put of a new
 * key begins with. Then it is closed, and opened again.
 *
 *     node measure.ts VARIANT DIRECTORY JSON-OF-LOAD
 *
 * Prints a Measured as JSON. Whoever starts it removes the directory: it may be ended at any time.
 */
import '../../../cli/dev/leash.ts';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { encodeIntoCompressedBase64 } from 'hdr-histogram-js';
import { latencyHistogram, recordLatency } from '../../../cli/bench/run.ts';
import { keyName } from '../../../cli/bench/workload.ts';
import type { Mutation, StorageEngine } from '../../../services/core/ports.ts';
import { xxh64 } from '../../../services/platform/hash.ts';
import { createRandom } from '../../../services/platform/random.ts';
import { databaseDirectory } from '../../../services/platform/rocksdb/data-directory.ts';
import { openRocksEngine } from '../../../services/platform/rocksdb/engine.ts';
import { residentBytes } from '../../e2e/support.ts';
import { silentLog } from '../../platform/recording-log.ts';
import { createReadableMetrics } from '../../storage-node/metrics.ts';
import { inParallel } from '../growth/work.ts';
import { variants } from './variants.ts';

export interface Load {
  readonly keys: number;
  readonly valueBytes: number;
  readonly operations: number;
  readonly workers: number;
}

export interface Measured {
  readonly seconds: number;
  /** Of all threads, while `operations` were carried out. */
  readonly cpuSeconds: number;
  /** Microseconds, compressed. */
  readonly reads: string;
  readonly writes: string;
  /** Of a write: all that went to the disk, from the first key on, by what was written. */
  readonly bytesPerByte: number;
  readonly residentBytes: number;
  /** Of the write-ahead log when it was closed: what an opening reads again. */
  readonly logBytes: number;
  readonly closeSeconds: number;
  readonly openSeconds: number;
}

/** What is loaded at once. */
const loadAtOnceBytes = 64 * 1024;
const requestBytes = 12;

const [variant, directory, load] = process.argv.slice(2) as [string, string, string];
console.log(JSON.stringify(await measure(JSON.parse(load) as Load)));

async function measure({ keys, valueBytes, operations, workers }: Load): Promise<Measured> {
  // Half of each can be compressed away.
  const values = Array.from({ length: 64 }, () => randomBytes(valueBytes).fill('cartwheel', valueBytes / 2));
  const random = createRandom();
  const [reads, writes] = [latencyHistogram(), latencyHistogram()];
  const signal = new AbortController().signal;
  let written = 0;
  const wroteBefore = bytesWritten();
  let engine = await open();

  async function write(numbers: readonly number[], sync: boolean): Promise<void> {
    const mutations: Mutation[] = [];
    for (const number of numbers) {
      const value = values[written++ % values.length] as Buffer;
      mutations.push({ space: 'records', key: keyOf(number), value });
      mutations.push({ space: 'requests', key: randomBytes(28), value: randomBytes(requestBytes) });
    }
    await engine.write(mutations, sync);
  }

  const loadAtOnce = Math.max(1, Math.floor(loadAtOnceBytes / valueBytes));
  await inParallel(Math.ceil(keys / loadAtOnce), workers, signal, (i) =>
    write(
      Array.from({ length: Math.min(loadAtOnce, keys - i * loadAtOnce) }, (_, n) => i * loadAtOnce + n),
      false,
    ),
  );
  await engine.write([], true);

  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  await inParallel(operations, workers, signal, async (i) => {
    const startedAt = performance.now();
    const number = random.below(keys);
    if (i % 2 === 0) await write([number], true);
    // Odd numbers: those past the last key are not there.
    else await engine.getMany('records', [keyOf(i % 4 === 1 ? number : number + keys)]);
    recordLatency(i % 2 === 0 ? writes : reads, performance.now() - startedAt);
  });
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const bytesPerByte = (bytesWritten() - wroteBefore) / (written * valueBytes);
  const resident = residentBytes(process.pid);

  const logBytes = bytesOfLogs();
  const closeSeconds = await secondsOf(() => engine.close());
  const openSeconds = await secondsOf(async () => {
    engine = await open();
    await engine.getMany('records', [keyOf(0)]);
  });
  await engine.close();
  return {
    ...{ seconds, cpuSeconds: (user + system) / 1e6, bytesPerByte, residentBytes: resident },
    ...{ reads: encodeIntoCompressedBase64(reads), writes: encodeIntoCompressedBase64(writes) },
    ...{ logBytes, closeSeconds, openSeconds },
  };
}

function open(): Promise<StorageEngine> {
  const settings = variants[variant];
  if (settings === undefined) throw new Error(`no such variant: ${variant}`);
  const metrics = createReadableMetrics();
  return openRocksEngine({ directory, random: createRandom(), log: silentLog, metrics, settings });
}

/** Scattered, as the hash in front of a storage key scatters them. */
function keyOf(number: number): Buffer {
  const key = Buffer.from(`--------${keyName(number)}`);
  key.writeBigUInt64BE(xxh64(key.subarray(8)));
  return key;
}

async function secondsOf(run: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await run();
  return (performance.now() - began) / 1000;
}

/** By this process, to the disk. */
function bytesWritten(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

function bytesOfLogs(): number {
  const database = databaseDirectory(directory);
  const logs = readdirSync(database).filter((name) => name.endsWith('.log'));
  return logs.reduce((sum, name) => sum + statSync(join(database, name)).size, 0);
}
