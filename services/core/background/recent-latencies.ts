/**
 * A percentile of the latencies of the last minute: six windows of ten seconds, each with counts in logarithmic
 * buckets, of which the oldest is emptied and used again. To observe one is two array accesses.
 */

export interface RecentLatencies {
  observe(milliseconds: number, now: number): void;
  /** An upper bound of it, 8% above at most; undefined where too little was observed to say. */
  percentile(fraction: number, now: number): number | undefined;
}

const windows = 6;
const windowMs = 10_000;
/** 2^(1/9): nine buckets double. From 0.01 ms to two minutes. */
const bucketsADoubling = 9;
const least = 0.01;
const buckets = 24 * bucketsADoubling;
/** With fewer than so many beyond the percentile it is the luck of a few. */
const beyondMin = 3;

export function createRecentLatencies(): RecentLatencies {
  const counts = Array.from({ length: windows }, () => new Uint32Array(buckets));
  let current = 0;

  /** Empties the windows that have begun since. */
  function moveTo(now: number): Uint32Array {
    const window = Math.floor(now / windowMs);
    for (let i = 0; current < window && i < windows; i++) {
      current = Math.max(current + 1, window - windows + 1 + i);
      counts[current % windows]?.fill(0);
    }
    current = Math.max(current, window);
    return counts[current % windows] as Uint32Array;
  }

  return {
    observe(milliseconds, now) {
      const bucket = Math.ceil(bucketsADoubling * Math.log2(milliseconds / least));
      const window = moveTo(now);
      const at = Math.min(buckets - 1, bucket > 0 ? bucket : 0);
      window[at] = (window[at] as number) + 1;
    },
    percentile(fraction, now) {
      moveTo(now);
      const sum = (at: number) => counts.reduce((total, window) => total + (window[at] as number), 0);
      let total = 0;
      for (let at = 0; at < buckets; at++) total += sum(at);
      const beyond = total * (1 - fraction);
      if (beyond < beyondMin) return undefined;
      let above = 0;
      for (let at = buckets - 1; at >= 0; at--) {
        above += sum(at);
        if (above > beyond) return least * 2 ** (at / bucketsADoubling);
      }
      return least;
    },
  };
}
