import type { Clock } from '../core/ports.ts';

export function createClock(): Clock {
  return {
    now: () => performance.now(),
    wallNow: () => Date.now(),
    after(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    endOfTurn: (run) => setImmediate(run),
  };
}
