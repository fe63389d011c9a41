/** The dashboards of the chart: as their descriptions make them, whole, over series that there are. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { chartFiles } from '../../helm/generate/chart-files.ts';
import { done, isThere } from '../k8s/tools.ts';
import { checkSeries } from '../rules/known-series.ts';
import { panelQueries } from './queries.ts';

interface GrafanaPanel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

const directory = new URL('../../helm/cartwheel/dashboards/', import.meta.url);
const files = readdirSync(directory);
const read = (file: string): { uid: string; panels: readonly GrafanaPanel[] } =>
  JSON.parse(readFileSync(new URL(file, directory), 'utf8'));
const skip = (await isThere('promtool')) ? false : 'there is no promtool (Debian: apt-get install prometheus)';

test('what is made for the chart is what `npm run chart:generate` writes now, and nothing else', () => {
  const made = chartFiles();
  for (const [path, content] of made) assert.equal(readFileSync(path, 'utf8'), content, `${path} is stale`);
  const dashboards = made.flatMap(([path]) => (path.href.startsWith(directory.href) ? [path.href] : []));
  assert.deepEqual(files.map((file) => new URL(file, directory).href).sort(), dashboards.sort());
});

test('each dashboard has an address of its own, and panels that lie beside each other and ask something', () => {
  assert.equal(new Set(files.map((file) => read(file).uid)).size, files.length);
  for (const file of files) {
    const { panels } = read(file);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, file);
    const taken = new Set<string>();
    for (const { title, type, gridPos, targets = [] } of panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, `${file}: ${title} is too wide`);
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

test('every query is of series that there are, with labels that they have, and of the cluster that was chosen', () => {
  for (const file of files) {
    for (const { title, targets = [] } of read(file).panels) {
      for (const { expr } of targets) {
        const series = checkSeries(expr);
        const chosen = expr.match(/namespace=~"\$namespace",release=~"\$release"/g)?.length ?? 0;
        assert.ok(series.length > 0 && series.length === chosen, `${file}: ${title}: ${expr}`);
      }
    }
  }
});

test('every query is PromQL', { skip }, async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-dashboards-'));
  try {
    const rules = panelQueries('1m').map(({ expr }, i) => ({ record: `panel:${i}`, expr }));
    writeFileSync(join(scratch, 'rules.yaml'), JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    await done('promtool', 'check', 'rules', join(scratch, 'rules.yaml'));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
