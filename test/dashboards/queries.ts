/** The queries of the dashboards as Grafana sends them: with values in place of its variables. */
import { dashboards } from '../../helm/generate/dashboards.ts';

export interface PanelQuery {
  readonly where: string;
  readonly expr: string;
}

export function panelQueries(rateInterval: string): readonly PanelQuery[] {
  return dashboards.flatMap(({ name, rows }) =>
    rows.flatMap((row) =>
      row.panels.flatMap(({ title, queries }) =>
        queries.map(({ expr, legend }) => {
          const filled = expr.replaceAll('$__rate_interval', rateInterval).replaceAll(/\$(namespace|release)/g, '.*');
          return { where: `${name}: ${row.title}: ${title}: ${legend}`, expr: filled };
        }),
      ),
    ),
  );
}
