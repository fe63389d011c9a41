/** The dashboards of the chart: as their descriptions make them, whole, over series that there are. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chartFiles } from '../../helm/generate/chart-files.ts';
import { done, isThere } from '../k8s/tools.ts';
import { checkSeries, rulesFile } from '../rules/known-series.ts';
import { annotationQueries, chartDashboards, dashboardsDirectory, panelQueries } from './queries.ts';

const dashboards = chartDashboards();
const rules = readFileSync(rulesFile, 'utf8');
const skip = (await isThere('promtool')) ? false : 'there is no promtool (Debian: apt-get install prometheus)';

/** Those that ask something. */
const panels = dashboards.flatMap(([file, dashboard]) =>
  dashboard.panels
    .filter(({ type }) => type !== 'row')
    .map((panel) => ({ ...panel, file, at: `${file}: ${panel.title}`, links: panel.links ?? [] })),
);

test('what is made for the chart is what `npm run chart:generate` writes now, and nothing else', () => {
  const made = chartFiles();
  for (const [path, content] of made) assert.equal(readFileSync(path, 'utf8'), content, `${path} is stale`);
  const urls = made.flatMap(([{ href }]) => (href.startsWith(dashboardsDirectory.href) ? [href] : []));
  assert.deepEqual(dashboards.map(([file]) => new URL(file, dashboardsDirectory).href).sort(), urls.sort());
});

test('what is made twice is the same', () => {
  assert.deepEqual(chartFiles(), chartFiles());
});

