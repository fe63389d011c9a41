/** The files of the chart that are made, and what is in them. */
import { dashboards } from './dashboards.ts';
import { grafanaDashboard } from './grafana.ts';

const chart = new URL('../cartwheel/', import.meta.url);

export function chartFiles(): readonly (readonly [path: URL, content: string])[] {
  return dashboards.map((dashboard) => {
    const path = new URL(`dashboards/${dashboard.name}.json`, chart);
    return [path, `${JSON.stringify(grafanaDashboard(dashboard), null, 1)}\n`];
  });
}
