/** Storage nodes looked into while they are under load, by a module that is loaded into each of their processes. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Problem } from '../../cli/problem.ts';
import { startCartwheel } from './clusters/cartwheel.ts';
import { type CaseReport, type LoadCase, runGenerator, type Workload } from './generator.ts';
import { root } from './program.ts';

export interface Observation {
  /**
   * A module for every process of the cluster: the first SIGUSR2 begins what it does, the second ends it, and makes it write
   * one file into the directory that CARTWHEEL_OBSERVED names.
   */
  readonly module: string;
  /** For the data and the files; it is gone afterwards. */
  readonly directory: string;
  /** Of the clone whose Cartwheel is started; this one, if absent. */
  readonly root?: string | undefined;
  readonly load: LoadCase;
  /** `firstWarmupSeconds` of the load come before it is looked at, `seconds` while it is. */
  readonly workload: Omit<Workload, 'warmupSeconds'>;
}

export interface Observed {
  readonly report: CaseReport;
  /** What each storage node has written, of JSON. */
  readonly written: readonly unknown[];
}

const writtenWithinMs = 10_000;

export async function observe(observation: Observation, signal: AbortSignal): Promise<Observed> {
  try {
    return await observed(observation, signal);
  } finally {
    rmSync(observation.directory, { recursive: true, force: true });
  }
}

async function observed(observation: Observation, signal: AbortSignal): Promise<Observed> {
  const { module, directory, load, workload } = observation;
  const files = join(directory, 'observed');
  mkdirSync(files, { recursive: true });
  const written = () => readdirSync(files).filter((name) => name.endsWith('.json'));
  Object.assign(process.env, { NODE_OPTIONS: `--import=${pathToFileURL(module)}`, CARTWHEEL_OBSERVED: files });
  const cluster = await startCartwheel(join(directory, 'data'), signal, { root: observation.root ?? root });
  try {
    const nodes = Object.entries(cluster.pids).filter(([name]) => name.startsWith('storage'));
    let cases = 0;
    // The first case is warm-up too: with its end the second begins, at once.
    const hear = ({ kind }: { readonly kind: string }) => {
      if (kind === 'case' && cases++ < 2) for (const [name, pid] of nodes) tellToObserve(name, pid);
    };
    const all = { ...workload, warmupSeconds: 0 };
    const { cases: reports } = await runGenerator('cartwheel', cluster, [load, load], all, hear, signal);
    const end = Date.now() + writtenWithinMs;
    while (written().length < nodes.length && Date.now() < end) await sleep(100, undefined, { signal });
    const missing = nodes.length - written().length;
    if (missing > 0) {
      throw new Problem(`${missing} of ${nodes.length} storage nodes wrote nothing within ${writtenWithinMs / 1000} s`);
    }
    const seen = written().map((file) => JSON.parse(readFileSync(join(files, file), 'utf8')) as unknown);
    return { report: reports[1] as CaseReport, written: seen };
  } finally {
    await cluster.stop();
  }
}

function tellToObserve(name: string, pid: number): void {
  try {
    process.kill(pid, 'SIGUSR2');
  } catch {
    throw new Problem(`${name} has ended under the load`, 'is the disk full?');
  }
}
