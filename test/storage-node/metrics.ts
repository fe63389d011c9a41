import type { Metrics } from '../../services/core/ports.ts';

export interface ReadableMetrics extends Metrics {
  /** What a counter has counted, over all its labels, or what a gauge says. */
  valueOf(name: string): number;
  /** What gauges that come and go say, by the value of their label. */
  seriesOf(name: string): ReadonlyMap<string, number>;
}

export function createReadableMetrics(): ReadableMetrics {
  const counters = new Map<string, number>();
  const gauges = new Map<string, () => number>();
  const comingAndGoing = new Map<string, () => ReadonlyMap<string, number>>();
  return {
    valueOf: (name) => gauges.get(name)?.() ?? counters.get(name) ?? 0,
    seriesOf: (name) => comingAndGoing.get(name)?.() ?? new Map(),
    counter: (name) => ({
      add(n) {
        counters.set(name, (counters.get(name) ?? 0) + n);
      },
    }),
    histogram: () => ({ observe() {} }),
    sizes: () => ({ observe() {} }),
    gauge(name, _help, read) {
      gauges.set(name, read);
    },
    gauges(name, _help, _label, read) {
      comingAndGoing.set(name, read);
    },
  };
}
