/**
 * How long one process takes to answer: an exponentially weighted moving average that jumps to each peak at once and
 * comes down slowly, times what is under way there ("peak EWMA", as Finagle and linkerd balance by).
 *
 * Observations are spaced unevenly, so the weight of what was before is exp(-elapsed / lifetime) (Eckner 2017, "Algorithms
 * for unevenly spaced time series").
 *
 * I1 A process that is asked nothing comes down too: what was slow once is tried again.
 * I2 One that has never answered costs nothing until it is asked, and then more than all others until it answers.
 */

/**
 * The mean lifetime of what was observed. One slow sync or one collection of garbage is forgotten in a few of these;
 * who is slow for longer is seen to be so again and again. Finagle's is ten times that: its hosts are many, and doing
 * without one costs little; a key has N.
 */
export const lifetimeMs = 1_000;

export interface PeakEwma {
  started(): void;
  /** What was begun is answered; undefined: in a way that says nothing of how fast it is. */
  ended(latencyMs: number | undefined, now: number): void;
  /** Of one more operation. Comparable among processes, at one moment. */
  cost(now: number): number;
}

export function createPeakEwma(): PeakEwma {
  let estimateMs = 0;
  let underWay = 0;
  let at = Number.NEGATIVE_INFINITY;

  function observe(latencyMs: number, now: number): void {
    const kept = Math.exp(-Math.max(0, now - at) / lifetimeMs);
    estimateMs = latencyMs > estimateMs ? latencyMs : estimateMs * kept + latencyMs * (1 - kept);
    at = now;
  }

  return {
    started() {
      underWay++;
    },
    ended(latencyMs, now) {
      underWay--;
      if (latencyMs !== undefined) observe(latencyMs, now);
    },
    cost(now) {
      if (at === Number.NEGATIVE_INFINITY) return underWay === 0 ? 0 : Number.MAX_SAFE_INTEGER * underWay;
      return estimateMs * Math.exp(-Math.max(0, now - at) / lifetimeMs) * (underWay + 1);
    },
  };
}
