/** Queries of the dashboards: over the cluster that was chosen there. */
import type { Query } from './grafana.ts';

/** The cluster that was chosen. */
export const of = 'namespace=~"$namespace",release=~"$release"';
export const each = '{{pod}} {{instance}}';

/** A second, summed over all but `by`. */
export function rate(metric: string, by: string, more = ''): string {
  return `sum by (${by}) (rate(${metric}{${of}${more}}[$__rate_interval]))`;
}

export function quantile(q: number, metric: string, by: string, more = ''): string {
  return `histogram_quantile(${q}, ${rate(`${metric}_bucket`, by === '' ? 'le' : `le, ${by}`, more)})`;
}

/** p50, p99 and p99.9. */
export function quantiles(metric: string, by: string, more = ''): readonly Query[] {
  const label = by === '' ? '' : ` {{${by}}}`;
  return [0.5, 0.99, 0.999].map((q) => ({ expr: quantile(q, metric, by, more), legend: `p${q * 100}${label}` }));
}

export function gauge(metric: string, more = ''): readonly Query[] {
  return [{ expr: `${metric}{${of}${more}}`, legend: each }];
}

export function rates(...metrics: readonly (readonly [metric: string, legend: string])[]): readonly Query[] {
  return metrics.map(([metric, legend]) => ({ expr: rate(metric, 'pod, instance'), legend: `${legend} ${each}` }));
}

export function ratio(over: string, under: string, by: string, more = ''): string {
  return `${rate(over, by, more)} / ${rate(under, by, more)}`;
}
