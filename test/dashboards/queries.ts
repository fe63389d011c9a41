/** The dashboards of the chart, and their queries as Grafana sends them: with values in place of its variables. */
import { readdirSync, readFileSync } from 'node:fs';

export interface GrafanaPanel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly links?: readonly GrafanaLink[];
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string;
      readonly links?: readonly GrafanaLink[];
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null; readonly color: string }[] };
    };
    readonly overrides: readonly {
      readonly matcher: { readonly options: string };
      readonly properties: readonly { readonly id: string; readonly value: unknown }[];
    }[];
  };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

interface GrafanaLink {
  readonly title: string;
  readonly url: string;
}

export interface GrafanaDashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly GrafanaPanel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[];
  };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr: string }[] };
}

export const dashboardsDirectory = new URL('../../helm/cartwheel/dashboards/', import.meta.url);

/** By file. */
export function chartDashboards(): readonly (readonly [file: string, dashboard: GrafanaDashboard])[] {
  return readdirSync(dashboardsDirectory).map((file) => {
    return [file, JSON.parse(readFileSync(new URL(file, dashboardsDirectory), 'utf8'))] as const;
  });
}

export interface PanelQuery {
  readonly where: string;
  readonly expr: string;
}

export function panelQueries(rateInterval: string): readonly PanelQuery[] {
  return chartDashboards().flatMap(([file, { panels }]) =>
    panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ refId, expr }) => ({ where: `${file}: ${title}: ${refId}`, expr: filled(expr, rateInterval) })),
    ),
  );
}

/** The annotations of the first dashboard: all have the same. */
export function annotationQueries(): readonly PanelQuery[] {
  const annotations = chartDashboards()[0]?.[1].annotations.list ?? [];
  return annotations.map(({ name, expr }) => ({ where: name, expr: filled(expr, '1m') }));
}

function filled(expr: string, rateInterval: string): string {
  return expr
    .replaceAll('$__rate_interval', rateInterval)
    .replaceAll(/\$(namespace|release|zone|node|instance)\b/g, '.*');
}
