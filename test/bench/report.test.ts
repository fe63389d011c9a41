import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, encodeIntoCompressedBase64 } from 'hdr-histogram-js';
import type { CaseReport } from './generator.ts';
import { byMix, figuresTable, footprint, footprintsTable, ratiosTable, summarize } from './report.ts';

function histogramOf(count: number, microseconds: number): string {
  const histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000 });
  if (count > 0) histogram.recordValueWithCount(microseconds, count);
  return encodeIntoCompressedBase64(histogram);
}

function round(changes: Partial<CaseReport> & { readonly count: number; readonly microseconds: number }): CaseReport {
  const { count, microseconds, ...others } = changes;
  return {
    path: 'default',
    workers: 64,
    ratePerSecond: 0,
    readFraction: 0.5,
    distribution: 'zipfian',
    valueBytes: 1024,
    seconds: 10,
    errors: 0,
    notBegun: 0,
    valuesRead: count,
    serverCpuSeconds: { 'node-1': 1, 'node-2': 3 },
    serverResidentBytes: { 'node-1': 1024 ** 2, 'node-2': 2 * 1024 ** 2 },
    generatorCpuSeconds: 1,
    reads: histogramOf(count, microseconds),
    writes: histogramOf(count, 2 * microseconds),
    ...others,
  };
}

test('percentiles are those of all rounds together, not a mean of percentiles', () => {
  const { reads } = summarize('etcd', [
    round({ count: 990, microseconds: 1000 }),
    round({ count: 10, microseconds: 8000 }),
  ]);
  assert.equal(reads.count, 1000);
  assert.equal(Math.round(reads.p50), 1);
  assert.equal(Math.round(reads.p99), 1);
  assert.equal(Math.round(reads.p999), 8);
});

test('throughput counts reads and writes of all rounds, and shows the lowest and the highest round', () => {
  const summary = summarize('etcd', [
    round({ count: 1000, microseconds: 10 }),
    round({ count: 2000, microseconds: 10, seconds: 5 }),
  ]);
  assert.deepEqual(summary.operationsPerSecond, { mean: 400, low: 200, high: 800 });
});

test('operations per CPU-second divide by the time of all servers', () => {
  const summary = summarize('etcd', [round({ count: 1000, microseconds: 10 })]);
  assert.deepEqual(summary.operationsPerServerCpuSecond, { mean: 500, low: 500, high: 500 });
});

test('siblings, errors and operations that were never begun are told', () => {
  const summary = summarize('cartwheel', [
    round({ path: 'direct', count: 100, microseconds: 10, valuesRead: 150, errors: 3, notBegun: 7 }),
  ]);
  assert.equal(summary.valuesPerRead, 1.5);
  assert.match(figuresTable([summary]), /\| 1\.50 \| 3 \| 3, and 7 never begun \|/);
});

test('a case in which nothing succeeded has a row without percentiles', () => {
  const summary = summarize('etcd', [round({ count: 0, microseconds: 10, errors: 9 })]);
  assert.match(figuresTable([summary]), /\| 0 \| 0 \| none \| none \| – \| 3 \| 9 \|/);
});

test('ratios compare the paths with each peer and with each other, under the same load only', () => {
  const summaries = [
    summarize('etcd', [round({ count: 1000, microseconds: 4000 })]),
    summarize('cassandra', [round({ count: 500, microseconds: 8000 })]),
    summarize('cartwheel', [round({ path: 'direct', count: 3000, microseconds: 1000 })]),
    summarize('cartwheel', [round({ path: 'router', count: 2000, microseconds: 2000 })]),
    summarize('cartwheel', [round({ path: 'router', workers: 256, count: 9000, microseconds: 1000 })]),
  ];
  const rows = ratiosTable(summaries).trim().split('\n').slice(2);
  assert.equal(rows.length, 5);
  assert.match(rows[0] ?? '', /cartwheel, direct : etcd \| 3\.0× \| 3\.0× \| 0\.25×, 0\.25×/);
  assert.match(rows[1] ?? '', /cartwheel, direct : cassandra \| 6\.0× \| 6\.0× \| 0\.12×, 0\.12×/);
  assert.match(rows[2] ?? '', /cartwheel, router : etcd \| 2\.0× \| 2\.0× \| 0\.50×, 0\.50×/);
  assert.match(rows[4] ?? '', /cartwheel, router : cartwheel, direct \| 0\.67× \| 0\.67× \| 2\.0×, 2\.0×/);
});

test('one store alone has no ratios', () => {
  assert.equal(ratiosTable([summarize('etcd', [round({ count: 1, microseconds: 10 })])]), '');
});

test('what was written to disks is divided by what values were written, over all rounds', () => {
  const summary = summarize('etcd', [round({ count: 1, microseconds: 10 })]);
  const print = footprint(
    [summary],
    [
      { valueBytesWritten: 100, serverBytesWritten: { 'node-1': 300, 'node-2': 300 } },
      { valueBytesWritten: 300, serverBytesWritten: { 'node-1': 600, 'node-2': 400 } },
    ],
  );
  assert.equal(print.bytesWrittenPerByte, 4);
  assert.match(footprintsTable([print]), /\| 1 KiB \| etcd \| 3 \| 4\.0 \|/);
});

test('what is resident is that of all servers in the round in which it was most', () => {
  const rounds = [1, 5, 2].map((bytes) =>
    round({ count: 1, microseconds: 10, serverResidentBytes: { 'node-1': bytes, 'node-2': bytes } }),
  );
  assert.equal(summarize('etcd', rounds).residentBytes, 10);
});

test('cases of another size, part of reads or distribution are another mix', () => {
  const summaries = [{}, { valueBytes: 128 }, { readFraction: 0 }, { distribution: 'uniform' } as const, {}].map(
    (changes) => summarize('etcd', [round({ count: 1, microseconds: 10, ...changes })]),
  );
  assert.deepEqual(
    [...byMix(summaries)].map(([name, ofMix]) => [name, ofMix.length]),
    [
      ['1 KiB, 50% reads, zipfian', 2],
      ['128 B, 50% reads, zipfian', 1],
      ['1 KiB, writes only, zipfian', 1],
      ['1 KiB, 50% reads, uniform', 1],
    ],
  );
});

test('the curve of latencies ends where their number can tell no further percentile', () => {
  const { reads } = summarize('etcd', [round({ count: 1000, microseconds: 2000 })]);
  const last = reads.curve.at(-1);
  assert.equal(last?.percentile.toFixed(1), '99.9');
  assert.ok(reads.curve.every(({ ms }) => Math.round(ms) === 2));
});
