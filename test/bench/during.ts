import type { Bench, BenchResult } from '../../cli/bench/run.ts';

/** More than any work takes. */
const longestSeconds = 3_600;

/** The load until the work is done, which is begun at once; where that fails, the load has ended too. */
export async function during(bench: Bench, work: () => Promise<unknown>): Promise<BenchResult> {
  const over = new AbortController();
  const running = bench.run(longestSeconds, over.signal);
  try {
    await work();
  } finally {
    over.abort();
    await running;
  }
  return running;
}
