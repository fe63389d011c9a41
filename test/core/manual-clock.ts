import type { Clock } from '../../services/core/ports.ts';

/** A clock whose time is moved by the test. */
export interface ManualClock extends Clock {
  /** Moves time on, one timer after the other, each at its time. */
  advance(ms: number): void;
  /** Moves time on at once, as after a pause of the whole process; what is due runs then. */
  jump(ms: number): void;
  /** Timers that wait. */
  readonly timers: number;
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** `wallNow` of the clock, where a test wants a wrong one. */
export function createManualClock(wallNow: () => number = () => 1_700_000_000_000): ManualClock {
  let now = 0;
  let timers: Timer[] = [];

  function next(until: number): Timer | undefined {
    const due = timers.filter(({ at }) => at <= until);
    const first = due.length === 0 ? undefined : due.reduce((a, b) => (b.at < a.at ? b : a));
    timers = timers.filter((timer) => timer !== first);
    return first;
  }

  return {
    now: () => now,
    wallNow,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    endOfTurn: (run) => setImmediate(run),
    advance(ms) {
      const until = now + ms;
      for (let timer = next(until); timer !== undefined; timer = next(until)) {
        now = Math.max(now, timer.at);
        timer.run();
      }
      now = until;
    },
    jump(ms) {
      now += ms;
      for (let timer = next(now); timer !== undefined; timer = next(now)) timer.run();
    },
    get timers() {
      return timers.length;
    },
  };
}
