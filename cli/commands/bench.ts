import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import type { Histogram } from 'hdr-histogram-js';
import type { DurabilityName } from '../../client/index.ts';
import { processorSeconds } from '../bench/processor-time.ts';
import type { BenchPlan, BenchResult } from '../bench/run.ts';
import { type Distribution, keysMax, readsOfWorkload } from '../bench/workload.ts';
import { hintsByReason, withClient } from '../connection.ts';
import { interruption } from '../interruption.ts';
import { count, duration, json, note, plural, table, write } from '../output.ts';
import { Problem, usageProblem } from '../problem.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { fractionOfOne, integerBetween, processIds } from '../values.ts';
import { durabilityOption } from './put.ts';

interface BenchOptions {
  workload?: string;
  reads?: number;
  concurrency: number;
  rate?: number;
  seconds: number;
  warmup: number;
  keys: number;
  valueBytes: number;
  distribution: Distribution;
  durability?: DurabilityName;
  direct?: boolean;
  load?: boolean;
  pids?: number[];
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure throughput and latency with a mix of reads and writes')
    .addOption(
      new Option('--workload <name>', "YCSB's: a half reads, b 95% reads, c only reads").choices(['a', 'b', 'c']),
    )
    .option('--reads <fraction>', 'part of the operations that read (default: 0.5)', fractionOfOne)
    .option('--concurrency <n>', 'operations in flight', integerBetween(1, 10_000), 64)
    .option(
      '--rate <n>',
      'open loop: so many operations a second are due; else closed loop',
      integerBetween(1, 10_000_000),
    )
    .option('--seconds <n>', 'how long to measure', integerBetween(1, 86_400), 20)
    .option('--warmup <n>', 'seconds before that, not measured', integerBetween(0, 3600), 5)
    .option('--keys <n>', 'keys to choose from', integerBetween(1, keysMax), 100_000)
    .option('--value-bytes <n>', 'size of a value', integerBetween(0, 1024 * 1024), 1024)
    .addOption(
      new Option('--distribution <name>', 'how keys are chosen').choices(['zipfian', 'uniform']).default('zipfian'),
    )
    .addOption(durabilityOption())
    .option('--direct', "go straight to each key's coordinator, past the router")
    .option('--load', 'write every key once before')
    .option('--pids <pid,…>', 'processes of the store: prints operations per second of their CPU', processIds)
    .addHelpText(
      'after',
      `
With --rate the latency counts from the time an operation was due, not from when it was sent. Connecting is not
measured. Ctrl-C ends it with what was measured until then, and exit code 130.

Examples:
  cartwheel bench --load --seconds 10
  cartwheel bench --direct --concurrency 256 --pids "$(pgrep -d, -f services/storage-node)"
  cartwheel bench --rate 2000 --workload b -o json`,
    )
    .action(async (options: BenchOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.workload !== undefined && options.reads !== undefined) {
        throw usageProblem('both --workload and --reads are given', 'give one');
      }
      if (options.pids !== undefined) requirePids(options.pids);
      const { Bench } = await import('../bench/run.ts');
      const interrupt = interruption(['SIGINT']);
      const plan: BenchPlan = {
        workload: {
          keys: options.keys,
          reads: options.reads ?? readsOfWorkload[options.workload ?? 'a'] ?? 0.5,
          distribution: options.distribution,
        },
        value: randomBytes(options.valueBytes),
        concurrency: options.concurrency,
        rate: options.rate,
        operation: { ...operationOptions(settings), durability: options.durability },
        signal: interrupt.signal,
      };
      try {
        await withClient(
          settings,
          async (client) => {
            const bench = new Bench(client, plan);
            if (options.load === true) {
              note(`writing ${plural(options.keys, 'key')} of ${count(options.valueBytes)} bytes`);
              await bench.loadKeys(() => {});
            } else {
              await client.ring(); // an endpoint that is down is said at once
              await bench.connect();
            }
            if (options.warmup > 0 && !interrupt.signal.aborted) await bench.run(options.warmup);
            if (interrupt.signal.aborted) throw new Problem('interrupted before anything was measured', undefined, 130);
            const before = processorSeconds(options.pids ?? []);
            const result = await bench.run(options.seconds);
            const after = processorSeconds(options.pids ?? []);
            const used = before === undefined || after === undefined ? undefined : after - before;
            const cpuSeconds = options.pids === undefined ? undefined : used;
            await write(
              settings.output === 'json' ? json(asJson(plan, result, cpuSeconds)) : report(plan, result, cpuSeconds),
            );
            if (interrupt.signal.aborted) {
              throw new Problem(`interrupted: this is of ${duration(result.seconds)} only`, undefined, 130);
            }
            if (operationsOf(result) === 0 && result.errors.size > 0) {
              throw new Problem(`no operation succeeded: ${errorText(result)}`, hintFor(result));
            }
          },
          { direct: options.direct === true },
        );
      } finally {
        interrupt.end();
      }
    });
}

