/** What queries may name: the metrics of docs/metrics.md, and what rules record of them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export const rulesFile = new URL('../../helm/cartwheel/rules.yaml', import.meta.url);
const metricsPage = new URL('../../docs/metrics.md', import.meta.url);

/** Of every series: the process, where it runs, and what Prometheus adds. */
const labelsOfAll = ['namespace', 'release', 'pod', 'instance', 'job'];

/** Labels by the name of a series. */
const known = new Map<string, readonly string[]>();
for (const [, name = '', type, labels = ''] of readFileSync(metricsPage, 'utf8').matchAll(
  /^\| `(\w+)` \| (\w+) \| ([^|]*) \|/gm,
)) {
  const names = [...labels.matchAll(/\w+/g)].map(([label]) => label);
  if (type !== 'histogram') known.set(name, names);
  else for (const suffix of ['bucket', 'sum', 'count']) known.set(`${name}_${suffix}`, [...names, 'le']);
}
for (const [, name = ''] of readFileSync(rulesFile, 'utf8').matchAll(/record: (\S+)/g)) known.set(name, ['slo']);

/** Fails for a series that nobody exports or records, and for a label that it does not have. Returns the names found. */
export function checkSeries(query: string): readonly string[] {
  const found = [...query.matchAll(/\b((?:cartwheel|nodejs|process)[_:][\w:]+)(?:\{([^}]*)\})?/g)];
  return found.map(([, name = '', selector = '']) => {
    const labels = known.get(name);
    assert.ok(labels !== undefined, `${name} is neither in docs/metrics.md nor recorded by rules.yaml: ${query}`);
    for (const [, label = ''] of selector.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)) {
      assert.ok([...labels, ...labelsOfAll].includes(label), `${name} has no label ${label}: ${query}`);
    }
    return name;
  });
}
