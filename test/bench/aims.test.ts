import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aimsTable } from './aims.ts';
import type { Percentiles, Summary } from './report.ts';

const latency = (ms: number): Percentiles => ({ count: 1, p50: ms, p99: ms, p999: ms, max: ms, curve: [] });
const figure = (value: number) => ({ mean: value, low: value, high: value });

function summary(store: string, path: string, operations: number, ms: number, changes: Partial<Summary> = {}): Summary {
  return {
    store,
    path,
    workers: 256,
    ratePerSecond: 0,
    readFraction: 0.5,
    distribution: 'zipfian',
    valueBytes: 1024,
    operationsPerSecond: figure(operations),
    operationsPerServerCpuSecond: figure(operations),
    reads: latency(ms),
    writes: latency(ms),
    valuesPerRead: 1,
    residentBytes: 1,
    errors: 0,
    notBegun: 0,
    ...changes,
  };
}

test('an aim of throughput is met at its ratio and missed below it', () => {
  const table = aimsTable([
    summary('cartwheel', 'direct', 3000, 1),
    summary('etcd', 'default', 1000, 1),
    summary('cassandra', 'default', 601, 1),
  ]);
  assert.match(table, /ops\/s \| cartwheel, direct : etcd \| at least 3\.0× \| 3\.0× \| met \|/);
  assert.match(table, /ops\/s \| cartwheel, direct : cassandra \| at least 5\.0× \| 5\.0× \| \*\*missed\*\* \|/);
});

test('an aim of a tail is met at or below its ratio', () => {
  const open = { ratePerSecond: 2000 };
  const table = aimsTable([
    summary('cartwheel', 'direct', 2000, 10, open),
    summary('etcd', 'default', 2000, 40, open),
    summary('cassandra', 'default', 2000, 90, open),
  ]);
  assert.match(table, /read p99\.9 \| cartwheel, direct : etcd \| at most 0\.25× \| 0\.25× \| met \|/);
  assert.match(table, /write p99\.9 \| cartwheel, direct : cassandra \| at most 0\.10× \| 0\.11× \| \*\*missed\*\* \|/);
});

test('there are aims for the usual mix only', () => {
  const writes = { readFraction: 0 };
  const pair = [summary('cartwheel', 'direct', 3000, 1, writes), summary('etcd', 'default', 1000, 1, writes)];
  assert.equal(aimsTable(pair), '');
});
