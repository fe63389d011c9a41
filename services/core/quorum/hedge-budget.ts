/**
 * How many requests may be sent twice on the suspicion that the first one is slow. When everything is slow,
 * because the load is, hedges would only add to it: they are bound to a share of all requests.
 */

/** At most this many extra requests for each one. */
export const hedgeShare = 0.05;
/** What may be saved up: enough for the reads in flight when one node stops. */
export const hedgesSavedMax = 100;

export interface HedgeBudget {
  /** A request was made. */
  earn(): void;
  /** Whether one more may be sent; it is then taken off. */
  spend(): boolean;
}

export function createHedgeBudget(): HedgeBudget {
  let saved = hedgesSavedMax;
  return {
    earn() {
      saved = Math.min(saved + hedgeShare, hedgesSavedMax);
    },
    spend() {
      if (saved < 1) return false;
      saved -= 1;
      return true;
    },
  };
}