function requirePids(pids: readonly number[]): void {
  const gone = pids.filter((pid) => processorSeconds([pid]) === undefined);
  if (gone.length > 0) throw new Problem(`--pids: no such process: ${gone.join(', ')}`, 'check with ps');
}

function operationsOf({ reads, writes }: BenchResult): number {
  return reads.totalCount + writes.totalCount;
}

/** By what most of them failed for. */
function hintFor({ errors }: BenchResult): string {
  const [most] = [...errors].sort(([, a], [, b]) => b - a);
  return hintsByReason[most?.[0] ?? ''] ?? 'cartwheel status shows what is away';
}

function errorText({ errors }: BenchResult): string {
  return [...errors].map(([reason, n]) => `${count(n)} ${reason}`).join(', ') || 'none';
}

const columns = [
  { title: '' },
  ...['COUNT', 'MEAN', 'P50', 'P90', 'P99', 'P99.9', 'MAX'].map((title) => ({ title, align: 'right' as const })),
];

function report(
  { workload, concurrency, rate }: BenchPlan,
  result: BenchResult,
  cpuSeconds: number | undefined,
): string {
  const operations = operationsOf(result);
  const loop = rate === undefined ? 'closed loop' : `open loop at ${count(rate)}/s`;
  const rows = [row('reads', result.reads), row('writes', result.writes)];
  return [
    `${loop}, ${count(concurrency)} in flight, ${Math.round(workload.reads * 100)}% reads, ` +
      `${count(workload.keys)} keys, ${workload.distribution}`,
    `throughput  ${count(Math.round(operations / result.seconds))}/s (${count(operations)} in ${result.seconds.toFixed(1)} s)`,
    `errors      ${errorText(result)}`,
    ...(cpuSeconds === undefined
      ? []
      : [`per CPU-s   ${count(Math.round(operations / cpuSeconds))} (${cpuSeconds.toFixed(1)} CPU-seconds)`]),
    '',
    `${table(columns, rows)}in milliseconds`,
    '',
  ].join('\n');
}

function row(name: string, latencies: Histogram): string[] {
  const { mean, p50, p90, p99, p999, max } = figures(latencies);
  return [name, count(latencies.totalCount), ...[mean, p50, p90, p99, p999, max].map((ms) => ms.toFixed(2))];
}

function figures(latencies: Histogram) {
  const at = (percentile: number) => latencies.getValueAtPercentile(percentile) / 1000;
  return {
    count: latencies.totalCount,
    mean: latencies.mean / 1000,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: latencies.maxValue / 1000,
  };
}

function asJson(
  { workload, concurrency, rate, value }: BenchPlan,
  result: BenchResult,
  cpuSeconds: number | undefined,
) {
  const operations = operationsOf(result);
  return {
    ...workload,
    valueBytes: value.length,
    concurrency,
    rate: rate ?? null,
    seconds: result.seconds,
    operations,
    operationsPerSecond: operations / result.seconds,
    errors: Object.fromEntries(result.errors),
    ...(cpuSeconds === undefined ? {} : { cpuSeconds, operationsPerCpuSecond: operations / cpuSeconds }),
    readMs: figures(result.reads),
    writeMs: figures(result.writes),
  };
}
