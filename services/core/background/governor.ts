/**
 * How much background work may be done now: so much that the foreground does not feel it. A share of a ceiling, that
 * begins at a floor and doubles until it is first felt; halved while the node's own foreground is slower than its target, its
 * disk stalls, or its event loop is late with what is due; raised slowly while none of that is so, never below the floor, so
 * that convergence stays bounded (slow start, slow increase, multiplicative decrease: Jacobson 1988, Chiu and Jain 1989;
 * the delay of a queue as the sign that others want it: LEDBAT, RFC 6817; DeCandia et al. 2007, 6.5).
 *
 * The percentile of clients is of a minute: it says whether the target is kept. Lateness is of a second, before a client
 * has waited for long, and counts what other processes of the machine take too.
 *
 * A pure machine: the time, and how slow the foreground is, come in as arguments.
 *
 * I1 What was admitted in any time is at most what the shares of that time allow, and 25 ms of it ahead; but for what cannot
 *    be put off (`charge`), which is paid for by what can, down to the floors of I2.
 * I2 What can be put off has its floor all the same, whatever is charged, and so has what other nodes ask, whatever this one
 *    does itself: who pulls goes no faster than it is answered. And both pay for no more than the last `debtMaxMs`: clients that
 *    write to the buffer for an hour, faster than the background may, would else have them wait for hours after they have gone.
 */

export interface GovernorLimits {
  /** Of the foreground's 99.9th percentile, milliseconds. */
  readonly targetMs: number;
  /** A write to the disk that has been under way for longer is a stall. */
  readonly stallMs: number;
  /** A second, where the share is 1. */
  readonly operationsMax: number;
  readonly bytesMax: number;
  /** The least share, and the first. */
  readonly floor: number;
}

/** How the node is, when it is asked. */
export interface Strain {
  /** 99.9th percentile of what clients have waited of late; undefined: nothing is known. */
  readonly p999Ms: number | undefined;
  /** How long the write to the disk has been under way; 0: there is none. */
  readonly writingMs: number;
  /** How late the event loop is with what is due: the 95th percentile of the last second. */
  readonly lateMs: number;
}

/** Why something waits: for clients, a disk or a processor that are slow, or only for its turn in what the share allows. */
export type WaitReason = 'clients' | 'disk' | 'processor' | 'budget';

export interface Governor {
  /** Takes so much now; how long to wait before it may be done, milliseconds. */
  take(operations: number, bytes: number, now: number): number;
  /** The same of what waits no longer than `withinMs`. */
  charge(operations: number, bytes: number, now: number, withinMs: number): number;
  /** The same of what another node asks. */
  answer(operations: number, bytes: number, now: number, withinMs: number): number;
  /** To be told about once a second. */
  feel(strain: Strain): void;
  /** 0 to 1. */
  readonly share: number;
  /** Why the background goes no faster, as of the last `feel`. */
  readonly reason: WaitReason;
}

const decrease = 0.5;
/** Of the share and a fifth of the ceiling, so that it is whole again half a minute after the worst. */
const increase = 0.05;
const leastGrown = 0.2;
/** What can be done at once after a rest: no more than a client may have to wait for in one go. */
const aheadMs = 25;
/** As far back as the latencies go that the share is made of (recent-latencies.ts). */
const debtMaxMs = 60_000;

/**
 * How late the event loop may be where the 99.9th percentile of clients may be `targetMs`: an operation goes through the loops of
 * three nodes, twice each, and where one timer of twenty is late by this much one operation of a thousand waits for many times
 * that. Of 100 ms it is 2; 95 of 100 timers of a node with a core to itself are less than one late.
 */
export function lateMsOf(targetMs: number): number {
  return targetMs / 50;
}

export function createGovernor(limits: GovernorLimits): Governor {
  const { targetMs, stallMs, operationsMax, bytesMax, floor } = limits;
  let share = floor;
  let wasFelt = false;
  let reason: WaitReason = 'budget';
  /** When all that was taken will have been paid for. */
  let paidAt = Number.NEGATIVE_INFINITY;
  /** When the last of what can be put off may be done: the next of it waits no longer from then on than the floor says. */
  let letOnAt = Number.NEGATIVE_INFINITY;
  /** The same of what other nodes ask. */
  let answeredAt = Number.NEGATIVE_INFINITY;

  /** Of all that can be done in a second where the share is 1. */
  const partOf = (operations: number, bytes: number) => Math.max(operations / operationsMax, bytes / bytesMax);
  const after = (at: number, part: number, of: number, now: number) =>
    Math.max(at, now - aheadMs) + (part / of) * 1_000;

  /** The rest waits for it. When it would have been its turn. */
  function payLater(part: number, now: number): number {
    const due = after(paidAt, part, share, now);
    paidAt = Math.min(due, Math.max(paidAt, now + debtMaxMs));
    return due;
  }

  return {
    take(operations, bytes, now) {
      const part = partOf(operations, bytes);
      paidAt = after(paidAt, part, share, now);
      letOnAt = Math.min(paidAt, after(letOnAt, part, floor, now));
      return Math.max(0, letOnAt - now);
    },
    charge(operations, bytes, now, withinMs) {
      return Math.min(withinMs, Math.max(0, payLater(partOf(operations, bytes), now) - now));
    },
    answer(operations, bytes, now, withinMs) {
      const part = partOf(operations, bytes);
      answeredAt = Math.min(payLater(part, now), after(answeredAt, part, floor, now), now + withinMs);
      return Math.max(0, answeredAt - now);
    },
    feel({ p999Ms = 0, writingMs, lateMs }) {
      const isLate = lateMs > lateMsOf(targetMs);
      reason = p999Ms > targetMs ? 'clients' : writingMs > stallMs ? 'disk' : isLate ? 'processor' : 'budget';
      if (reason === 'budget') {
        share = Math.min(1, wasFelt ? share + increase * (share + leastGrown) : share * 2);
      } else {
        share = Math.max(floor, share * decrease);
        wasFelt = true;
      }
    },
    get share() {
      return share;
    },
    get reason() {
      return reason;
    },
  };
}
