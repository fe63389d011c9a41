/**
 * Deadlines of operations, kept in buckets of one tick: thousands a second cost an array push each, and
 * one timer for all. An alarm goes off less than two ticks late, never early.
 *
 * I1 While nothing is waiting there is no timer.
 * I2 A cancelled alarm stays in its bucket until the bucket's time, and holds nothing: nearly every operation
 *    cancels its own, and a time-out later is too late to let go of the answer.
 * I3 Buckets before `nextTick` are empty and stay so: whatever is set from now on goes to it or a later one.
 */
import type { Clock } from './ports.ts';

export const tickMs = 8;

export interface Alarm {
  /** It has neither gone off nor been cancelled. */
  readonly armed: boolean;
  cancel(): void;
}

export interface Deadlines {
  /** Calls `ring` once `clock.now()` has reached `at`. */
  set(at: number, ring: () => void): Alarm;
  /** No alarm goes off any more. */
  close(): void;
}

export function createDeadlines(clock: Clock): Deadlines {
  const buckets = new Map<number, OneAlarm[]>();
  let nextTick = 0;
  let ticking = false;
  let cancelTick = () => {};

  function arm(): void {
    ticking = true;
    cancelTick = clock.after(tickMs, tick);
  }

  function tick(): void {
    const reached = Math.floor(clock.now() / tickMs);
    while (nextTick <= reached && buckets.size > 0) {
      // Before anything rings: an alarm may set another one (I3).
      const due = buckets.get(nextTick);
      buckets.delete(nextTick++);
      for (const alarm of due ?? []) alarm.goOff();
    }
    ticking = false;
    if (buckets.size > 0) arm();
  }

  return {
    set(at, ring) {
      const alarm = new OneAlarm(ring);
      if (!ticking) {
        nextTick = Math.floor(clock.now() / tickMs);
        arm();
      }
      const bucket = Math.max(Math.ceil(at / tickMs), nextTick);
      const others = buckets.get(bucket);
      if (others === undefined) buckets.set(bucket, [alarm]);
      else others.push(alarm);
      return alarm;
    },
    close() {
      buckets.clear();
      cancelTick();
    },
  };
}

class OneAlarm implements Alarm {
  #ring: (() => void) | undefined;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  get armed(): boolean {
    return this.#ring !== undefined;
  }

  cancel(): void {
    this.#ring = undefined;
  }

  goOff(): void {
    const ring = this.#ring;
    this.#ring = undefined;
    ring?.();
  }
}
