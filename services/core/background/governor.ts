/**
 * How much background work may be done now: so much that the foreground does not feel it. A share of a ceiling, halved
 * while the node's own foreground is slower than its target, or its disk stalls; raised slowly while neither is so, never
 * below a floor, so that convergence stays bounded (additive increase, multiplicative decrease: Chiu and Jain 1989;
 * DeCandia et al. 2007, 6.5).
 *
 * A pure machine: the time, and how slow the foreground is, come in as arguments.
 *
 * I1 What was admitted in any time is at most what the shares of that time allow, and 25 ms of it ahead.
 */

export interface GovernorLimits {
  /** Of the foreground's 99.9th percentile, milliseconds. */
  readonly targetMs: number;
  /** A write to the disk that has been under way for longer is a stall. */
  readonly stallMs: number;
  /** A second, where the share is 1. */
  readonly operationsMax: number;
  readonly bytesMax: number;
  /** The least share. */
  readonly floor: number;
}

/** How the node is, when it is asked. */
export interface Strain {
  /** 99.9th percentile of what clients have waited of late; undefined: nothing is known. */
  readonly p999Ms: number | undefined;
  /** How long the write to the disk has been under way; 0: there is none. */
  readonly writingMs: number;
}

/** Why something waits: for clients or a disk that are slow, or only for its turn in what the share allows. */
export type WaitReason = 'clients' | 'disk' | 'budget';

export interface Governor {
  /** Takes so much now; how long to wait before it may be done, milliseconds. */
  take(operations: number, bytes: number, now: number): number;
  /** To be told about once a second. */
  feel(strain: Strain): void;
  /** 0 to 1. */
  readonly share: number;
  /** Why the background goes no faster, as of the last `feel`. */
  readonly reason: WaitReason;
}

const decrease = 0.5;
const increase = 0.05;
/** What can be done at once after a rest: no more than a client may have to wait for in one go. */
const aheadMs = 25;

export function createGovernor(limits: GovernorLimits): Governor {
  const { targetMs, stallMs, operationsMax, bytesMax, floor } = limits;
  let share = 0.5;
  let reason: WaitReason = 'budget';
  /** When all that was taken will have been paid for. */
  let paidAt = Number.NEGATIVE_INFINITY;
  return {
    take(operations, bytes, now) {
      const seconds = Math.max(operations / operationsMax, bytes / bytesMax) / share;
      paidAt = Math.max(paidAt, now - aheadMs) + seconds * 1_000;
      return Math.max(0, paidAt - now);
    },
    feel({ p999Ms = 0, writingMs }) {
      reason = p999Ms > targetMs ? 'clients' : writingMs > stallMs ? 'disk' : 'budget';
      share = reason === 'budget' ? Math.min(1, share + increase) : Math.max(floor, share * decrease);
    },
    get share() {
      return share;
    },
    get reason() {
      return reason;
    },
  };
}
