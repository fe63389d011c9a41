/** Metrics (port) that only count, by name, over all nodes of a simulation. */
import type { Metrics } from '../../services/core/ports.ts';

export interface CountingMetrics extends Metrics {
  count(name: string): number;
}

export function createCountingMetrics(): CountingMetrics {
  const counts = new Map<string, number>();
  return {
    count: (name) => counts.get(name) ?? 0,
    counter: (name) => ({
      add(n) {
        counts.set(name, (counts.get(name) ?? 0) + n);
      },
    }),
    histogram: () => ({ observe() {} }),
    sizes: () => ({ observe() {} }),
    gauge() {},
    gauges() {},
  };
}
