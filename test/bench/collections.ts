/** What V8's garbage collector took of the time of this thread. */
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds of the collections that began from `from` on and before `to`, by `performance.now()`. */
export type CollectedBetween = (from: number, to: number) => number;

/** From now on, until the returned function is called. */
export function watchCollections(): () => Promise<CollectedBetween> {
  const collections: { readonly startTime: number; readonly duration: number }[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  return async () => {
    await sleep(100); // entries come late
    observer.disconnect();
    return (from, to) =>
      collections
        .filter(({ startTime }) => startTime >= from && startTime < to)
        .reduce((sum, { duration }) => sum + duration, 0);
  };
}
