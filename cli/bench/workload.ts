/**
 * Which operation comes next, and on which key. Keys are `user` and 19 digits, as in YCSB (Cooper et al., 2010).
 *
 * Zipfian numbers are drawn by YCSB's method (Gray et al., "Quickly generating billion-record synthetic
 * databases", 1994) with exponent 0.99: rank k with a chance proportional to 1 / k^0.99. Ranks are scattered
 * over the keys, so that popular keys are not neighbours.
 */

export type Distribution = 'zipfian' | 'uniform';

export interface Workload {
  readonly keys: number;
  /** The part of operations that are reads, 0 to 1. */
  readonly reads: number;
  readonly distribution: Distribution;
}

/** YCSB's A, B and C: half reads, 95% reads, only reads. */
export const readsOfWorkload: Readonly<Record<string, number>> = { a: 0.5, b: 0.95, c: 1 };

export function keyName(index: number): string {
  return `user${String(index).padStart(19, '0')}`;
}

const exponent = 0.99;
/** A prime that is no divisor of any number of keys below it. */
const scatter = 2_654_435_761;
export const keysMax = 1_000_000_000;

/** A function that draws key indices, 0 to keys - 1. `random` gives numbers from 0 to below 1. */
export function keyChooser({ keys, distribution }: Workload, random: () => number): () => number {
  if (distribution === 'uniform' || keys === 1) return () => Math.floor(random() * keys);
  const zetaN = zeta(keys);
  const alpha = 1 / (1 - exponent);
  const eta = (1 - (2 / keys) ** (1 - exponent)) / (1 - zeta(2) / zetaN);
  const half = 1 + 0.5 ** exponent;
  return () => {
    const u = random();
    const uz = u * zetaN;
    const rank = uz < 1 ? 0 : uz < half ? 1 : Math.min(keys - 1, Math.floor(keys * (eta * u - eta + 1) ** alpha));
    return Number((BigInt(rank) * BigInt(scatter)) % BigInt(keys));
  };
}

/** The sum of 1 / k^exponent for k = 1 … n: term by term at first, by the integral for the long tail. */
function zeta(n: number): number {
  const exact = Math.min(n, 1_000_000);
  let sum = 0;
  for (let k = 1; k <= exact; k++) sum += 1 / k ** exponent;
  if (n > exact) sum += ((n + 0.5) ** (1 - exponent) - (exact + 0.5) ** (1 - exponent)) / (1 - exponent);
  return sum;
}
