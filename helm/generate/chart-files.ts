/** The files of the chart that are made, and what is in them. */
import { readFileSync } from 'node:fs';
import { dashboards } from './dashboards.ts';
import { grafanaDashboard } from './frame.ts';
import { chartReadme } from './readme.ts';

const chart = new URL('../cartwheel/', import.meta.url);

export function chartFiles(): readonly (readonly [path: URL, content: string])[] {
  const readme = chartReadme(readFileSync(new URL('values.yaml', chart), 'utf8'));
  return [
    [new URL('README.md', chart), readme],
    ...dashboards.map((dashboard) => {
      const content = `${JSON.stringify(grafanaDashboard(dashboard), null, 1)}\n`;
      return [new URL(`dashboards/${dashboard.name}.json`, chart), content] as const;
    }),
  ];
}
