/**
 * Whether a change makes an operation dearer: this tree and an earlier commit, both running, under the same fixed load in
 * turn (A B A B …), by operations per CPU-second of their servers. Prints one ratio. `npm run bench:guard`; .ci/run ends
 * with it.
 *
 * CPU time, because latency and throughput on a busy machine say more about its neighbours than about the change. In turn,
 * because a machine is faster in one minute than in the next. Through the router, because then every service is in it; or
 * directly and in a closed loop, for the hot path alone.
 *
 * I1 Nothing is failed for being slow: where the two cannot be compared, one line says why, and the exit code is 0.
 * I2 It ends within its time whatever happens: rounds that do not fit are not measured.
 * I3 The servers that were started are ended, and the earlier tree is removed.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { processorSeconds } from '../../cli/bench/processor-time.ts';
import { Bench } from '../../cli/bench/run.ts';
import type { Distribution } from '../../cli/bench/workload.ts';
import { Problem, problemText } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { type CartwheelCluster, startCartwheel } from './clusters/cartwheel.ts';
import { compared, comparisonText, type Slice } from './guard/comparison.ts';
import { earlierTree, isSameProgram } from './guard/earlier-tree.ts';
import { root } from './program.ts';
import { failedCount } from './tables.ts';

interface Options {
  readonly against?: string;
  readonly rate: number;
  readonly workers?: number;
  readonly direct?: true;
  readonly distribution: Distribution;
  readonly seconds: number;
  readonly most: number;
}

const keys = 10_000;
const valueBytes = 1024;
/** Operations under way at most, in an open loop. */
const concurrency = 128;
/** Most of the hot path is compiled then, to the same degree in both. */
const warmupSeconds = 8;
/** To stop the servers. */
const endSeconds = 5;
/** Not below test/, where `npm test` would find the tests of the earlier tree. */
const directory = join(root, '.cartwheel', `guard-${process.pid}`);

interface Contestant {
  readonly cluster: CartwheelCluster;
  readonly client: CartwheelClient;
  readonly bench: Bench;
  readonly pids: readonly number[];
}

async function main(options: Options, interrupted: AbortSignal): Promise<void> {
  const base = options.against ?? 'HEAD~1';
  if (options.against === undefined && isSameProgram(base)) {
    say(`nothing that runs differs from ${base}: not measured`);
    return;
  }
  const deadline = performance.now() + options.most * 1000;
  const late = new AbortController();
  const limit = setTimeout(
    () => late.abort(new Problem(`it was not done after ${options.most} s`)),
    (options.most - endSeconds) * 1000,
  );
  const signal = AbortSignal.any([interrupted, late.signal]);
  const contestants: Contestant[] = [];
  try {
    const before = await earlierTree(base, join(directory, 'before'), signal);
    for (const [name, tree] of [
      ['before', before.root],
      ['now', root],
    ] as const) {
      const contestant = await begin(name, tree, options, signal);
      contestants.push(contestant);
      await contestant.bench.loadKeys(() => {});
    }
    const [a, b] = contestants as [Contestant, Contestant];
    for (const { bench } of contestants) await bench.run(warmupSeconds);
    signal.throwIfAborted();
    const slices: { before: Slice; now: Slice }[] = [];
    const roundMs = 2 * options.seconds * 1000;
    while (slices.length === 0 || performance.now() + roundMs + endSeconds * 1000 < deadline) {
      const slice = { before: await measure(a, options.seconds), now: await measure(b, options.seconds) };
      signal.throwIfAborted();
      slices.push(slice);
    }
    say(comparisonText(compared(slices), { now: commitText(), before: before.commit, load: loadText(options) }));
  } finally {
    clearTimeout(limit);
    await Promise.all(contestants.map(end));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function begin(
  name: 'before' | 'now',
  tree: string,
  { rate, workers, direct, distribution }: Options,
  signal: AbortSignal,
): Promise<Contestant> {
  const cluster = await startCartwheel(join(directory, `data-${name}`), signal, { root: tree });
  const client = connect({ endpoints: [...(direct ? cluster.endpoints : cluster.routers)], direct });
  const workload = { keys, reads: 0.5, distribution } as const;
  const load = workers === undefined ? { concurrency, rate } : { concurrency: workers, rate: undefined };
  const bench = new Bench(client, { workload, value: randomBytes(valueBytes), ...load, signal, operation: {} });
  return { cluster, client, bench, pids: Object.values(cluster.pids) };
}

async function measure({ bench, pids }: Contestant, seconds: number): Promise<Slice> {
  const before = processorSeconds(pids);
  const { reads, writes, errors } = await bench.run(seconds);
  const after = processorSeconds(pids);
  if (before === undefined || after === undefined) throw new Problem('a server is gone');
  const failed = failedCount(errors);
  return { operations: reads.totalCount + writes.totalCount, failed, cpuSeconds: after - before };
}

async function end({ client, cluster }: Contestant): Promise<void> {
  await client.close();
  await cluster.stop();
}

function loadText({ rate, workers, direct, distribution }: Options): string {
  const load = workers === undefined ? `${rate.toLocaleString('en')} operations a second` : `${workers} workers`;
  return `${load}${distribution === 'uniform' ? '' : `, ${distribution},`} ${direct ? 'directly' : 'through the router'}`;
}

function say(text: string): void {
  process.stdout.write(`guard: ${text}\n`);
}

function readOptions(argv: readonly string[]): Options {
  return new Command('npm run bench:guard --')
    .description('Operations per CPU-second of this tree beside those of an earlier commit, in the same run.')
    .option('--against <commit>', 'the earlier one (default: the parent, HEAD~1)')
    .option('--rate <n>', 'operations a second, for both', integerBetween(1, 100_000), 1000)
    .option('--workers <n>', 'a closed loop of so many instead', integerBetween(1, 4_096))
    .option('--direct', 'to the homes of the keys, instead of through the router')
    .addOption(new Option('--distribution <name>', 'of the keys').choices(['uniform', 'zipfian']).default('uniform'))
    .option('--seconds <n>', 'of each slice', integerBetween(1, 600), 5)
    .option('--most <n>', 'seconds that all of it may take', integerBetween(30, 36_000), 85)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Options>();
}

await runBenchmark('guard', async (flags, signal) => {
  try {
    await main(readOptions(flags), signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof Problem)) throw error;
    say(`not compared: ${problemText(error)}`);
  }
});
