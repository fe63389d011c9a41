import type { Clock } from '../core/ports.ts';

/** 24.8 days. Node takes a longer time for one millisecond, so such a time is waited for in parts. */
const timerMsMax = 2 ** 31 - 1;

export function createClock(): Clock {
  return {
    now: () => performance.now(),
    wallNow: () => Date.now(),
    after(ms, run) {
      if (ms > timerMsMax) return afterParts(ms, run);
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    endOfTurn: (run) => setImmediate(run),
  };
}

function afterParts(ms: number, run: () => void): () => void {
  let left = ms;
  let timer: NodeJS.Timeout;
  const next = () => {
    const part = Math.min(left, timerMsMax);
    left -= part;
    timer = setTimeout(left > 0 ? next : run, part);
  };
  next();
  return () => clearTimeout(timer);
}
