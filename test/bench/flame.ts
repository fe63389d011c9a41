/**
 * Where the event loops of the storage nodes spend their time: a cluster under the load of `bench:peers`, profiled after its
 * warm-up, the three profiles added up. Draws a flame graph, prints the functions and the parts of the program that take
 * most. `npm run bench:flame`.
 *
 * By the wall clock: what a thread loses to another counts with the call in which it lost it. The committer threads are not
 * in it.
 */
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { messageOf } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { startCartwheel } from './clusters/cartwheel.ts';
import { flameGraph, roomOf } from './flame/graph.ts';
import { addProfile, type CpuProfile, newCall, selfTimes } from './flame/profile.ts';
import { buildGenerator, type LoadCase, runGenerator } from './generator.ts';
import { earlierTree } from './guard/earlier-tree.ts';
import { root } from './program.ts';
import { markdown } from './tables.ts';

interface Options {
  readonly workers: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly of?: string;
  readonly out?: string;
}

const shown = 30;
const writtenWithinMs = 10_000;
const directory = join(root, '.cartwheel', `flame-${process.pid}`);
const preloaded = fileURLToPath(new URL('flame/profile-on-signal.ts', import.meta.url));

async function main({ workers, seconds, warmup, of, out }: Options, signal: AbortSignal): Promise<void> {
  const profiles = join(directory, 'profiles');
  mkdirSync(profiles, { recursive: true });
  Object.assign(process.env, { NODE_OPTIONS: `--import=${pathToFileURL(preloaded)}`, CARTWHEEL_PROFILES: profiles });
  await buildGenerator(signal);
  const tree = of === undefined ? undefined : await earlierTree(of, join(directory, 'tree'), signal);
  const cluster = await startCartwheel(join(directory, 'data'), signal, { root: tree?.root ?? root });
  try {
    const nodes = Object.entries(cluster.pids).flatMap(([name, pid]) => (name.startsWith('storage') ? [pid] : []));
    const tell = () => {
      for (const pid of nodes) process.kill(pid, 'SIGUSR2');
    };
    const load: LoadCase = { path: 'direct', workers, ratePerSecond: 0, readFraction: 0.5, distribution: 'zipfian' };
    const workload = { keys: 100_000, valueBytes: 1024, seconds, warmupSeconds: 0, firstWarmupSeconds: warmup };
    let cases = 0;
    // The first case is warm-up too: with its end the second begins, at once.
    const hear = ({ kind }: { readonly kind: string }) => {
      if (kind === 'case' && cases++ < 2) tell();
    };
    const report = await runGenerator('cartwheel', cluster, [load, load], workload, hear, signal);
    await until(() => readdirSync(profiles).length === nodes.length, signal);
    const calls = newCall('event loops of the storage nodes', '');
    for (const file of readdirSync(profiles)) {
      const profile = JSON.parse(readFileSync(join(profiles, file), 'utf8')) as CpuProfile;
      addProfile(calls, profile, tree?.root ?? root);
    }
    const commit = tree?.commit ?? commitText();
    const busy = calls.total / 1e6 / nodes.length / (report.cases[1]?.seconds ?? seconds);
    const title = `Cartwheel at ${commit}: ${workers} workers, half reads, 1 KiB, zipfian; event loops ${Math.round(busy * 100)}% busy`;
    if (out !== undefined) writeFileSync(out, flameGraph(calls, title));
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    const rows = (times: [string, number][], most: number) =>
      times.slice(0, most).map(([what, share]) => [what, percent(share)]);
    const parts = selfTimes(calls, (call) => roomOf(call).name);
    const functions = selfTimes(calls, ({ name, file }) => (file === '' ? name : `\`${name}\`, ${file}`));
    process.stdout.write(
      [
        title,
        '',
        markdown(['part', 'time'], rows(parts, parts.length)),
        '',
        markdown(['function', 'time'], rows(functions, shown)),
        '',
      ].join('\n'),
    );
  } finally {
    await cluster.stop();
  }
}

async function until(holds: () => boolean, signal: AbortSignal): Promise<void> {
  for (const end = Date.now() + writtenWithinMs; !holds() && Date.now() < end; )
    await sleep(100, undefined, { signal });
}

/** Looked at before anything is measured. */
function fileToWrite(file: string): string {
  try {
    accessSync(dirname(resolve(file)), constants.W_OK);
  } catch (error) {
    throw new InvalidArgumentError(`It cannot be written: ${messageOf(error)}.`);
  }
  return file;
}

function readOptions(argv: readonly string[]): Options {
  return new Command('npm run bench:flame --')
    .description(
      'A flame graph of the event loops of three storage nodes under load, and the functions that take most. Needs Go.',
    )
    .option('--workers <n>', 'of a closed loop', integerBetween(1, 4_096), 64)
    .option('--seconds <n>', 'that are profiled', integerBetween(1, 600), 10)
    .option('--warmup <n>', 'seconds of the same load before', integerBetween(1, 600), 15)
    .option('--of <commit>', 'profile this commit instead of this tree')
    .option('--out <file>', 'draw the graph into this SVG file', fileToWrite)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Options>();
}

await runBenchmark('flame', async (flags, signal) => {
  const options = readOptions(flags);
  try {
    await main(options, signal);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
