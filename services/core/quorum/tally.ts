/**
 * The arithmetic of one quorum: how many of the replicas asked have to answer, and whether they still can.
 *
 * Knows nothing of what was asked, of time, or of who they are.
 *
 * I1 A tally is settled at most once: `enough` or `impossible`, whichever comes first.
 */

export type Verdict = 'open' | 'enough' | 'impossible';

export interface Tally {
  /** R or W. */
  readonly needed: number;
  readonly answered: number;
  readonly failed: number;
  /** Asked, and neither answered nor failed. */
  readonly outstanding: number;
  readonly verdict: Verdict;
}

export function openTally(needed: number, asked: number): Tally {
  return settle({ needed, answered: 0, failed: 0, outstanding: asked, verdict: 'open' });
}

export function withAnswer(tally: Tally): Tally {
  return settle({ ...tally, answered: tally.answered + 1, outstanding: tally.outstanding - 1 });
}

export function withFailure(tally: Tally): Tally {
  return settle({ ...tally, failed: tally.failed + 1, outstanding: tally.outstanding - 1 });
}

/** One more replica is asked, in place of one that failed or is slow. */
export function withAnother(tally: Tally): Tally {
  return { ...tally, outstanding: tally.outstanding + 1 };
}

/** Enough by number, but not of the right ones: another answer is needed. */
export function withOneMoreNeeded(tally: Tally): Tally {
  return settle({ ...tally, needed: tally.answered + 1, verdict: 'open' });
}

/** The default R and W: the least majority, so that every read meets every write. */
export function majority(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}

function settle(tally: Tally): Tally {
  if (tally.verdict !== 'open') return tally;
  if (tally.answered >= tally.needed) return { ...tally, verdict: 'enough' };
  if (tally.answered + tally.outstanding < tally.needed) return { ...tally, verdict: 'impossible' };
  return tally;
}
