/** google.protobuf.Duration, as whole milliseconds. */
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';

/** Ten years of leap years: what a ttl may be at most. */
export const durationMsMax = 10 * 366 * 24 * 3_600_000;

/** Of what is no whole number the next one. */
export function encodeDuration(ms: number): Duration {
  const whole = Math.ceil(ms);
  return { seconds: BigInt(Math.floor(whole / 1_000)), nanos: (whole % 1_000) * 1_000_000 };
}

/** Upwards: what is above nothing is not nothing. NaN where the message makes no sense. */
export function millisecondsOf({ seconds, nanos }: Duration): number {
  if (seconds < 0n || nanos < 0 || nanos > 999_999_999) return Number.NaN;
  return Number(seconds) * 1_000 + Math.ceil(nanos / 1_000_000);
}
