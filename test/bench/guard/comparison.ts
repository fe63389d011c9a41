/** Slices of two programs measured in turn, and the ratio of the two. Pure. */
export interface Slice {
  readonly operations: number;
  readonly failed: number;
  readonly cpuSeconds: number;
}

export interface Comparison {
  /** Operations per CPU-second of all slices together. */
  readonly before: number;
  readonly now: number;
  /** now : before; the means are of the rounds, so that a minute in which both were slow counts for no more. */
  readonly ratio: number;
  readonly lowest: number;
  readonly highest: number;
  readonly rounds: number;
  readonly failed: number;
}

export function compared(rounds: readonly { readonly before: Slice; readonly now: Slice }[]): Comparison {
  if (rounds.length === 0) throw new RangeError('a comparison wants at least one round, saw 0');
  const ratios = rounds.map(({ before, now }) => efficiency([now]) / efficiency([before]));
  const befores = rounds.map(({ before }) => before);
  const nows = rounds.map(({ now }) => now);
  return {
    before: efficiency(befores),
    now: efficiency(nows),
    // Of ratios the geometric mean: 2 and 1/2 are none the better.
    ratio: Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    rounds: rounds.length,
    failed: [...befores, ...nows].reduce((sum, { failed }) => sum + failed, 0),
  };
}

export function comparisonText(
  { before, now, ratio, lowest, highest, rounds, failed }: Comparison,
  names: { readonly now: string; readonly before: string; readonly load: string },
): string {
  const range = rounds === 1 ? 'one round' : `rounds from ${lowest.toFixed(2)} to ${highest.toFixed(2)}`;
  return [
    `${ratio.toFixed(2)}× the operations per server CPU-second of before (${range}):`,
    `${Math.round(now).toLocaleString('en')} at ${names.now}, ${Math.round(before).toLocaleString('en')} at ${names.before};`,
    `${names.load}, ${rounds} × 2 slices, ${failed} failed`,
  ].join(' ');
}

function efficiency(slices: readonly Slice[]): number {
  const total = (of: (slice: Slice) => number) => slices.reduce((sum, slice) => sum + of(slice), 0);
  return total(({ operations }) => operations) / total(({ cpuSeconds }) => cpuSeconds);
}
