/** Deterministic numbers that look random, to break ties: the same on every machine, for ever. */
export type Mix = (bound: number) => number;

/** Each call gives an integer in 0..bound-1. A counter through an integer finaliser (lowbias32, Chris Wellons). */
export function createMix(seed: number): Mix {
  let counter = seed >>> 0;
  return (bound) => {
    counter = (counter + 0x9e3779b9) >>> 0;
    let x = counter;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    x = (x ^ (x >>> 16)) >>> 0;
    return Math.floor((x / 2 ** 32) * bound);
  };
}

/** Shuffles in place (Fisher and Yates), and returns it. */
export function shuffle<T>(items: T[], mix: Mix): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = mix(i + 1);
    const item = items[i] as T;
    items[i] = items[j] as T;
    items[j] = item;
  }
  return items;
}
