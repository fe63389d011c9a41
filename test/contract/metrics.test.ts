import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOUNDS_MS } from '../../services/platform/histogram.ts';
import { createMetrics, MAX_SERIES_PER_METRIC } from '../../services/platform/metrics.ts';
import { softwareVersion } from '../../services/platform/version.ts';
import { parsePrometheusText } from './prometheus-text.ts';

async function scrape(metrics: ReturnType<typeof createMetrics>) {
  return parsePrometheusText(await metrics.text());
}

test('a scrape is Prometheus text, the metrics of the process among it', async () => {
  const families = await scrape(createMetrics({ service: 'storage-node', node: 'node-1:7411', zone: 'north' }));
  const info = families.get('cartwheel_process_info')?.samples[0]?.labels;
  assert.deepEqual(
    ['service', 'node', 'zone', 'version'].map((label) => info?.get(label)),
    ['storage-node', 'node-1:7411', 'north', softwareVersion],
  );
  for (const name of ['process_cpu_seconds_total', 'nodejs_eventloop_lag_seconds', 'nodejs_gc_duration_seconds']) {
    assert.ok(families.has(name), name);
  }
});

test('a histogram has cumulative buckets in seconds, a sum and a count', async () => {
  const metrics = createMetrics({ service: 'test' });
  const handle = metrics.histogram('cartwheel_rpc_seconds', 'Calls.', { method: 'Get', code: 'OK' });
  for (const milliseconds of [0.01, 1, 1, 2.4, 100, 1_000_000]) handle.observe(milliseconds);
  const family = (await scrape(metrics)).get('cartwheel_rpc_seconds');
  assert.equal(family?.type, 'histogram');
  const samples = family?.samples ?? [];
  const buckets = samples.filter(({ name }) => name === 'cartwheel_rpc_seconds_bucket');
  assert.deepEqual(
    buckets.map(({ labels }) => Number(labels.get('le')?.replace('+Inf', 'Infinity'))),
    [...Array.from(BOUNDS_MS, (bound) => bound / 1_000), Number.POSITIVE_INFINITY],
  );
  const atMost = (le: string) => buckets.find(({ labels }) => labels.get('le') === le)?.value;
  assert.equal(atMost('0.00075'), 1);
  assert.equal(atMost('0.001'), 3);
  assert.equal(atMost('0.002'), 3);
  assert.equal(atMost('0.0025'), 4);
  assert.equal(atMost('65.536'), 5);
  assert.equal(atMost('+Inf'), 6);
  const value = (name: string) => samples.find((sample) => sample.name === name)?.value;
  assert.equal(value('cartwheel_rpc_seconds_count'), 6);
  assert.ok(Math.abs((value('cartwheel_rpc_seconds_sum') ?? 0) - 1_000.10441) < 1e-9);
  for (const { labels } of samples) assert.equal(labels.get('method'), 'Get');
});

test('sizes are exported as they are, in buckets of powers of two', async () => {
  const metrics = createMetrics({ service: 'test' });
  const handle = metrics.sizes('cartwheel_siblings', 'Siblings.');
  for (const size of [1, 1, 3, 4, 5]) handle.observe(size);
  const samples = (await scrape(metrics)).get('cartwheel_siblings')?.samples ?? [];
  const atMost = (le: string) => samples.find(({ labels }) => labels.get('le') === le)?.value;
  assert.deepEqual([atMost('1'), atMost('2'), atMost('4'), atMost('8'), atMost('+Inf')], [2, 2, 4, 5, 5]);
  assert.equal(samples.find(({ name }) => name === 'cartwheel_siblings_sum')?.value, 14);
});

test('counters add, and a gauge is read at each scrape', async () => {
  const metrics = createMetrics({ service: 'test' });
  const counter = metrics.counter('c_total', 'A counter.');
  let level = 1;
  metrics.gauge('g', 'A gauge.', () => level);
  counter.add(2);
  counter.add(3);
  assert.equal((await scrape(metrics)).get('g')?.samples[0]?.value, 1);
  level = -0.5;
  const families = await scrape(metrics);
  assert.equal(families.get('c_total')?.samples[0]?.value, 5);
  assert.equal(families.get('g')?.samples[0]?.value, -0.5);
});

test('gauges that come and go have the series that there are at a scrape, and none where there are none', async () => {
  const metrics = createMetrics({ service: 'test' });
  let lags = new Map([
    ['7', 90.5],
    ['4"2', 70],
  ]);
  metrics.gauges('lag_seconds', 'Lags.', 'partition', () => lags);
  const seen = async () =>
    (await scrape(metrics)).get('lag_seconds')?.samples.map(({ labels, value }) => [labels.get('partition'), value]);
  assert.deepEqual(await seen(), [...lags]);
  lags = new Map();
  assert.deepEqual(await seen(), []);
  lags = new Map(Array.from({ length: MAX_SERIES_PER_METRIC + 50 }, (_, i) => [String(i), i]));
  assert.equal((await seen())?.length, MAX_SERIES_PER_METRIC);
});

test('the same name and labels are the same series, in any order of the labels', async () => {
  const metrics = createMetrics({ service: 'test' });
  metrics.counter('c_total', 'A counter.', { a: '1', b: '2' }).add(1);
  metrics.counter('c_total', 'A counter.', { b: '2', a: '1' }).add(1);
  const samples = (await scrape(metrics)).get('c_total')?.samples;
  assert.deepEqual(
    samples?.map(({ value }) => value),
    [2],
  );
});

test('label values and help texts arrive as they were, whatever is in them', async () => {
  const metrics = createMetrics({ service: 'test' });
  const hostile = 'a"b\\c\nd{e="f"} 1 # HELP';
  metrics.counter('c_total', hostile, { peer: hostile }).add(1);
  const family = (await scrape(metrics)).get('c_total');
  assert.equal(family?.help, hostile);
  assert.equal(family?.samples[0]?.labels.get('peer'), hostile);
});

test('a metric that is asked for as another kind, with other labels or a wrong name is a bug that says so', () => {
  const metrics = createMetrics({ service: 'test' });
  metrics.counter('c_total', 'A counter.', { a: '1' });
  assert.throws(() => metrics.histogram('c_total', 'x', { a: '1' }), /c_total is a counter .* histogram/);
  assert.throws(() => metrics.counter('c_total', 'x', { b: '1' }), /labels \(a\).*\(b\)/);
  assert.throws(() => metrics.counter('c-total', 'x'), /"c-total"/);
  assert.throws(() => metrics.counter('d_total', 'x', { 'a b': '1' }), /"a b"/);
});

test('past the cap of series, more of them are one', async () => {
  const metrics = createMetrics({ service: 'test' });
  const more = 50;
  for (let i = 0; i < MAX_SERIES_PER_METRIC + more; i++) metrics.counter('c_total', 'x', { key: `k${i}` }).add(1);
  const samples = (await scrape(metrics)).get('c_total')?.samples ?? [];
  assert.equal(samples.length, MAX_SERIES_PER_METRIC + 1);
  assert.equal(samples.find(({ labels }) => labels.get('key') === 'other')?.value, more);
});
