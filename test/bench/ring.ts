/**
 * What background work costs those who use the cluster meanwhile: nodes join and leave, 5 → 7 → 5, again and again; a
 * disk is wiped and its node replaced; a node that was away while all keys changed is made equal. One steady open-loop
 * load over all of it; what the work costs is the ratio of its p99.9 meanwhile to that of the quiet times between. Prints
 * Markdown.
 *
 * I1 At the end every acknowledged write is read back (ring/acknowledged.ts).
 * I2 Whatever happens, the processes started here are ended and their data is removed.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { integerBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { machineText } from './machine.ts';
import { root } from './program.ts';
import { studyExchange, studyTransfer } from './ring/full-speed.ts';
import { studyMoves } from './ring/moves.ts';
import { withSection } from './tables.ts';

export interface RingOptions {
  readonly rounds: number;
  readonly rate: number;
  readonly keys: number;
  readonly quiet: number;
  readonly warmup: number;
  readonly deadline: number;
  /** As the flag of storage nodes. */
  readonly backgroundOperations?: number;
  readonly only?: string;
  readonly docs: boolean;
}

type Study = (options: RingOptions, directory: string, signal: AbortSignal) => Promise<string>;
const studies: Readonly<Record<string, Study>> = {
  moves: studyMoves,
  transfer: studyTransfer,
  exchange: studyExchange,
};
/** Not in /tmp, which is often memory. */
const directory = fileURLToPath(new URL(`results/ring-${process.pid}`, import.meta.url));

function readOptions(argv: readonly string[]): RingOptions {
  return new Command('npm run bench:ring --')
    .description('What joins, leaves, transfers and exchanges cost the foreground. About ten minutes.')
    .option('--rounds <n>', 'of each', integerBetween(1, 1_000), 5)
    .option('--rate <n>', 'operations a second, half of them writes', integerBetween(1, 100_000), 300)
    .option('--keys <n>', 'of 1 KiB', integerBetween(100, 10_000_000), 20_000)
    .option('--quiet <n>', 'seconds between two changes', integerBetween(1, 3_600), 6)
    .option('--warmup <n>', 'seconds of the same load before', integerBetween(0, 3_600), 10)
    .option('--deadline <n>', 'milliseconds that an operation may take', integerBetween(1, 60_000), 2_000)
    .option('--background-operations <n>', 'as the flag of storage nodes', integerBetween(10, 1_000_000))
    .addOption(new Option('--only <study>', 'this one only').choices(Object.keys(studies)))
    .option('--docs', 'writes the section of docs/benchmarks.md too', false)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<RingOptions>();
}

await runBenchmark('ring', async (argv, signal) => {
  const options = readOptions(argv);
  const flags = argv.filter((flag) => flag !== '--docs');
  const command = ['npm run bench:ring', ...(flags.length > 0 ? ['--', ...flags] : [])].join(' ');
  const day = new Date().toISOString().slice(0, 10);
  const sections = [
    `> \`${command}\`, ${day}, commit ${commitText()}; ${machineText()}, Node ${process.versions.node}`,
  ];
  console.log(`${sections[0]}\n`);
  try {
    for (const [name, study] of Object.entries(studies)) {
      if (options.only !== undefined && options.only !== name) continue;
      const section = await study(options, join(directory, name), signal);
      signal.throwIfAborted();
      sections.push(section);
      console.log(`${section}\n`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const page = join(root, 'docs', 'benchmarks.md');
  if (options.docs) writeFileSync(page, withSection(readFileSync(page, 'utf8'), 'bench:ring', sections.join('\n\n')));
});
