/**
 * Figures of one process out of its Prometheus text: as much of the format as our own services write.
 * The scrapes are cumulative; what happened between two of them is their difference.
 */

/** Cumulative counts of one histogram, all its label sets added up: upper bound in seconds → observations. */
export type HistogramCounts = ReadonlyMap<number, number>;

/** The histograms `names` in `text`, added up where a label set passes `wanted`. */
export function histogramCounts(
  text: string,
  name: string,
  wanted: (labels: string) => boolean = () => true,
): HistogramCounts {
  const counts = new Map<number, number>();
  const prefix = `${name}_bucket{`;
  for (const line of text.split('\n')) {
    if (!line.startsWith(prefix)) continue;
    const [, labels, bound, value] = /\{(.*?),?le="([^"]+)"\} (\S+)$/.exec(line) ?? [];
    if (labels === undefined || !wanted(labels)) continue;
    const seconds = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound);
    counts.set(seconds, (counts.get(seconds) ?? 0) + Number(value));
  }
  return counts;
}

export function total(counts: HistogramCounts): number {
  return counts.get(Number.POSITIVE_INFINITY) ?? 0;
}

/** What was observed from `before` to `after`. A process that started again begins at zero: then all of `after`. */
export function between(before: HistogramCounts, after: HistogramCounts): HistogramCounts {
  if (total(after) < total(before)) return after;
  return new Map([...after].map(([bound, n]) => [bound, n - (before.get(bound) ?? 0)]));
}

/** The upper bound in seconds of the bucket that the quantile falls into; undefined when nothing was observed. */
export function quantile(counts: HistogramCounts, fraction: number): number | undefined {
  const wanted = total(counts) * fraction;
  if (wanted === 0) return undefined;
  const bounds = [...counts.keys()].sort((a, b) => a - b);
  return bounds.find((bound) => (counts.get(bound) as number) >= wanted);
}
