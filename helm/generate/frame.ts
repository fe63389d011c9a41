/**
 * What all dashboards have in common: variables, links, annotations, and where panels lie. Made with Grafana's SDK as
 * dashboards of its first kind, which every Grafana from 10 on reads; those of its second kind need Grafana 12 or newer.
 *
 * I1 The variables of one cluster have one value each: what is summed is never that of two clusters.
 */
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  type DashboardLink,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableHide,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { addressOf, type DashboardName, datasource, titles, uidOf } from './grafana.ts';
import type { Panel } from './panels.ts';
import { cluster, named, series, seriesOfAll } from './queries.ts';

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface DashboardPlan {
  readonly name: DashboardName;
  /** When to look at it. */
  readonly what: string;
  readonly rows: readonly Row[];
}

const columns = 24;
const size = { stat: { inLine: 6, height: 4 }, graph: { inLine: 3, height: 8 } } as const;
const sizeOf = (panel: Panel) => size[panel instanceof StatBuilder ? 'stat' : 'graph'];

export function grafanaDashboard({ name, what, rows }: DashboardPlan): Dashboard {
  const dashboard = new DashboardBuilder(`Cartwheel / ${titles[name]}`)
    .uid(uidOf(name))
    .description(what)
    .tags(['cartwheel'])
    .refresh('30s')
    .time({ from: 'now-3h', to: 'now' })
    .tooltip(DashboardCursorSync.Crosshair)
    .link({ build: () => inSight(new DashboardLinkBuilder('Cartwheel').type(DashboardLinkType.Dashboards)) })
    .variables(variables())
    .annotations(annotations());
  let id = 0;
  for (const row of rows) {
    dashboard.withRow(new RowBuilder(row.title).id(++id));
    for (const line of linesOf(row.panels)) {
      for (const panel of line) {
        leadElsewhere(panel, name);
        dashboard.withPanel(
          panel
            .id(++id)
            .span(columns / line.length)
            .height(sizeOf(panel).height),
        );
      }
    }
  }
  return dashboard.build();
}

/** What several dashboards show leads to one of them from the others alone. */
function leadElsewhere(panel: Panel, from: DashboardName): void {
  const links = (panel.build().links ?? []).filter(({ url }) => !url?.startsWith(`${addressOf(from)}?`));
  panel.links(links.map((link) => ({ build: () => link })));
}

/** Panels of one kind, as many as there is room for. */
function linesOf(panels: readonly Panel[]): readonly (readonly Panel[])[] {
  const lines: Panel[][] = [];
  for (const panel of panels) {
    const last = lines.at(-1);
    const { inLine } = sizeOf(panel);
    if (last?.[0] !== undefined && sizeOf(last[0]).inLine === inLine && last.length < inLine) last.push(panel);
    else lines.push([panel]);
  }
  return lines;
}

/** To all dashboards, with the cluster, the nodes and the time that are looked at. The SDK would hide it in a menu. */
function inSight(link: DashboardLinkBuilder): DashboardLink {
  const { placement: _, ...rest } = link.tags(['cartwheel']).asDropdown(true).includeVars(true).keepTime(true).build();
  return rest;
}

function variables() {
  const source = new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus');
  return [
    source,
    ofProcesses('namespace', '').label('Kubernetes namespace'),
    ofProcesses('release', '{namespace=~"$namespace"}'),
    // ".*" is all, routers too, which are in no zone.
    severalOf('zone', '').allValue('.*'),
    severalOf('node', ',zone=~"$zone"').allValue('.*'),
    severalOf('instance', ',zone=~"$zone",node=~"$node"').hide(VariableHide.HideVariable),
  ];
}

function severalOf(label: string, where: string): QueryVariableBuilder {
  const variable = ofProcesses(label, `{${cluster}${where}}`).multi(true).includeAll(true);
  return variable.current({ text: 'All', value: '$__all' });
}

/** What the processes have of a label of theirs. */
function ofProcesses(label: string, where: string): QueryVariableBuilder {
  return new QueryVariableBuilder(label)
    .label(`${label.slice(0, 1).toUpperCase()}${label.slice(1)}`)
    .datasource(datasource)
    .query({ query: `label_values(cartwheel_process_info${where}, ${label})`, refId: label })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);
}

const annotationStep = '60s';

/** What happened, across all graphs. Each query is of a minute, as far apart as Grafana asks. */
function annotations() {
  const annotation = (name: string, color: string, title: string, text: string, expr: string) =>
    new AnnotationQueryBuilder()
      .name(name)
      .datasource(datasource)
      .iconColor(color)
      .titleFormat(title)
      .textFormat(text)
      .step(annotationStep)
      .expr(expr);
  const newest = `max by (namespace, release) (${seriesOfAll('cartwheel_ring_sequence')})`;
  const started = named(`(time() - ${series('process_start_time_seconds')} < 60)`);
  return [
    annotation('Ring changes', 'blue', 'The ring changes', 'New rings are issued.', `changes(${newest}[1m:15s]) > 0`),
    annotation('Starts', 'orange', 'A process has started', '{{node}}', started),
    annotation(
      ...(['Alerts', 'red', '{{alertname}}', '{{severity}} {{instance}}'] as const),
      `ALERTS{alertname=~"Cartwheel.+",alertstate="firing",${cluster}}`,
    ),
  ];
}
