/**
 * The keys that a process is asked for most, of the last half minute or so: a sketch (core/routing/space-saving.ts) whose
 * counts are halved every `halfLifeMs`.
 *
 * Metrics show how large a share the hottest have, by rank: a label for each key would be a series for each key that
 * was ever hot. Which keys they are `cartwheel hot` asks.
 */
import type { Clock, Metrics } from '../core/ports.ts';
import { parseStorageKey, storageKeyOfText } from '../core/ring/storage-key.ts';
import { createSpaceSaving } from '../core/routing/space-saving.ts';

/** Every key with more than a 256th of the operations has a counter (space-saving.ts, I3). */
const capacity = 256;
const halfLifeMs = 10_000;
/** Nothing is left of what was halved so often. */
const halvingsMax = 64;
/** An operation alone is so much after half a minute: where no more is left there was none lately, and shares say nothing. */
const forgotten = 1 / 8;
const ranks = 10;

export interface HotKey {
  readonly namespace: string;
  readonly key: Uint8Array;
  /** Not below what they are by more than `errorPerSecond`, and never above. */
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly errorPerSecond: number;
  /** Of all operations, `errorPerSecond` included. */
  readonly share: number;
}

export interface HotKeys {
  /** `storageKey` as text, see core/ring/storage-key.ts. */
  observe(storageKey: string, isRead: boolean): void;
  /** The hottest first. */
  top(limit: number): HotKey[];
}

export function createHotKeys(clock: Pick<Clock, 'now'>, metrics: Metrics): HotKeys {
  const sketch = createSpaceSaving(capacity);
  let halvedAt = clock.now();
  /** The counts are those of so many milliseconds before `halvedAt`, as a steady rate would have them. */
  let weightMs = 0;

  function forget(): number {
    const now = clock.now();
    const times = Math.floor((now - halvedAt) / halfLifeMs);
    halvedAt += times * halfLifeMs;
    for (let i = 0; i < Math.min(times, halvingsMax); i++) {
      sketch.halve();
      weightMs = (weightMs + halfLifeMs) / 2;
    }
    return now;
  }

  function top(limit: number): HotKey[] {
    const seconds = (weightMs + forget() - halvedAt) / 1_000;
    if (seconds <= 0 || sketch.total <= forgotten) return [];
    return sketch.top(limit).map(({ key, reads, writes, error, count }) => ({
      ...parseStorageKey(storageKeyOfText(key)),
      readsPerSecond: reads / seconds,
      writesPerSecond: writes / seconds,
      errorPerSecond: error / seconds,
      share: count / sketch.total,
    }));
  }

  for (let rank = 1; rank <= ranks; rank++) {
    metrics.gauge(
      'cartwheel_hot_key_share',
      'Share of the operations of the last half minute that the hottest keys have, by rank; cartwheel hot names them',
      () => top(rank)[rank - 1]?.share ?? 0,
      { rank: String(rank) },
    );
  }

  return {
    observe(storageKey, isRead) {
      forget();
      sketch.add(storageKey, isRead);
    },
    top,
  };
}
