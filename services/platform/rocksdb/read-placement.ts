/**
 * Where the next read of the engine runs: on the event loop or in a reader thread (readers.ts).
 *
 * While the data is in memory (memtables, block cache, page cache) a read costs less than waking a thread for
 * it, and on a busy machine the wake-ups are what operations wait for. But a read that has to wait for the disk
 * holds up every other operation of the node. So what slow reads on the event loop have taken is a debt, paid off
 * at `stallShare` of the time that passes; while it is above `debtMsMax` the threads read. A single slow one may be the
 * scheduler's doing, and costs nothing; a disk that is waited for again and again takes `stallShare` of the time.
 *
 * I1 A read of more than `inlineKeysMax` keys goes to a thread: there the wake-up is shared by many.
 */

/** In memory 16 keys of 1 KB take about 100 µs on a busy machine of 2 cores. */
export const inlineKeysMax = 64;
/** Slower than any read in memory; faster than most disks behind a network. */
export const stallMs = 1;
export const stallShare = 0.02;
/** A few turns of the scheduler. */
export const debtMsMax = 20;

export interface ReadPlacement {
  inline(keys: number, now: number): boolean;
  /** A read on the event loop has taken so long. */
  took(milliseconds: number, now: number): void;
}

export function createReadPlacement(): ReadPlacement {
  let debtMs = 0;
  let at = 0;

  function debtNow(now: number): number {
    debtMs = Math.max(0, debtMs - (now - at) * stallShare);
    at = now;
    return debtMs;
  }

  return {
    inline: (keys, now) => keys <= inlineKeysMax && debtNow(now) <= debtMsMax,
    took(milliseconds, now) {
      if (milliseconds > stallMs) debtMs = debtNow(now) + milliseconds;
    },
  };
}
