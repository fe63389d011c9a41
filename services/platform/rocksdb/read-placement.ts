/**
 * Where the next read of the engine runs: on the event loop or in the thread pool.
 *
 * While the data is in memory (memtables, block cache, page cache) a read costs less than waking a thread for
 * it, and on a busy machine the wake-ups are what operations wait for. But a read that has to wait for the disk
 * holds up every other operation of the node. So: on the event loop, until one was slow; then in the pool, for so
 * long that the slow ones together take at most `1 / poolTimesStall` of the time.
 *
 * I1 A read of more than `inlineKeysMax` keys goes to the pool: there the wake-up is shared by many.
 */

/** In memory 16 keys of 1 KB take about 100 µs on a busy machine of 2 cores. */
export const inlineKeysMax = 64;
/** Slower than any read in memory; faster than most disks behind a network. */
export const stallMs = 1;
export const poolTimesStall = 100;
/** One hiccup of the scheduler must not cost a minute. */
export const poolMsMax = 10_000;

export interface ReadPlacement {
  inline(keys: number, now: number): boolean;
  /** A read on the event loop has taken so long. */
  took(milliseconds: number, now: number): void;
}

export function createReadPlacement(): ReadPlacement {
  let poolUntil = Number.NEGATIVE_INFINITY;
  return {
    inline: (keys, now) => keys <= inlineKeysMax && now >= poolUntil,
    took(milliseconds, now) {
      if (milliseconds > stallMs) poolUntil = now + Math.min(milliseconds * poolTimesStall, poolMsMax);
    },
  };
}
