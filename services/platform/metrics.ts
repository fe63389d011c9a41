/**
 * The metrics of one process, and their text for Prometheus.
 *
 * The handles are plain numbers and typed arrays; everything that costs (labels, cumulation, text) happens at
 * scrape. prom-client provides what it is good at: the metrics of the process and of Node.
 *
 * I1 A name and its labels are one series: asking again for the same ones gives the same handle, and a gauge's
 *    newer reader replaces the older one.
 * I2 A metric has at most MAX_SERIES_PER_METRIC series; what would be more is counted in one whose label values
 *    are all "other". (Of gauges that come and go the others are left out: a sum of them would mean nothing.)
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { CounterHandle, HistogramHandle, Metrics } from '../core/ports.ts';
import { BOUNDS_MS, Histogram, SIZE_BOUNDS, SizeHistogram } from './histogram.ts';
import { softwareVersion } from './version.ts';

/** Services, methods, codes and peers of a large cluster fit well; a metric labelled by key would not. */
export const MAX_SERIES_PER_METRIC = 1_000;

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

export interface ProcessMetrics extends Metrics {
  /** The scrape, in Prometheus' text format 0.0.4. */
  text(): Promise<string>;
}

type Labels = Readonly<Record<string, string>>;
type Kind = 'histogram' | 'counter' | 'gauge';

class Counter implements CounterHandle {
  value = 0;
  add(n: number): void {
    this.value += n;
  }
}

interface Family {
  readonly kind: Kind;
  readonly help: string;
  readonly labelNames: string;
  readonly series: Map<string, Series>;
}

/** Gauges that come and go. */
interface Varying {
  readonly label: string;
  readonly read: () => ReadonlyMap<string, number>;
}

type Series = Histogram | SizeHistogram | Counter | Varying | (() => number);

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const LE_SECONDS = Array.from(BOUNDS_MS, (bound) => `le="${number(bound / 1_000)}"`);
const LE_SIZES = SIZE_BOUNDS.map((bound) => `le="${number(bound)}"`);

/** Labels of `cartwheel_process_info`, which queries join to whatever else the process shows. */
export interface ProcessIdentity {
  readonly service: string;
  /** What `cartwheel status` calls it by, where it is there: its address. */
  readonly node?: string;
  /** Of storage nodes. */
  readonly zone?: string;
}

export function createMetrics({ service, node = '', zone = '' }: ProcessIdentity): ProcessMetrics {
  const families = new Map<string, Family>();
  const processRegistry = new Registry();
  collectDefaultMetrics({ register: processRegistry });

  function seriesOf(kind: Kind, name: string, help: string, labels: Labels): [Family, string] {
    const names = Object.keys(labels).sort();
    for (const word of [name, ...names]) {
      if (!NAME.test(word)) throw new Error(`"${word}" is no name for a metric or a label; wanted ${NAME}`);
    }
    let family = families.get(name);
    if (!family) {
      family = { kind, help, labelNames: names.join(), series: new Map() };
      families.set(name, family);
    }
    if (family.kind !== kind || family.labelNames !== names.join()) {
      throw new Error(
        `metric ${name} is a ${family.kind} with labels (${family.labelNames}), asked for as a ${kind} with (${names.join()})`,
      );
    }
    const key = labelText(names, (label) => labels[label] ?? '');
    const isNewOne = !family.series.has(key);
    if (isNewOne && family.series.size >= MAX_SERIES_PER_METRIC) return [family, labelText(names, () => 'other')];
    return [family, key];
  }

  function handleOf<T extends Series>(
    Made: new () => T,
    kind: Kind,
    name: string,
    help: string,
    labels: Labels | undefined = {},
  ): T {
    const [family, key] = seriesOf(kind, name, help, labels);
    const known = family.series.get(key);
    if (known instanceof Made) return known;
    const made = new Made();
    family.series.set(key, made);
    return made;
  }

  const metrics: ProcessMetrics = {
    histogram: (name, help, labels): HistogramHandle => handleOf(Histogram, 'histogram', name, help, labels),
    sizes: (name, help, labels): HistogramHandle => handleOf(SizeHistogram, 'histogram', name, help, labels),
    counter: (name, help, labels): CounterHandle => handleOf(Counter, 'counter', name, help, labels),
    gauge(name: string, help: string, read: () => number, labels: Labels = {}): void {
      const [family, key] = seriesOf('gauge', name, help, labels);
      family.series.set(key, read);
    },
    gauges(name, help, label, read): void {
      const [family, key] = seriesOf('gauge', name, help, { [label]: '' });
      family.series.set(key, { label, read });
    },
    async text(): Promise<string> {
      const lines: string[] = [];
      for (const [name, family] of families) {
        lines.push(`# HELP ${name} ${escapeHelp(family.help)}`, `# TYPE ${name} ${family.kind}`);
        for (const [labels, series] of family.series) renderSeries(lines, name, labels, series);
      }
      // prom-client writes a mean of nothing as "Nan", which strict readers refuse.
      const ofProcess = (await processRegistry.metrics()).replaceAll(/ Nan$/gm, ' NaN');
      return `${lines.join('\n')}\n${ofProcess}`;
    },
  };
  metrics.gauge('cartwheel_process_info', 'Always 1; says what this process is.', () => 1, {
    ...{ service, node, zone },
    version: softwareVersion,
  });
  return metrics;
}

function renderSeries(lines: string[], name: string, labels: string, series: Series) {
  const braced = labels === '' ? '' : `{${labels}}`;
  if (series instanceof Counter) {
    lines.push(`${name}${braced} ${number(series.value)}`);
  } else if (series instanceof Histogram) {
    renderHistogram(lines, name, labels, series.counts, LE_SECONDS, series.sum / 1_000);
  } else if (series instanceof SizeHistogram) {
    renderHistogram(lines, name, labels, series.counts, LE_SIZES, series.sum);
  } else if (typeof series === 'function') {
    lines.push(`${name}${braced} ${number(series())}`);
  } else {
    const { label, read } = series;
    for (const [value, n] of [...read()].slice(0, MAX_SERIES_PER_METRIC)) {
      lines.push(`${name}{${labelText([label], () => value)}} ${number(n)}`);
    }
  }
}

function renderHistogram(
  lines: string[],
  name: string,
  labels: string,
  counts: Float64Array,
  bounds: readonly string[],
  sum: number,
) {
  const before = labels === '' ? '' : `${labels},`;
  const braced = labels === '' ? '' : `{${labels}}`;
  let cumulated = 0;
  for (const [bucket, label] of [...bounds, 'le="+Inf"'].entries()) {
    cumulated += counts[bucket] ?? 0;
    lines.push(`${name}_bucket{${before}${label}} ${cumulated}`);
  }
  lines.push(`${name}_sum${braced} ${number(sum)}`, `${name}_count${braced} ${cumulated}`);
}

function labelText(names: readonly string[], value: (name: string) => string): string {
  return names.map((name) => `${name}="${escapeLabel(value(name))}"`).join();
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