test('each dashboard has an address of its own, and panels that lie beside each other and ask something', () => {
  assert.equal(new Set(dashboards.map(([, { uid }]) => uid)).size, dashboards.length);
  for (const [file, { panels }] of dashboards) {
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, file);
    const taken = new Set<string>();
    for (const { title, type, gridPos, targets = [] } of panels) {
      assert.ok(Number.isInteger(gridPos.w) && gridPos.x + gridPos.w <= 24, `${file}: ${title} is too wide`);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x} ${y}`), `${file}: ${title} covers another panel`);
          taken.add(`${x} ${y}`);
        }
      }
      if (type === 'row') continue;
      assert.ok(targets.length > 0, `${file}: ${title}`);
      assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, `${file}: ${title}`);
    }
  }
});

test('no row has more panels than a person takes in, and no dashboard has two of one title', () => {
  for (const [file, { panels }] of dashboards) {
    let inRow = 0;
    for (const { type, title } of panels) {
      inRow = type === 'row' ? 0 : inRow + 1;
      assert.ok(inRow <= 12, `${file}: ${title} is the ${inRow}th of its row`);
    }
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length, file);
  }
});

test('every panel says what it shows, in which unit, and has a legend where it has lines', () => {
  for (const { at, type, description = '', fieldConfig, targets = [] } of panels) {
    assert.match(description, /^[A-Z1].+\.( |\n|$)/s, at);
    assert.ok(fieldConfig?.defaults.unit, at);
    if (type !== 'stat') for (const { legendFormat } of targets) assert.ok(legendFormat, at);
  }
});

test('every panel with limits says what is bad', () => {
  for (const { at, description = '', fieldConfig } of panels) {
    if (fieldConfig?.defaults.thresholds !== undefined) assert.match(description, /\*\*Bad:\*\* .+\.$/s, at);
  }
});

test('links lead to runbooks and dashboards that there are, and to the runbook of every alert', () => {
  const pages = new Set<string>();
  const addresses = dashboards.map(([, { uid }]) => `/d/${uid}`);
  for (const { at, links, fieldConfig } of panels) {
    for (const { url } of [...links, ...(fieldConfig?.defaults.links ?? [])]) {
      if (url.startsWith('docs/runbooks/')) pages.add(url);
      else assert.ok(addresses.includes(url.replace(/\?.*/, '')), `${at}: ${url}`);
    }
  }
  for (const [file, { uid, panels: own }] of dashboards) {
    for (const { links = [] } of own) assert.ok(!links.some(({ url }) => url.startsWith(`/d/${uid}?`)), file);
  }
  for (const page of pages) assert.ok(existsSync(new URL(`../../${page}`, import.meta.url)), page);
  assert.deepEqual([...pages].sort(), [...new Set(rules.match(/docs\/runbooks\/\w+\.md/g))].sort());
});

test('p50, p99 and p99.9 have one colour each, which no limit has', () => {
  const colours = new Map<string, string>();
  const ofLimits = new Set(
    panels.flatMap(({ fieldConfig }) => fieldConfig?.defaults.thresholds?.steps ?? []).map(({ color }) => color),
  );
  for (const { at, fieldConfig } of panels) {
    for (const { matcher, properties } of fieldConfig?.overrides ?? []) {
      const { fixedColor } = properties.find(({ id }) => id === 'color')?.value as { fixedColor: string };
      assert.equal(fixedColor, colours.get(matcher.options) ?? fixedColor, at);
      assert.ok(!ofLimits.has(fixedColor), at);
      colours.set(matcher.options, fixedColor);
    }
  }
  assert.deepEqual([...colours.keys()], ['p50', 'p99', 'p99.9']);
  assert.equal(new Set(colours.values()).size, 3);
});

test('the line of the objective is where the rules count', () => {
  assert.match(rules, /le="0\.3"/);
  const texts = dashboards.map(([file]) => readFileSync(new URL(file, dashboardsDirectory), 'utf8'));
  for (const { at, fieldConfig, targets = [] } of panels) {
    const isOfObjective = fieldConfig?.defaults.thresholds?.steps.some(({ value }) => value === 0.3) ?? false;
    assert.ok(
      !isOfObjective || targets.some(({ expr }) => /cartwheel_(operation|coordination)_seconds/.test(expr)),
      at,
    );
  }
  // As templates/dashboards.yaml looks for it.
  for (const text of texts) assert.equal(text.match(/"value": 0\.3,/g)?.length, text.match(/\b0\.3\b/g)?.length);
});

/** Of the cluster that was chosen; and of its processes that were, but for what is recorded of the whole, or one number of it. */
function checkChosen(expr: string, type: string, at: string): void {
  const found = checkSeries(expr);
  const selectors = [...expr.matchAll(/\{([^}]*)\}/g)].map(([, selector = '']) => selector);
  assert.ok(found.length > 0 && found.length === selectors.length, `${at}: ${expr}`);
  for (const [i, selector] of selectors.entries()) {
    assert.ok(selector.includes('namespace=~"$namespace",release=~"$release"'), `${at}: ${expr}`);
    const ofWhole = type === 'stat' || found[i]?.startsWith('cartwheel:');
    assert.ok(ofWhole || selector.includes('instance=~"$instance"'), `${at}: ${expr}`);
  }
}

test('every query is of series that there are, with labels that they have, and of what was chosen', () => {
  for (const { at, type, targets = [] } of panels) for (const { expr } of targets) checkChosen(expr, type, at);
});

test('the variables are labels that there are, each of what was chosen before it', () => {
  for (const [file, { templating }] of dashboards) {
    const names = templating.list.map(({ name }) => name);
    assert.deepEqual(names, ['datasource', 'namespace', 'release', 'zone', 'node', 'instance'], file);
    for (const [i, { query }] of templating.list.entries()) {
      if (typeof query === 'string') continue;
      const [, expr = '', label = ''] = /^label_values\((.+), (\w+)\)$/.exec(query.query) ?? [];
      checkSeries(`${expr.replace('}', ',')}${expr.includes('{') ? '' : '{'}${label}=~".+"}`);
      assert.equal(label, names[i], file);
      for (const [, used = ''] of expr.matchAll(/\$(\w+)/g)) assert.ok(names.slice(0, i).includes(used), file);
    }
  }
});

test('every dashboard shows ring changes, starts of processes and alerts', () => {
  for (const [file, { annotations }] of dashboards) {
    assert.deepEqual(annotations, dashboards[0]?.[1].annotations, file);
    const [rings, starts, alerts] = annotations.list;
    for (const annotation of [rings, starts]) checkSeries(annotation?.expr ?? '');
    assert.match(alerts?.expr ?? '', /^ALERTS\{alertname=~"Cartwheel\.\+",alertstate="firing",namespace=/, file);
  }
});

test('every query is PromQL', { skip }, async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-dashboards-'));
  try {
    const queries = [...panelQueries('1m'), ...annotationQueries()];
    const recorded = queries.map(({ expr }, i) => ({ record: `panel:${i}`, expr }));
    writeFileSync(join(scratch, 'rules.yaml'), JSON.stringify({ groups: [{ name: 'panels', rules: recorded }] }));
    await done('promtool', 'check', 'rules', join(scratch, 'rules.yaml'));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
