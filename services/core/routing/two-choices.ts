/**
 * The power of two choices (Mitzenmacher 2001): of two drawn at random the one that costs less. Whoever takes the best of
 * all by what it saw last runs there together with everybody else who saw the same.
 */

export interface Choice<T> {
  /** Those that can be asked, in order. */
  readonly candidates: readonly T[];
  /** Taken as one of the two where it is given: the nearest, say. */
  readonly favourite?: T | undefined;
  cost(candidate: T): number;
  /** A uniform integer in 0..bound-1. */
  below(bound: number): number;
}

/** All candidates: the one chosen, the one it was chosen before, the others in order. */
export function chooseOfTwo<T>({ candidates, favourite, cost, below }: Choice<T>): readonly T[] {
  const { length } = candidates;
  if (length < 2) return candidates;
  const favoured = favourite === undefined ? -1 : candidates.indexOf(favourite);
  const first = favoured >= 0 ? favoured : below(length);
  const drawn = below(length - 1);
  const second = drawn < first ? drawn : drawn + 1;
  const [a, b] = [candidates[first] as T, candidates[second] as T];
  const [chosen, other] = cost(b) < cost(a) ? [b, a] : [a, b];
  return [chosen, other, ...candidates.filter((_, i) => i !== first && i !== second)];
}
