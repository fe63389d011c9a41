/**
 * What grows with a cluster, and what must not: the ring's size and look-ups with many nodes and partitions, the cost of
 * an operation with the number of nodes and of sessions, a turn of the event loop with the size of records, memory and
 * start of a node with many keys, an exchange between two of them. Prints Markdown; docs/benchmarks.md says what came of it.
 */
import { Command, Option } from 'commander';
import { integerBetween, powerOfTwoBetween } from '../../cli/values.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { studyExchange } from './growth/exchange.ts';
import { studyKeys } from './growth/keys.ts';
import { studyNodes } from './growth/nodes.ts';
import { studyRing } from './growth/ring.ts';
import { studyScans } from './growth/scans.ts';
import { studySessions } from './growth/sessions.ts';
import { machineText } from './machine.ts';

export interface GrowthOptions {
  readonly nodes: number;
  readonly partitions: number;
  readonly keys: number;
  readonly sessions: number;
  readonly only?: string;
}

type Study = (options: GrowthOptions, signal: AbortSignal) => Promise<string> | string;
const studies: Readonly<Record<string, Study>> = {
  ring: studyRing,
  nodes: studyNodes,
  scans: studyScans,
  sessions: studySessions,
  keys: studyKeys,
  exchange: studyExchange,
};

function readOptions(argv: readonly string[]): GrowthOptions {
  return new Command('npm run bench:growth --')
    .description(
      'The ring of a large cluster, operations from 3 to 30 nodes, scans, sessions, a node with a million keys, an exchange between two.',
    )
    .option('--nodes <n>', 'of the ring', integerBetween(3, 1000), 300)
    .option('--partitions <n>', 'of the ring, a power of two', powerOfTwoBetween(1, 65_536), 4096)
    .option('--keys <n>', 'on a node', integerBetween(1, 1e8), 1_000_000)
    .option('--sessions <n>', 'of one node', integerBetween(1, 4096), 1_000)
    .addOption(new Option('--only <study>', 'this one only').choices(Object.keys(studies)))
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<GrowthOptions>();
}

await runBenchmark('growth', async (flags, signal) => {
  const options = readOptions(flags);
  console.log(`> ${new Date().toISOString().slice(0, 10)}, commit ${commitText()}; ${machineText()}`);
  for (const [name, study] of Object.entries(studies)) {
    if (options.only === undefined || options.only === name) console.log(await study(options, signal));
  }
});
