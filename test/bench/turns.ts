/**
 * How long a storage node's event loop is kept by one turn, under load, with small and with large values: no step of
 * JavaScript is to take longer than 10 ms. By the CPU time of the thread, without what the garbage collector took; of that
 * the metrics tell. Prints Markdown. `npm run bench:turns`.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { integerBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { buildGenerator, type LoadCase } from './generator.ts';
import { machineText } from './machine.ts';
import { observe } from './observed.ts';
import { root } from './program.ts';
import { markdown } from './tables.ts';
import type { Turns } from './turns/measure-on-signal.ts';

interface Options {
  readonly seconds: number;
  readonly warmup: number;
}

const KIB = 1024;
/** The longest values are the largest that a cluster takes without being told. */
const loads = [
  { workers: 256, valueBytes: KIB, keys: 100_000 },
  { workers: 64, valueBytes: 16 * KIB, keys: 10_000 },
  { workers: 64, valueBytes: 100 * KIB, keys: 2_000 },
  { workers: 16, valueBytes: KIB * KIB, keys: 200 },
] as const;
const aimMs = 10;
const directory = join(root, '.cartwheel', `turns-${process.pid}`);
const module = fileURLToPath(new URL('turns/measure-on-signal.ts', import.meta.url));

async function main({ seconds, warmup }: Options, signal: AbortSignal): Promise<void> {
  await buildGenerator(signal);
  const rows: string[][] = [];
  for (const { workers, valueBytes, keys } of loads) {
    const load: LoadCase = { path: 'direct', workers, ratePerSecond: 0, readFraction: 0.5, distribution: 'zipfian' };
    const workload = { keys, valueBytes, seconds, firstWarmupSeconds: warmup };
    const { report, written } = await observe({ module, directory, load, workload }, signal);
    const turns = written as readonly Turns[];
    const long = turns.flatMap((one) => one.long);
    const above = (ms: number) => long.filter((length) => length >= ms).length.toLocaleString('en');
    rows.push([
      `${workers} workers, ${valueBytes / KIB} KiB`,
      report.errors.toLocaleString('en'),
      turns.reduce((sum, { count }) => sum + count, 0).toLocaleString('en'),
      ...[2, 5, aimMs].map(above),
      Math.max(0, ...long).toFixed(1),
      Math.max(...turns.map(({ longest }) => longest)).toFixed(1),
    ]);
  }
  console.log(`> ${new Date().toISOString().slice(0, 10)}, commit ${commitText()}; ${machineText()}\n`);
  const titles = ['', 'failed', 'turns', '≥ 2 ms', '≥ 5 ms', `≥ ${aimMs} ms`, 'longest, ms', 'with the collector, ms'];
  console.log(markdown(titles, rows));
}

function readOptions(argv: readonly string[]): Options {
  return new Command('npm run bench:turns --')
    .description(
      'The longest turns of the event loops of three storage nodes under load, by the size of values. Needs Go.',
    )
    .option('--seconds <n>', 'that are measured', integerBetween(1, 600), 15)
    .option('--warmup <n>', 'seconds of the same load before', integerBetween(1, 600), 15)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Options>();
}

await runBenchmark('turns', async (flags, signal) => {
  await main(readOptions(flags), signal);
});
