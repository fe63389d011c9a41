/** docs/metrics.md says what the processes show. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { describeMetrics, metricsPage } from '../../docs/generate/metrics.ts';
import { hangMs } from './support.ts';

const skip = process.platform === 'linux' ? false : 'the page is of a process as Linux shows it';

test('docs/metrics.md is what `npm run docs:metrics` writes now, and counters alone end in _total', {
  timeout: hangMs,
  skip,
}, async () => {
  const metrics = await describeMetrics();
  assert.equal(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8'), metricsPage(metrics));
  for (const { name, type, help } of metrics.filter((metric) => metric.name.startsWith('cartwheel_'))) {
    assert.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`);
    assert.match(help, /^\S.{5,}$/, name);
  }
});
