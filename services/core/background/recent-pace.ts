/**
 * How fast something has come on in the last minute, and so when it ends. A mean over all its time would go on telling of
 * how fast it was an hour ago, when clients were few. Time and what is done come in; whoever asks chooses the unit.
 */

const windowMs = 60_000;
/** Of what is remembered: 60 of them. */
const sampleEveryMs = 1_000;

export interface RecentPace {
  /** So much is done by now; it may be less than before, where something has to be done again. */
  reached(done: number, now: number): void;
  /** Until `left` more is done; undefined: nothing was done in the last minute. */
  etaMs(left: number, now: number): number | undefined;
}

interface Sample {
  readonly at: number;
  readonly done: number;
}

/** `done`: where it begins. */
export function createRecentPace(done: number, now: number): RecentPace {
  const samples: Sample[] = [{ at: now, done }];
  let latest = done;

  /** The newest of those that are a minute old; the first one, where none is. */
  function before(now: number): Sample {
    while (samples.length > 1 && (samples[1] as Sample).at <= now - windowMs) samples.shift();
    return samples[0] as Sample;
  }

  return {
    reached(done, now) {
      latest = done;
      if (now - (samples.at(-1) as Sample).at >= sampleEveryMs) samples.push({ at: now, done });
      before(now);
    },
    etaMs(left, now) {
      const first = before(now);
      const gone = latest - first.done;
      return gone > 0 ? (left * (now - first.at)) / gone : undefined;
    },
  };
}
