/**
 * Which partitions of this node lag: are known to differ from another home, and since when. What exchanges know of it
 * (exchanges.ts) as an operator asks for it.
 *
 * The metric has a series for the ten partitions that have lagged longest, and for none of less than a minute. A node of a
 * large cluster (1,024 partitions on 300 nodes) owns about ten, so it shows all of them. One of three nodes owns all 1,024,
 * and the tenth oldest tells no more than the oldest ones and how many there are. Under writes an exchange finds, and mends
 * within milliseconds, what is just on its way: as series those would be a new partition at each scrape, 3,072 in all that
 * are never looked at. So a cluster that is well has no series, and one in trouble ten for each node. A histogram would
 * have more buckets than that on every node all the time, and would not say which partition it is.
 */
import type { Metrics } from '../core/ports.ts';

export interface Lag {
  readonly partition: number;
  /** The id of the other home. */
  readonly peer: string;
  /** For how long it is known. */
  readonly ms: number;
  /** For people: why it is not mended; empty: it is being mended, and waits for nothing. */
  readonly waitsFor: string;
}

/** In a status, which the claimant asks for twice a second while the ring changes: 64 of them are 8 KB. */
export const lagsTold = 64;
const seriesMax = 10;
/** What is mended sooner nobody looks into; longer than the usual interval of a scrape. */
const measuredFromMs = 60_000;

/** `lags`: the oldest first. */
export function exposeLags(metrics: Metrics, lags: () => Iterable<Pick<Lag, 'partition' | 'ms'>>): void {
  metrics.gauges(
    'cartwheel_partition_lag_seconds',
    'Age of the oldest difference that is known of a partition: the ten that are oldest, of those older than a minute',
    'partition',
    () => {
      const series = new Map<string, number>();
      for (const { partition, ms } of lags()) {
        const name = String(partition);
        if (ms < measuredFromMs || series.size >= seriesMax) break;
        if (!series.has(name)) series.set(name, ms / 1_000);
      }
      return series;
    },
  );
}
