import { randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Metrics, Mutation, Random, StorageEngine } from '../../services/core/ports.ts';
import { openRocksEngine } from '../../services/platform/rocksdb/engine.ts';
import { silentLog } from '../platform/recording-log.ts';

/** What the tests of the storage engine share. */

export const random: Random = {
  u64: () => randomBytes(8).readBigUInt64BE(),
  below: (bound) => randomInt(bound),
};

/** Metrics that can be read back: counters and gauges by name, the number of observations of histograms. */
export function recordingMetrics(): Metrics & { readonly values: Map<string, () => number> } {
  const values = new Map<string, () => number>();
  function counter(name: string) {
    let sum = 0;
    values.set(name, () => sum);
    return {
      add(n: number) {
        sum += n;
      },
    };
  }
  function histogram(name: string, _help: string, labels: Readonly<Record<string, string>> = {}) {
    const count = counter([name, ...Object.values(labels)].join(' '));
    return { observe: () => count.add(1) };
  }
  return {
    values,
    counter,
    histogram,
    sizes: histogram,
    gauge(name, _help, read) {
      values.set(name, read);
    },
    gauges() {},
  };
}

/** Engines of the test that runs, so that one that fails leaves no thread which keeps the process alive. */
const opened = new Set<StorageEngine>();

export async function openRocks(directory: string, metrics: Metrics = recordingMetrics()): Promise<StorageEngine> {
  const engine = await openRocksEngine({ directory, random, log: silentLog, metrics });
  opened.add(engine);
  return engine;
}

/** Afterwards the directory is gone, and the engines opened meanwhile are closed. */
export async function withTemporaryDirectory<T>(run: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'cartwheel-engine-'));
  try {
    return await run(directory);
  } finally {
    await Promise.all([...opened].map((engine) => engine.close()));
    opened.clear();
    await rm(directory, { recursive: true, force: true });
  }
}

export function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

export function text(value: string): Uint8Array {
  return Uint8Array.from(Buffer.from(value));
}

export function put(key: Uint8Array, value: Uint8Array): Mutation {
  return { space: 'records', key, value };
}

export function remove(key: Uint8Array): Mutation {
  return { space: 'records', key, value: undefined };
}

export async function get(engine: StorageEngine, key: Uint8Array): Promise<Uint8Array | undefined> {
  const [value] = await engine.getMany('records', [key]);
  return value && Uint8Array.from(value);
}

/** All entries of [start, end), read in pages of `limit`, in hexadecimal. */
export async function scanAll(
  engine: StorageEngine,
  start: Uint8Array,
  end: Uint8Array | undefined,
  limit: number,
): Promise<[key: string, value: string][]> {
  const found: [string, string][] = [];
  for (let from: Uint8Array | undefined = start; from !== undefined; ) {
    const page = await engine.scan('records', from, end, limit);
    if (page.entries.length > limit) {
      throw new Error(`a page of at most ${limit} entries was asked for, it has ${page.entries.length}`);
    }
    found.push(...page.entries.map(([key, value]): [string, string] => [hex(key), hex(value)]));
    from = page.next;
  }
  return found;
}

export function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
