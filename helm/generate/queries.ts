/**
 * PromQL of the dashboards.
 *
 * I1 Every series is of the cluster that was chosen (`cluster`), and of the processes that were chosen (`processes`), but for
 *    what only the cluster as a whole has: the objectives that rules record, and numbers such as that of its routers.
 */

export interface Query {
  readonly expr: string;
  /** With labels in double braces. */
  readonly legend: string;
}

/** The variables `$namespace` and `$release`; both match where there is no such label. */
export const cluster = 'namespace=~"$namespace",release=~"$release"';

/** Node and zone are labels of cartwheel_process_info alone; `$instance` has the instances of those that were chosen. */
export const processes = `${cluster},instance=~"$instance"`;

const eachProcess = 'namespace, release, instance';

export function series(metric: string, where = ''): string {
  return `${metric}{${processes}${where === '' ? '' : `,${where}`}}`;
}

/** Of the whole cluster, whatever was chosen of it. */
export function seriesOfAll(metric: string, where = ''): string {
  return `${metric}{${cluster}${where === '' ? '' : `,${where}`}}`;
}

/** A second. */
export function rate(metric: string, where = ''): string {
  return `rate(${series(metric, where)}[$__rate_interval])`;
}

/** A second, summed over all but `labels`. */
export function rateBy(labels: string, metric: string, where = ''): string {
  return `sum by (${labels}) (${rate(metric, where)})`;
}

/** A second, of each process. */
export function rateOfEach(metric: string, where = ''): string {
  return rateBy(eachProcess, metric, where);
}

export function quantile(q: number, metric: string, where = ''): string {
  return `histogram_quantile(${q}, ${rateBy('le', `${metric}_bucket`, where)})`;
}

export function quantileBy(labels: string, q: number, metric: string, where = ''): string {
  return `histogram_quantile(${q}, ${rateBy(`le, ${labels}`, `${metric}_bucket`, where)})`;
}

export function quantileOfEach(q: number, metric: string, where = ''): string {
  return quantileBy(eachProcess, q, metric, where);
}

/** How many of the first there are to one of the second. */
export function ratioBy(labels: string, over: string, under: string): string {
  return `${rateBy(labels, over)} / ${rateBy(labels, under)}`;
}

export function ratioOfEach(over: string, under: string): string {
  return ratioBy(eachProcess, over, under);
}

/** `expr`, of each process, with its `node`: the address by which `cartwheel status` knows it. */
export function named(expr: string, where = ''): string {
  return `${expr} * on (${eachProcess}) group_left (node) ${series('cartwheel_process_info', where)}`;
}

/** What `expr` is by zone: `aggregate` of what each of its nodes has. */
export function byZone(aggregate: string, expr: string): string {
  return `${aggregate} (${expr} * on (${eachProcess}) group_left (zone) ${series('cartwheel_process_info', 'service="storage-node"')})`;
}
