/**
 * Loaded into every process of a cluster (observed.ts): the first SIGUSR2 begins to measure the turns of the event loop by
 * the CPU time of its thread, which says the same however busy the machine is; the second ends it and writes a Turns.
 *
 * A timer of a millisecond fires in the first turn that begins a millisecond after it was set: what the thread has used
 * between two of them is one turn, and what little came before it.
 */
import { isMainThread } from 'node:worker_threads';
import { watchCollections } from '../collections.ts';
import { observedDirectory, tellObserver } from '../observer.ts';

/** CPU milliseconds. */
export interface Turns {
  readonly count: number;
  /** Those of `longMs` and more without what the garbage collector took of them; the longest first. */
  readonly long: readonly number[];
  /** With it. */
  readonly longest: number;
}

interface Span {
  readonly from: number;
  readonly to: number;
  readonly cpuMs: number;
}

const longMs = 2;

if (isMainThread && observedDirectory !== undefined) {
  const directory = observedDirectory;
  const spans: Span[] = [];
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  let collections: ReturnType<typeof watchCollections> | undefined;

  function measure(from: number, cpuBefore: number): void {
    timer = setTimeout(() => {
      const to = performance.now();
      const cpu = threadCpuMs();
      count++;
      if (cpu - cpuBefore >= longMs) spans.push({ from, to, cpuMs: cpu - cpuBefore });
      measure(to, cpu);
    }, 1);
  }

  process.on('SIGUSR2', async () => {
    if (collections === undefined) {
      collections = watchCollections();
      measure(performance.now(), threadCpuMs());
      return;
    }
    clearTimeout(timer);
    const collectedMs = await collections();
    const own = spans.map(({ from, to, cpuMs }) => cpuMs - collectedMs(from, to));
    const long = own.filter((ms) => ms >= longMs).sort((a, b) => b - a);
    const turns: Turns = { count, long, longest: Math.max(0, ...spans.map(({ cpuMs }) => cpuMs)) };
    tellObserver(directory, turns);
  });
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
