/** The rules of the chart: alerts that fire and stay silent, over series that there are, each with its page. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BOUNDS_MS } from '../../services/platform/histogram.ts';
import { done, isThere } from '../k8s/tools.ts';
import { checkSeries, rulesFile } from './known-series.ts';

const skip = (await isThere('promtool')) ? false : 'there is no promtool (Debian: apt-get install prometheus)';
const here = new URL('./', import.meta.url);
const runbooks = new URL('../../docs/runbooks/', import.meta.url);
const rules = readFileSync(rulesFile, 'utf8');
const alerts = new Set([...rules.matchAll(/alert: (\w+)/g)].map(([, name = '']) => name));
const unitTests = readdirSync(here).filter((file) => file.endsWith('.yaml'));

for (const file of unitTests) {
  test(`promtool test rules ${file}`, { skip }, async () => {
    await done('promtool', 'test', 'rules', fileURLToPath(new URL(file, here)));
  });
}

test('promtool has nothing to say against the rules', { skip }, async () => {
  await done('promtool', 'check', 'rules', '--lint-fatal', fileURLToPath(rulesFile));
});

test('every alert is tested, firing and silent', () => {
  assert.ok(alerts.size > 10);
  for (const alert of alerts) {
    const file = `${alert}.yaml`;
    assert.ok(unitTests.includes(file), `test/rules/${file}`);
    const text = readFileSync(new URL(file, here), 'utf8');
    assert.match(text, new RegExp(`alertname: ${alert}\\n +exp_alerts:\\n +- exp_labels`), `${file}: it fires`);
    assert.match(text, new RegExp(`alertname: ${alert}, exp_alerts: \\[\\]`), `${file}: it is silent`);
  }
});

test('every alert has its page, its line in docs/slo.md and one of two severities, and every page its alert', () => {
  const slo = readFileSync(new URL('../../docs/slo.md', import.meta.url), 'utf8');
  const blocks = rules.split(/- alert: /).slice(1);
  for (const block of blocks) {
    const [name = ''] = block.split('\n');
    assert.ok(block.includes(`runbook_url: docs/runbooks/${name}.md\n`), name);
    assert.match(block, /severity: (page|ticket) /, name);
    assert.match(block, /summary: \S/, name);
    const page = new URL(`${name}.md`, runbooks);
    assert.ok(existsSync(page), `${page}`);
    assert.match(
      readFileSync(page, 'utf8'),
      new RegExp(`^# ${name}\n\n\\S[^#]+\n## Look\n\n- [^#]+\n## Do\n\n- `),
      name,
    );
    assert.ok(slo.includes(`(runbooks/${name}.md)`), `docs/slo.md has no ${name}`);
  }
  assert.deepEqual(readdirSync(runbooks).sort(), [...alerts].map((name) => `${name}.md`).sort());
});

test('rules, pages and docs/slo.md name only series that there are, with labels that they have', () => {
  const named = new Set(checkSeries(rules.replaceAll(/record: \S+/g, '')));
  assert.ok(named.has('cartwheel_operation_seconds_bucket') && named.size > 20);
  const pages = readdirSync(runbooks).map((page) => readFileSync(new URL(page, runbooks), 'utf8'));
  for (const text of pages) {
    for (const [, code = ''] of text.matchAll(/`([^`]+)`/g)) if (code.includes('(')) checkSeries(code);
  }
});

test('the threshold of the chart is a bound of the histograms, and may be any other from 4 ms to 10 s', () => {
  const schema = JSON.parse(readFileSync(new URL('../../helm/cartwheel/values.schema.json', import.meta.url), 'utf8'));
  const bounds = Array.from(BOUNDS_MS).filter((ms) => ms >= 4 && ms <= 10_000);
  assert.deepEqual(schema.properties.prometheusRule.properties.latencyMs.enum, bounds);
  assert.ok(bounds.every(Number.isInteger) && bounds.includes(300));
  assert.match(rules, /le="0\.3"/);
});
