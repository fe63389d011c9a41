/** google.protobuf.Duration, as whole milliseconds. */
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';

/** Ten years of leap years: what a ttl may be at most. */
export const durationMsMax = 10 * 366 * 24 * 3_600_000;

export function encodeDuration(ms: number): Duration {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 };
}

/** Upwards: what is above nothing is not nothing. NaN where the message makes no sense. */
export function millisecondsOf({ seconds, nanos }: Duration): number {
  if (seconds < 0n || nanos < 0 || nanos > 999_999_999) return Number.NaN;
  return Number(seconds) * 1_000 + Math.ceil(nanos / 1_000_000);
}
