/**
 * How many requests a process may send beyond those it was asked for: hedges, sent because the first is slow, and
 * second attempts, sent because it failed. Both take from one budget: when a node dies, or everything is slow because
 * the load is, what each adds would only add to it (the token bucket of gRFC A6 and of the AWS clients).
 */

/** At most this many extra requests for each one. */
export const extraShare = 0.05;

export interface ExtraBudget {
  /** A request was made. */
  earn(): void;
  /** Whether one more may be sent; it is then taken off. */
  spend(): boolean;
  /** One more is sent in any case, because without it an operation fails; what is sent at will has to wait for it. */
  charge(): void;
}

/** `savedMax`: what may be saved up, enough for the requests in flight when one node stops. */
export function createExtraBudget(savedMax: number): ExtraBudget {
  let saved = savedMax;
  return {
    earn() {
      saved = Math.min(saved + extraShare, savedMax);
    },
    spend() {
      if (saved < 1) return false;
      saved -= 1;
      return true;
    },
    charge() {
      saved = Math.max(0, saved - 1);
    },
  };
}
