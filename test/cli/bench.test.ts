import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { processorSeconds } from '../../cli/bench/processor-time.ts';
import { Bench } from '../../cli/bench/run.ts';
import { keyChooser, keyName } from '../../cli/bench/workload.ts';
import type { CartwheelClient } from '../../client/index.ts';

/** A small generator of its own, so that a failure can be seen again (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('every key that is drawn exists', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.constantFrom('zipfian' as const, 'uniform' as const),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (keys, distribution, u) => {
        const key = keyChooser({ keys, reads: 1, distribution }, () => u)();
        assert.ok(Number.isInteger(key) && key >= 0 && key < keys, String(key));
      },
    ),
    { numRuns: 50 },
  );
});

test('the k-th most popular key is drawn about 1 / k^0.99 as often as the first', () => {
  const draws = 200_000;
  const next = keyChooser({ keys: 1000, reads: 1, distribution: 'zipfian' }, seeded(1));
  const counts = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const key = next();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const popular = [...counts.values()].sort((a, b) => b - a);
  const first = popular[0] as number;
  for (const k of [2, 10, 100]) {
    const ratio = ((popular[k - 1] as number) / first) * k ** 0.99;
    assert.ok(ratio > 0.75 && ratio < 1.35, `rank ${k}: ${ratio}`);
  }
});

test('uniform keys are all drawn about as often', () => {
  const next = keyChooser({ keys: 10, reads: 1, distribution: 'uniform' }, seeded(2));
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const key = next();
    counts[key] = (counts[key] as number) + 1;
  }
  assert.ok(
    counts.every((n) => n > 800 && n < 1200),
    counts.join(),
  );
});

test('a put carries the context of the last answer for its key, so that a bench leaves no siblings', async () => {
  const contexts: string[] = [];
  let n = 0;
  const store = {
    get: async () => ({ context: Buffer.from('from get') }),
    put: async (_: string, __: Uint8Array, { context }: { context?: Uint8Array }) => {
      contexts.push(context === undefined ? '' : Buffer.from(context).toString());
      return { context: Buffer.from(`put ${++n}`) };
    },
  } as unknown as Pick<CartwheelClient, 'get' | 'put'>;
  const controller = new AbortController();
  const bench = new Bench(store, {
    workload: { keys: 1, reads: 0, distribution: 'uniform' },
    value: Buffer.alloc(1),
    concurrency: 1,
    rate: 1000,
    operation: {},
    signal: controller.signal,
  });
  await bench.loadKeys(() => {});
  await bench.run(0.05);
  assert.deepEqual(contexts.slice(0, 3), ['from get', 'put 1', 'put 2']);
});

test('in an open loop an operation that had to wait counts from when it was due', async () => {
  let calls = 0;
  const store = {
    get: async () => {
      // The first answer takes 100 ms; the operations due meanwhile wait for the only worker.
      if (calls++ === 0) await new Promise((resolve) => setTimeout(resolve, 100));
      return { context: Buffer.alloc(0) };
    },
  } as unknown as Pick<CartwheelClient, 'get' | 'put'>;
  const bench = new Bench(store, {
    workload: { keys: 1, reads: 1, distribution: 'uniform' },
    value: Buffer.alloc(0),
    concurrency: 1,
    rate: 100,
    operation: {},
    signal: new AbortController().signal,
  });
  const { reads, errors } = await bench.run(0.2);
  assert.equal(errors.size, 0);
  // At 100/s ten operations became due in those 100 ms, of at most twenty in all.
  assert.ok(reads.getValueAtPercentile(75) > 10_000, reads.outputPercentileDistribution());
});

const answersAtOnce = { get: async () => ({ context: Buffer.alloc(0) }) } as unknown as Pick<
  CartwheelClient,
  'get' | 'put'
>;
const slowly = { value: Buffer.alloc(0), concurrency: 8, rate: 10, operation: {} };
const onlyReads = { keys: 5, reads: 1, distribution: 'uniform' as const };

test('an open loop with more workers than operations waits for none that is due after the end, and its rate is over all of it', {
  timeout: 30_000,
}, async () => {
  const { signal } = new AbortController();
  // The second operation is due in a minute.
  const result = await new Bench(answersAtOnce, { ...slowly, rate: 1 / 60, workload: onlyReads, signal }).run(0.25);
  assert.equal(result.reads.totalCount, 1);
  assert.ok(result.seconds >= 0.25);
});

test('an abort ends an open loop at once, with the time that it took', async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  const bench = new Bench(answersAtOnce, { ...slowly, workload: onlyReads, signal: controller.signal });
  const { seconds } = await bench.run(60);
  assert.ok(seconds < 60, String(seconds));
});

test('connecting reads, and is not troubled by a store that refuses', async () => {
  let reads = 0;
  const store = {
    get: async () => {
      reads++;
      throw new Error('refused');
    },
  } as unknown as Pick<CartwheelClient, 'get' | 'put'>;
  await new Bench(store, { ...slowly, workload: onlyReads, signal: new AbortController().signal }).connect();
  assert.equal(reads, 5);
});

test('the processor time of a process grows with its work, and of one that is gone is not known', () => {
  const before = processorSeconds([process.pid]) as number;
  const until = performance.now() + 60;
  while (performance.now() < until) keyName(7);
  assert.ok((processorSeconds([process.pid]) as number) > before);
  assert.equal(processorSeconds([process.pid, 999_999_999]), undefined);
});

test('no operation of an open loop is counted as shorter than it was, though timers may be early', async () => {
  const took: number[] = [];
  const store = {
    get: async () => {
      const began = performance.now();
      while (performance.now() - began < 0.2); // all alike
      took.push(performance.now() - began);
      return { context: Buffer.alloc(0) };
    },
  } as unknown as Pick<CartwheelClient, 'get' | 'put'>;
  const { signal } = new AbortController();
  const bench = new Bench(store, { ...slowly, concurrency: 1, rate: 700, workload: onlyReads, signal });
  const { reads } = await bench.run(0.3);
  assert.equal(reads.totalCount, took.length);
  const least = Math.min(...took) * 1000 - 1; // of whole microseconds
  assert.ok(reads.minNonZeroValue >= least, `${reads.minNonZeroValue} µs counted, ${least} taken at least`);
});
