/**
 * Work that a node does by itself, one round after the other: when it begins, is paused, and ends.
 *
 * I1 One round at a time; the wait for the next one begins at its end.
 * I2 While `delayMs` says that there is nothing to do there is no timer: whoever brings work calls `look`.
 */
import type { Clock } from '../core/ports.ts';

export interface Rounds {
  /** Begins, and goes on until `pause` or `stop`. */
  start(): void;
  /** There may be something to do now. */
  look(): void;
  /** Begins nothing by itself any more, until `start`. */
  pause(): void;
  /** For good. */
  stop(): void;
  /** Rounds may go on: neither paused nor stopped. */
  readonly goOn: boolean;
  readonly stopped: boolean;
}

export interface RoundsOptions {
  readonly clock: Pick<Clock, 'after'>;
  /** Until the next round; undefined: there is nothing to do. */
  delayMs(): number | undefined;
  /** Never rejects. */
  round(): Promise<unknown>;
}

export function createRounds({ clock, delayMs, round }: RoundsOptions): Rounds {
  let cancel: (() => void) | undefined;
  let working = false;
  let started = false;
  let stopped = false;

  function look(): void {
    if (!started || stopped || working || cancel !== undefined) return;
    const ms = delayMs();
    if (ms !== undefined) cancel = clock.after(ms, run);
  }

  function run(): void {
    cancel = undefined;
    working = true;
    void round().finally(() => {
      working = false;
      look();
    });
  }

  function pause(): void {
    started = false;
    cancel?.();
    cancel = undefined;
  }

  return {
    start() {
      started = true;
      look();
    },
    look,
    pause,
    stop() {
      stopped = true;
      pause();
    },
    get goOn() {
      return started && !stopped;
    },
    get stopped() {
      return stopped;
    },
  };
}
