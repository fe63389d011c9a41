/**
 * What the way to a storage node costs, and what a hot key costs its neighbours: router beside direct under a closed and
 * an open loop, and reads of all keys while half of all reads are of one key, beside the same load without it. Cases
 * take turns, so that what else the machine does meets them alike; every ratio is of one run. Prints Markdown.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import type { Histogram } from 'hdr-histogram-js';
import { Bench, type BenchPlan, type BenchResult } from '../../cli/bench/run.ts';
import { integerBetween } from '../../cli/values.ts';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { startCartwheel } from './clusters/cartwheel.ts';
import { machineText } from './machine.ts';
import { failedCount, merged, percentilesText, ratioText } from './tables.ts';

interface Options {
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly workers: number;
  readonly rate: number;
  readonly basePort: number;
  /** Ends it. */
  readonly signal: AbortSignal;
}

const keys = 10_000;
const value = randomBytes(1_024);
const directory = fileURLToPath(new URL(`results/paths-${process.pid}`, import.meta.url));

/** Of all rounds together. */
interface Case {
  readonly name: string;
  measure(seconds: number): Promise<readonly BenchResult[]>;
  /** Of the results of one measurement, those whose latencies count. */
  readonly counts: (results: readonly BenchResult[]) => BenchResult;
  readonly results: BenchResult[];
}

function planOf(changes: Pick<BenchPlan, 'signal'> & Partial<BenchPlan>, reads: number, keysOf = keys): BenchPlan {
  const workload = { keys: keysOf, reads, distribution: 'uniform' } as const;
  return { workload, value, concurrency: 512, rate: undefined, operation: {}, ...changes };
}

function caseOf(name: string, ...benches: readonly Bench[]): Case {
  return {
    name,
    measure: (seconds) => Promise.all(benches.map((bench) => bench.run(seconds))),
    counts: ([first]) => first as BenchResult,
    results: [],
  };
}

/** One round of each in turn, and in the other order the next time. */
async function takeTurns(cases: readonly Case[], { rounds, seconds, warmup, signal }: Options): Promise<void> {
  for (const { measure } of cases) await measure(warmup);
  for (let round = 0; round < rounds; round++) {
    for (const one of round % 2 === 0 ? cases : cases.toReversed()) {
      one.results.push(one.counts(await one.measure(seconds)));
      signal.throwIfAborted();
    }
  }
}

function latencies({ results }: Case, of: 'reads' | 'writes'): Histogram {
  return merged(results.map((result) => result[of]));
}

async function paths(router: CartwheelClient, direct: CartwheelClient, options: Options): Promise<void> {
  const { workers, rate, signal } = options;
  const closed = [
    caseOf('router', new Bench(router, planOf({ signal, concurrency: workers }, 0.5))),
    caseOf('direct', new Bench(direct, planOf({ signal, concurrency: workers }, 0.5))),
  ] as const;
  const open = [
    caseOf('router', new Bench(router, planOf({ signal, rate }, 0.5))),
    caseOf('direct', new Bench(direct, planOf({ signal, rate }, 0.5))),
  ] as const;
  say('\n| load | path | ops/s | read p50 / p99 / p99.9, ms | write p50 / p99 / p99.9, ms | failed |');
  say('| --- | --- | --- | --- | --- | --- |');
  for (const [load, cases] of [
    [`closed loop, ${workers} workers`, closed],
    [`open loop, ${rate}/s`, open],
  ] as const) {
    await takeTurns(cases, options);
    const perSecond = cases.map(({ results }) => {
      const done = results.reduce((sum, { reads, writes }) => sum + reads.totalCount + writes.totalCount, 0);
      return done / results.reduce((sum, { seconds }) => sum + seconds, 0);
    }) as [number, number];
    const of = cases.map((one) => ({ reads: latencies(one, 'reads'), writes: latencies(one, 'writes') }));
    cases.forEach(({ name, results }, i) => {
      const { reads, writes } = of[i] as (typeof of)[number];
      const failed = results.reduce((sum, { errors }) => sum + failedCount(errors), 0);
      const [r, w] = [percentilesText(reads), percentilesText(writes)];
      say(`| ${load} | ${name} | ${Math.round(perSecond[i] as number)} | ${r} | ${w} | ${failed} |`);
    });
    const [{ reads, writes }, own] = of as [(typeof of)[number], (typeof of)[number]];
    const times = (at: number) => `${ratioText(reads, own.reads, at)}, ${ratioText(writes, own.writes, at)}`;
    const throughput = (perSecond[0] / perSecond[1]).toFixed(2);
    say(`| | router / direct | ${throughput} | p50 of reads, writes: ${times(50)} | p99.9: ${times(99.9)} | |`);
  }
}

async function neighbours(name: string, client: CartwheelClient, options: Options): Promise<void> {
  const { signal } = options;
  const half = options.rate / 2;
  const others = () => new Bench(client, planOf({ signal, rate: half }, 1));
  const cases = [
    caseOf('without', others(), new Bench(client, planOf({ signal, rate: half }, 1))),
    caseOf('with', others(), new Bench(client, planOf({ signal, rate: half }, 1, 1))),
  ] as const;
  await takeTurns(cases, options);
  const [without, withIt] = cases.map((one) => latencies(one, 'reads')) as [Histogram, Histogram];
  say(`| ${name} | ${percentilesText(without)} | ${percentilesText(withIt)} | ${ratioText(withIt, without, 99.9)} |`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function readOptions(argv: readonly string[]): Omit<Options, 'signal'> {
  return new Command('npm run bench:paths --')
    .description('Router beside direct, and what a hot key costs its neighbours. About eight minutes.')
    .option('--seconds <n>', 'measured seconds of each case in each round', integerBetween(1, 3_600), 10)
    .option('--warmup <n>', 'seconds of each case before', integerBetween(0, 3_600), 10)
    .option('--rounds <n>', 'how often the cases take turns', integerBetween(1, 100), 4)
    .option('--workers <n>', 'of the closed loops', integerBetween(1, 4_096), 64)
    .option('--rate <n>', 'operations a second of the open loops', integerBetween(2, 100_000), 1_000)
    .option('--base-port <n>', 'of the cluster', integerBetween(1_024, 60_000), 9_300)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Omit<Options, 'signal'>>();
}

await runBenchmark('paths', async (flags, signal) => {
  const options: Options = { ...readOptions(flags), signal };
  try {
    const cluster = await startCartwheel(join(directory, 'data'), signal, { basePort: options.basePort });
    const router = connect({ endpoints: cluster.routers });
    const direct = connect({ endpoints: cluster.endpoints, direct: true });
    try {
      await new Bench(direct, planOf({ signal, concurrency: 64 }, 0.5)).loadKeys(() => {});
      say(`${machineText()}, Node ${process.versions.node}, commit ${commitText()}`);
      await paths(router, direct, options);
      say(`\nReads of all keys while as many more are of one key, ${options.rate}/s in all, p50 / p99 / p99.9, ms:\n`);
      say('| path | the others are of all keys too | half of all reads are of one key | p99.9 with / without |');
      say('| --- | --- | --- | --- |');
      await neighbours('router', router, options);
      await neighbours('direct', direct, options);
    } finally {
      await Promise.all([router.close(), direct.close()]);
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
