/**
 * The kinds of panel that the dashboards are made of, and what all of one kind have in common: how they look, and where a
 * click on them leads. What they show is in dashboards/.
 *
 * I1 p50, p99 and p99.9 have one colour each, a node has one colour on all panels, and green, orange and red mean well,
 *    soon bad and bad wherever a panel has limits.
 * I2 A limit that an alert has too is the one of the alert (rules.yaml).
 */
import {
  BigValueColorMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  ScaleDistribution,
  ScaleDistributionConfigBuilder,
  SortOrder,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardLinkBuilder,
  FieldColorBuilder,
  FieldColorModeId,
  type Threshold,
  ThresholdsConfigBuilder,
} from '@grafana/grafana-foundation-sdk/dashboard';
import {
  CellValuesBuilder,
  PanelBuilder as HeatMapBuilder,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import { OpsPerSecond, PercentUnit, Seconds } from '@grafana/grafana-foundation-sdk/units';
import { addressOf, asParameter, type DashboardName, datasource, timeRange, titles, value } from './grafana.ts';
import { named, type Query, quantile, rateBy } from './queries.ts';

export type Panel = StatBuilder | GraphBuilder | HeatMapBuilder;

export interface About {
  readonly title: string;
  /** What it shows, for who hovers over the title. */
  readonly what: string;
  /** What is bad there, and what to do then. */
  readonly bad?: string;
  /** Of Grafana (its SDK's units). */
  readonly unit: string;
  readonly limits?: readonly Threshold[];
  /** A page of docs/runbooks. */
  readonly runbook?: string;
  /** The dashboard that tells more. */
  readonly see?: DashboardName;
}

/** Seconds; the chart puts its prometheusRule.latencyMs in the place of it (templates/dashboards.yaml). */
export const objectiveSeconds = 0.3;

/** Bad from `red` on, and soon bad from `orange` on. */
export function above(red: number, orange?: number): readonly Threshold[] {
  return steps('green', ...(orange === undefined ? [] : [['orange', orange] as const]), ['red', red]);
}

/** Bad below `red`, and soon bad below `orange`. */
export function below(red: number, orange = red): readonly Threshold[] {
  return steps('red', ...(orange === red ? [] : [['orange', red] as const]), ['green', orange]);
}

/** Whole numbers. */
export function exactly(wanted: number): readonly Threshold[] {
  return steps('red', ['green', wanted], ['red', wanted + 1]);
}

function steps(first: string, ...rest: readonly (readonly [color: string, from: number])[]): readonly Threshold[] {
  return [{ value: null, color: first }, ...rest.map(([color, from]) => ({ value: from, color }))];
}

/** One number for the whole, and whether it is well. */
export function stat(about: About, expr: string): StatBuilder {
  return described(new StatBuilder(), about)
    .withTarget(target({ expr, legend: '' }, 0))
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .colorMode(about.limits === undefined ? BigValueColorMode.None : BigValueColorMode.Background);
}

/** Lines over time. */
export function graph(about: About, queries: readonly Query[], calculated: readonly string[] = []): GraphBuilder {
  const panel = described(new GraphBuilder(), about)
    .targets(queries.map(target))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .lineWidth(1)
    .fillOpacity(5)
    .showPoints(VisibilityMode.Never)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .calcs([...calculated]),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (about.unit === PercentUnit) panel.axisSoftMax(1);
  if (about.limits !== undefined) {
    panel.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  }
  return panel.axisSoftMin(0);
}

type AboutLatency = Omit<About, 'unit'>;

/** How long it takes, of a histogram of seconds: p50, p99 and p99.9, which are far from each other. */
export function latency(about: AboutLatency, metric: string, where = ''): GraphBuilder {
  const panel = quantileLines({ ...about, unit: Seconds }, quantiles, metric, where);
  return panel.scaleDistribution(new ScaleDistributionConfigBuilder().type(ScaleDistribution.Log).log(10));
}

/** How many there are of something, of a histogram of sizes: p50 and p99. */
export function sizes(about: About, metric: string): GraphBuilder {
  return quantileLines(about, quantiles.slice(0, 2), metric, '');
}

type Quantile = readonly [q: number, name: string, color: string];

/** Not green, orange or red, which say how bad it is. */
const quantiles: readonly Quantile[] = [
  [0.5, 'p50', 'blue'],
  [0.99, 'p99', 'yellow'],
  [0.999, 'p99.9', 'purple'],
];

function quantileLines(about: About, lines: readonly Quantile[], metric: string, where: string): GraphBuilder {
  const queries = lines.map(([q, name]) => ({ expr: quantile(q, metric, where), legend: name }));
  const panel = graph(about, queries, ['lastNotNull', 'max']);
  for (const [, name, color] of lines) {
    panel.overrideByName(name, [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }]);
  }
  return panel;
}

