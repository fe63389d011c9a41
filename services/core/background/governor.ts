/**
 * How much background work may be done now: so much that the foreground does not feel it. A share of a ceiling, halved
 * while the node's own foreground is slower than its target, raised slowly while it is not, never below a floor, so that
 * convergence stays bounded (additive increase, multiplicative decrease: Chiu and Jain 1989; DeCandia et al. 2007, 6.5).
 *
 * A pure machine: the time, and how slow the foreground is, come in as arguments.
 *
 * I1 What was admitted in any time is at most what the shares of that time allow, and a tenth of a second of it ahead.
 */

export interface GovernorLimits {
  /** Of the foreground's 99.9th percentile, milliseconds. */
  readonly targetMs: number;
  /** A second, where the share is 1. */
  readonly operationsMax: number;
  readonly bytesMax: number;
  /** The least share. */
  readonly floor: number;
}

export interface Governor {
  /** Takes so much now; how long to wait before it may be done, milliseconds. */
  take(operations: number, bytes: number, now: number): number;
  /** To be told about once a second; undefined: nothing is known. */
  foreground(p999Ms: number | undefined): void;
  /** 0 to 1. */
  readonly share: number;
  /** The foreground was slower than it should be when last heard of. */
  readonly backsOff: boolean;
}

const decrease = 0.5;
const increase = 0.05;
/** What can be done at once after a rest. */
const aheadMs = 100;

export function createGovernor({ targetMs, operationsMax, bytesMax, floor }: GovernorLimits): Governor {
  let share = 0.5;
  let backsOff = false;
  /** When all that was taken will have been paid for. */
  let paidAt = Number.NEGATIVE_INFINITY;
  return {
    take(operations, bytes, now) {
      const seconds = Math.max(operations / operationsMax, bytes / bytesMax) / share;
      paidAt = Math.max(paidAt, now - aheadMs) + seconds * 1_000;
      return Math.max(0, paidAt - now);
    },
    foreground(p999Ms) {
      backsOff = p999Ms !== undefined && p999Ms > targetMs;
      share = backsOff ? Math.max(floor, share * decrease) : Math.min(1, share + increase);
    },
    get share() {
      return share;
    },
    get backsOff() {
      return backsOff;
    },
  };
}
