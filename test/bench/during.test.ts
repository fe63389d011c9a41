import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench } from '../../cli/bench/run.ts';
import type { CartwheelClient } from '../../client/index.ts';
import { during } from './during.ts';

function setup() {
  const asked = { count: 0 };
  const get = async () => {
    asked.count++;
    return { context: Buffer.alloc(0) };
  };
  const workload = { keys: 1, reads: 1, distribution: 'uniform' } as const;
  const { signal } = new AbortController();
  const plan = { workload, value: Buffer.alloc(0), concurrency: 1, rate: 1_000, operation: {}, signal };
  return { asked, bench: new Bench({ get } as unknown as CartwheelClient, plan) };
}

test('the load goes on until the work is done', { timeout: 30_000 }, async () => {
  const { asked, bench } = setup();
  const { reads } = await during(bench, async () => {
    while (asked.count < 3) await new Promise(setImmediate);
  });
  assert.ok(reads.totalCount >= 3);
});

test('work that fails ends the load, which would keep the program alive for an hour', { timeout: 30_000 }, async () => {
  const { asked, bench } = setup();
  const failing = async () => {
    while (asked.count < 3) await new Promise(setImmediate);
    throw new Error('interrupted');
  };
  await assert.rejects(during(bench, failing), /interrupted/);
  const before = asked.count;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(asked.count, before);
});
