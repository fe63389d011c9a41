/**
 * The clocks of one node (port Clock): a monotonic one with an origin of its own, so that a moment of one
 * node means nothing on another, and a wall clock that may be hours off and jump.
 *
 * I1 A node that is dead does nothing any more: what its clock was to call is not called.
 * I2 The ends of turns come in the order in which they were asked for.
 */
import type { Clock } from '../../services/core/ports.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** 2026-01-01. */
const wallStart = 1_767_225_600_000;
const turnMsMax = 0.3;

export interface NodeClockOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** How far the wall clock is off, in milliseconds. */
  wallSkew(): number;
  alive(): boolean;
}

export function createNodeClock({ scheduler, random, wallSkew, alive }: NodeClockOptions): Clock {
  const origin = Math.floor(random.between(0, 1e7));
  let turnEnds = -1;

  function after(ms: number, run: () => void): () => void {
    return scheduler.after(ms, () => {
      if (alive()) run();
    });
  }

  return {
    now: () => origin + scheduler.now(),
    wallNow: () => Math.floor(wallStart + scheduler.now() + wallSkew()),
    after,
    endOfTurn(run) {
      const now = scheduler.now();
      if (turnEnds < now) turnEnds = now + random.between(0, turnMsMax);
      after(turnEnds - now, run);
    },
  };
}
