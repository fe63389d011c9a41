/**
 * What the settings of the storage engine are worth: each alone in a process of its own, over the same load, in turn.
 * Prints Markdown; docs/benchmarks.md says what came of it.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { decodeFromCompressedBase64, type Histogram } from 'hdr-histogram-js';
import { integerBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import type { Load, Measured } from './engine/measure.ts';
import { asItIs, variants } from './engine/variants.ts';
import { medianOf } from './growth/work.ts';
import { machineText, requireLinux } from './machine.ts';
import { root, runProgram } from './program.ts';
import { markdown, merged, percentilesText } from './tables.ts';

interface Options extends Load {
  readonly rounds: number;
  readonly only?: readonly string[];
}

const measureFile = fileURLToPath(new URL('engine/measure.ts', import.meta.url));
const directory = join(root, '.cartwheel', `engine-${process.pid}`);
const MIB = 1024 * 1024;

function readOptions(argv: readonly string[]): Options {
  return new Command('npm run bench:engine --')
    .description('Settings of RocksDB and of group commit, each beside what is the default; about twenty minutes.')
    .option('--keys <n>', 'loaded first', integerBetween(1, 1e8), 300_000)
    .option('--value-bytes <n>', 'of each', integerBetween(1, 16 * MIB), 1024)
    .option('--operations <n>', 'half of them synced writes', integerBetween(1, 1e9), 300_000)
    .option('--workers <n>', 'that wait for their operation each', integerBetween(1, 4096), 64)
    .option('--rounds <n>', 'of each setting', integerBetween(1, 100), 2)
    .addOption(new Option('--only <setting...>', 'these, and the default').choices(Object.keys(variants)))
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Options>();
}

await runBenchmark('engine', async (flags, signal) => {
  const options = readOptions(flags);
  requireLinux();
  const { only, rounds, ...load } = options;
  const names = Object.keys(variants).filter((name) => only === undefined || name === asItIs || only.includes(name));
  const measured = new Map(names.map((name) => [name, [] as Measured[]]));
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      process.stderr.write(`engine: round ${round + 1} of ${rounds}: ${name}\n`);
      measured.get(name)?.push(await measure(name, load, signal));
    }
  }
  console.log(`> ${new Date().toISOString().slice(0, 10)}, commit ${commitText()}; ${machineText()}\n`);
  const titles = ['', 'ops/s', 'per CPU-second', 'read p50 / p99 / p99.9, ms', 'write p50 / p99 / p99.9, ms'];
  titles.push('written per byte', 'resident, MiB', 'log, MiB', 'close, s', 'open, s');
  console.log(
    markdown(
      titles,
      [...measured].map(([name, runs]) => rowOf(name, runs, load)),
    ),
  );
});

async function measure(name: string, load: Load, signal: AbortSignal): Promise<Measured> {
  const flags = [measureFile, name, directory, JSON.stringify(load)];
  mkdirSync(directory, { recursive: true });
  try {
    return JSON.parse(await runProgram(process.execPath, flags, signal)) as Measured;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The median of the rounds; of latencies, all of them together. */
function rowOf(name: string, runs: readonly Measured[], { operations }: Load): string[] {
  const median = (of: (run: Measured) => number) => medianOf(runs.map(of));
  const latencies = (of: 'reads' | 'writes') =>
    percentilesText(merged(runs.map((run) => decodeFromCompressedBase64(run[of]) as Histogram)));
  return [
    name,
    Math.round(median(({ seconds }) => operations / seconds)).toLocaleString('en'),
    Math.round(median(({ cpuSeconds }) => operations / cpuSeconds)).toLocaleString('en'),
    latencies('reads'),
    latencies('writes'),
    median(({ bytesPerByte }) => bytesPerByte).toFixed(1),
    Math.round(median(({ residentBytes }) => residentBytes) / MIB).toString(),
    Math.round(median(({ logBytes }) => logBytes) / MIB).toString(),
    median(({ closeSeconds }) => closeSeconds).toFixed(2),
    median(({ openSeconds }) => openSeconds).toFixed(2),
  ];
}
