/**
 * Dashboards as Grafana reads them (schema 39: Grafana 10 and newer), made of short descriptions. How they look is
 * decided here; what they show, in dashboards.ts.
 */

export interface Panel {
  readonly title: string;
  /** For who hovers over the title. */
  readonly what?: string;
  /** Of Grafana: `s`, `bytes`, `ops`, `percentunit`, `short`. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** One number in place of a graph. */
  readonly stat?: true;
  /** A line across it. */
  readonly limit?: number;
}

export interface Query {
  /** In PromQL; `$namespace` and `$release` are variables of each dashboard. */
  readonly expr: string;
  readonly legend: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Dashboard {
  /** Its file, and its address in Grafana. */
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
}

const datasource = { type: 'prometheus', uid: '$' + '{datasource}' };
const panelsInRow = 3;
const columns = 24;
const height = { stat: 5, timeseries: 8 } as const;

export function grafanaDashboard({ name, title, rows }: Dashboard): object {
  const panels: object[] = [];
  let y = 0;
  let id = 0;
  for (const row of rows) {
    panels.push({ type: 'row', id: ++id, title: row.title, gridPos: { x: 0, y: y++, w: columns, h: 1 }, panels: [] });
    for (let i = 0; i < row.panels.length; i += panelsInRow) {
      const line = row.panels.slice(i, i + panelsInRow);
      const w = columns / line.length;
      const h = Math.max(...line.map(({ stat }) => height[stat ? 'stat' : 'timeseries']));
      for (const [x, panel] of line.entries()) panels.push(grafanaPanel(panel, ++id, { x: x * w, y, w, h }));
      y += h;
    }
  }
  return {
    uid: `cartwheel-${name}`,
    title: `Cartwheel / ${title}`,
    tags: ['cartwheel'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    links: [{ type: 'dashboards', tags: ['cartwheel'], title: 'Cartwheel', asDropdown: true, includeVars: true }],
    templating: { list: [sourceVariable, labelVariable('namespace'), labelVariable('release')] },
    panels,
  };
}

const sourceVariable = { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' };

/** "All" is everything, a series without the label too. */
function labelVariable(label: string): object {
  return {
    ...{ type: 'query', name: label, datasource, refresh: 2, sort: 1 },
    query: { query: `label_values(cartwheel_process_info, ${label})`, refId: label },
    ...{ multi: true, includeAll: true, allValue: '.*', current: { text: 'All', value: '$__all' } },
  };
}

function grafanaPanel({ title, what, unit, queries, stat, limit }: Panel, id: number, gridPos: object): object {
  const steps = [{ color: 'green', value: null }, ...(limit === undefined ? [] : [{ color: 'red', value: limit }])];
  return {
    type: stat ? 'stat' : 'timeseries',
    id,
    title,
    ...(what !== undefined && { description: what }),
    datasource,
    gridPos,
    fieldConfig: {
      defaults: {
        unit,
        thresholds: { mode: 'absolute', steps },
        custom: stat ? {} : { lineWidth: 1, fillOpacity: 5, showPoints: 'never', ...limitStyle(limit) },
      },
      overrides: [],
    },
    options: stat
      ? { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: limit === undefined ? 'none' : 'value' }
      : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(({ expr, legend }, i) => {
      return { refId: String.fromCharCode(65 + i), datasource, expr, legendFormat: legend };
    }),
  };
}

function limitStyle(limit: number | undefined): object {
  return limit === undefined ? {} : { thresholdsStyle: { mode: 'line' } };
}
