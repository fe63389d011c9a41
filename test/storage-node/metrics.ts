import type { Metrics } from '../../services/core/ports.ts';

export interface ReadableMetrics extends Metrics {
  /** What a counter has counted, over all its labels, or what a gauge says. */
  valueOf(name: string): number;
}

export function createReadableMetrics(): ReadableMetrics {
  const counters = new Map<string, number>();
  const gauges = new Map<string, () => number>();
  return {
    valueOf: (name) => gauges.get(name)?.() ?? counters.get(name) ?? 0,
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
  };
}
