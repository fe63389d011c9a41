/**
 * Where the event loops of the storage nodes spend their time: a cluster under the load of `bench:peers`, profiled after its
 * warm-up, the three profiles added up. Draws a flame graph, prints the functions and the parts of the program that take
 * most. `npm run bench:flame`.
 *
 * By the wall clock: what a thread loses to another counts with the call in which it lost it. The committer threads are not
 * in it.
 */
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { messageOf } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { flameGraph, roomOf } from './flame/graph.ts';
import { addProfile, type CpuProfile, newCall, selfTimes } from './flame/profile.ts';
import { buildGenerator } from './generator.ts';
import { earlierTree } from './guard/earlier-tree.ts';
import { observe } from './observed.ts';
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
const directory = join(root, '.cartwheel', `flame-${process.pid}`);
const module = fileURLToPath(new URL('flame/profile-on-signal.ts', import.meta.url));

async function main({ workers, seconds, warmup, of, out }: Options, signal: AbortSignal): Promise<void> {
  await buildGenerator(signal);
  const tree = of === undefined ? undefined : await earlierTree(of, join(directory, 'tree'), signal);
  const { report, written } = await observe(
    {
      ...{ module, directory: join(directory, 'cluster'), root: tree?.root },
      load: { path: 'direct', workers, ratePerSecond: 0, readFraction: 0.5, distribution: 'zipfian' },
      workload: { keys: 100_000, valueBytes: 1024, seconds, firstWarmupSeconds: warmup },
    },
    signal,
  );
  const calls = newCall('event loops of the storage nodes', '');
  for (const profile of written) addProfile(calls, profile as CpuProfile, tree?.root ?? root);
  const commit = tree?.commit ?? commitText();
  const busy = calls.total / 1e6 / written.length / report.seconds;
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
