/**
 * Randomness from a seed: sfc32 (Chris Doty-Humphrey, PractRand). Every part of the simulation draws from a
 * stream of its own, so that one more draw in one part does not change all others.
 */
import type { Random } from '../../services/core/ports.ts';

export interface SeededRandom extends Random {
  /** 0 ≤ x < 1. */
  fraction(): number;
  /** low ≤ x < high. */
  between(low: number, high: number): number;
  /** Exponential: mostly short, sometimes long. */
  around(mean: number): number;
  chance(probability: number): boolean;
  pick<T>(of: readonly T[]): T;
  shuffled<T>(of: readonly T[]): T[];
  /** Another stream: the same for the same seed and name, whatever was drawn here. */
  fork(name: string): SeededRandom;
}

export function seededRandom(seed: number, name = ''): SeededRandom {
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) >>> 0;
  let c = fnv1a(name);
  let counter = 1;

  function next(): number {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  for (let i = 0; i < 15; i++) next();

  const random: SeededRandom = {
    u64: () => (BigInt(next()) << 32n) | BigInt(next()),
    below: (bound) => Math.floor(random.fraction() * bound),
    fraction: () => next() / 2 ** 32,
    between: (low, high) => low + random.fraction() * (high - low),
    around: (mean) => -Math.log(1 - random.fraction()) * mean,
    chance: (probability) => random.fraction() < probability,
    pick<T>(of: readonly T[]) {
      if (of.length === 0) throw new RangeError('there is nothing to pick from');
      return of[random.below(of.length)] as T;
    },
    shuffled<T>(of: readonly T[]) {
      const left = [...of];
      return of.map(() => left.splice(random.below(left.length), 1)[0] as T);
    },
    fork: (child) => seededRandom(seed, `${name}/${child}`),
  };
  return random;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