/** How many take how long, of a histogram of seconds: two humps, which quantiles hide, are seen. */
export function heatMap(about: AboutLatency, metric: string, where = ''): HeatMapBuilder {
  const query = { expr: rateBy('le', `${metric}_bucket`, where), legend: '{{le}}' };
  return described(new HeatMapBuilder(), { ...about, unit: Seconds })
    .withTarget(target(query, 0).format(PromQueryFormat.Heatmap))
    .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme('Blues').exponent(0.5).steps(64))
    .cellValues(new CellValuesBuilder().unit(OpsPerSecond))
    .yAxis(new YAxisConfigBuilder().unit(Seconds));
}

/** A second, a line for each value of a label. */
export function rateByLabel(about: About, metric: string, label: string): GraphBuilder {
  return graph(about, [{ expr: rateBy(label, metric), legend: `{{${label}}}` }]);
}

/** A line for each storage node, which leads to what else there is of it. */
export function perNode(about: About, expr: string): GraphBuilder {
  const queries = [{ expr: named(expr, 'service="storage-node"'), legend: '{{node}}' }];
  return graph(about, queries).dataLinks([linkToNode('storage'), linkToNode('runtime')]);
}

/** A line for each process, of whatever kind. */
export function perProcess(about: About, expr: string): GraphBuilder {
  return graph(about, [{ expr: named(expr), legend: '{{node}}' }]).dataLinks([linkToNode('runtime')]);
}

function described<P extends Panel>(panel: P, { title, what, bad, unit, limits, runbook, see }: About): P {
  panel
    .title(title)
    .description(bad === undefined ? what : `${what}\n\n**Bad:** ${bad}`)
    .datasource(datasource)
    .unit(unit)
    .links([
      ...(runbook === undefined ? [] : [new DashboardLinkBuilder(`Runbook: ${runbook}`).url(runbookAt(runbook))]),
      ...(see === undefined ? [] : [new DashboardLinkBuilder(`Dashboard: ${titles[see]}`).url(dashboardAt(see))]),
    ]);
  if (limits !== undefined) panel.thresholds(new ThresholdsConfigBuilder().steps([...limits]));
  return panel;
}

function target({ expr, legend }: Query, i: number): DataqueryBuilder {
  const query = new DataqueryBuilder()
    .refId(String.fromCharCode(65 + i))
    .datasource(datasource)
    .expr(expr);
  return query.legendFormat(legend).range();
}

/** The chart puts its prometheusRule.runbooks in the place of the directory (templates/dashboards.yaml). */
function runbookAt(name: string): string {
  return `docs/runbooks/${name}.md`;
}

const kept = [...['datasource', 'namespace', 'release'].map(asParameter), timeRange];

function dashboardAt(name: DashboardName): string {
  return `${addressOf(name)}?${[...kept, asParameter('zone'), asParameter('node')].join('&')}`;
}

function linkToNode(name: DashboardName): DashboardLinkBuilder {
  const node = value('__field.labels.node');
  return new DashboardLinkBuilder(`${node}: ${titles[name]}`).url(
    `${addressOf(name)}?${[...kept, `var-node=${node}`].join('&')}`,
  );
}
