/**
 * Histograms over typed arrays, of latencies and of sizes: what the hot path pays for being measured.
 *
 * Buckets of latencies are log-linear. Between 1 and 512 ms each power of two is cut into four equal parts, which makes
 * steps of 1.25, 1.2, 1.17 and 1.14; outside, into two (1.5 and 1.33), from 0.03 ms to 65.5 s. One more bound is
 * 300 ms, Dynamo's objective, so that what met it is counted and not estimated. The bucket of a value is
 * therefore written in its own bits: the exponent and the top six bits of the mantissa of the double.
 *
 *     63      52     46               32                       0
 *     s eeeeeeeeeee mmmmmm mmmmmmmmmmmmmm mmmmmmmmmmmmmmmmmmmmmmmm
 *       └───── slot ─────┘ high word        low word
 *
 * Buckets of sizes are the powers of two.
 *
 * I1 A value that equals a bound belongs to the bucket below it: Prometheus' `le` is "less than or equal".
 * I2 observe() allocates nothing and looks nothing up by name.
 */
import type { HistogramHandle } from '../core/ports.ts';

const FIRST_EXPONENT = -5;
const FINE_FROM_EXPONENT = 0;
const FINE_UNTIL_EXPONENT = 9;
const END_EXPONENT = 16;
/** 256 ms · (1 + 11/64). */
const OBJECTIVE_MS = 300;
/** As many as it takes for each bound to begin one. */
const SLOTS_PER_OCTAVE = 64;
const SLOT_SHIFT = 20 - Math.log2(SLOTS_PER_OCTAVE);

/** Upper bounds in milliseconds, ascending; a last bucket without a bound follows. */
export const BOUNDS_MS: Float64Array = bounds();

/** Number of slots below the first one that the table has: the slot that begins at 2^FIRST_EXPONENT. */
const FIRST_SLOT = (1_023 + FIRST_EXPONENT) * SLOTS_PER_OCTAVE;
const SLOT_TO_BUCKET: Uint8Array = slotTable();

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const LOW = LITTLE_ENDIAN ? 0 : 1;
const HIGH = LITTLE_ENDIAN ? 1 : 0;

export class Histogram implements HistogramHandle {
  /** Not cumulative; one longer than BOUNDS_MS. Doubles, because 2^32 operations are a day's work. */
  readonly counts: Float64Array = new Float64Array(BOUNDS_MS.length + 1);
  sum = 0;

  /** Milliseconds. A negative value or NaN is counted as 0: it comes from a clock, and must not spoil the sum. */
  observe(milliseconds: number): void {
    const value = milliseconds > 0 && milliseconds < Number.MAX_VALUE ? milliseconds : 0;
    const bucket = bucketOf(value);
    // biome-ignore lint/style/noNonNullAssertion: bucketOf() is an index of it
    this.counts[bucket] = this.counts[bucket]! + 1;
    this.sum += value;
  }
}

/** Upper bounds of sizes; a last bucket without a bound follows. */
export const SIZE_BOUNDS: readonly number[] = Array.from({ length: 21 }, (_, exponent) => 2 ** exponent);

export class SizeHistogram implements HistogramHandle {
  /** Not cumulative; one longer than SIZE_BOUNDS. */
  readonly counts: Float64Array = new Float64Array(SIZE_BOUNDS.length + 1);
  sum = 0;

  /** A whole number below 2^32. */
  observe(size: number): void {
    const bucket = size <= 1 ? 0 : Math.min(32 - Math.clz32(size - 1), SIZE_BOUNDS.length);
    // biome-ignore lint/style/noNonNullAssertion: bucket is an index of it
    this.counts[bucket] = this.counts[bucket]! + 1;
    this.sum += size;
  }
}

/** The first bucket whose bound is not below `milliseconds` (not negative, not NaN). */
export function bucketOf(milliseconds: number): number {
  scratch[0] = milliseconds;
  // Minus one unit in the last place where the low word is 0, so that a bound falls below itself (I1). Zero, the
  // one number that this would wrap, is below every bound anyway.
  const high = words[HIGH] as number;
  const slot = (words[LOW] === 0 && high > 0 ? high - 1 : high) >>> SLOT_SHIFT;
  const index = slot - FIRST_SLOT;
  if (index < 0) return 0;
  return SLOT_TO_BUCKET[index] ?? BOUNDS_MS.length;
}

function bounds(): Float64Array {
  const list: number[] = [];
  for (let exponent = FIRST_EXPONENT; exponent < END_EXPONENT; exponent++) {
    const fine = exponent >= FINE_FROM_EXPONENT && exponent < FINE_UNTIL_EXPONENT;
    for (const quarters of fine ? [5, 6, 7, 8] : [6, 8]) list.push((quarters / 4) * 2 ** exponent);
  }
  return Float64Array.from([...list, OBJECTIVE_MS].sort((a, b) => a - b));
}

function slotTable(): Uint8Array {
  const table = new Uint8Array((END_EXPONENT - FIRST_EXPONENT) * SLOTS_PER_OCTAVE);
  for (let slot = 0; slot < table.length; slot++) {
    const octave = 2 ** (FIRST_EXPONENT + Math.floor(slot / SLOTS_PER_OCTAVE));
    const upper = octave * (1 + ((slot % SLOTS_PER_OCTAVE) + 1) / SLOTS_PER_OCTAVE);
    table[slot] = BOUNDS_MS.findIndex((bound) => upper <= bound);
  }
  return table;
}
