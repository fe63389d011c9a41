/**
 * What the monotonic clock of another process says now, by what its messages say: at least what it said when it sent
 * one, and the time since that came (F. Cristian, Probabilistic clock synchronization, 1989, with the lower bound only).
 *
 * I1 What is stamped with it seems older than it is, by the fastest message of late, and never younger: so whoever
 *    gives up an operation at a time knows that nobody begins it after that.
 * I2 Clocks drift apart: what was heard more than two windows ago counts only where nothing was heard since.
 */
export interface RemoteClock {
  /** A message that was sent when the other clock said `theirs` has come at `now`. */
  heard(theirs: number, now: number): void;
  /** Undefined while nothing was heard. */
  at(now: number): number | undefined;
}

/** Clocks of computers differ by less than 50 µs a second: by 6 ms in two windows. */
export const windowMs = 60_000;

export function createRemoteClock(): RemoteClock {
  /** How far the other clock is ahead, at the least: the best of this window, and of the one before. */
  let ahead = Number.NEGATIVE_INFINITY;
  let aheadBefore = Number.NEGATIVE_INFINITY;
  let windowEnds = Number.NEGATIVE_INFINITY;

  return {
    heard(theirs, now) {
      if (!Number.isFinite(theirs)) return;
      if (now >= windowEnds) {
        aheadBefore = now < windowEnds + windowMs ? ahead : Number.NEGATIVE_INFINITY;
        ahead = Number.NEGATIVE_INFINITY;
        windowEnds = now + windowMs;
      }
      ahead = Math.max(ahead, theirs - now);
    },
    at(now) {
      const most = Math.max(ahead, aheadBefore);
      return most === Number.NEGATIVE_INFINITY ? undefined : now + most;
    },
  };
}

/** How long a message was on its way; 0 where it does not say when it was sent. */
export function ageOf(sentAtMs: number, now: number): number {
  return sentAtMs > 0 && sentAtMs < now ? now - sentAtMs : 0;
}
