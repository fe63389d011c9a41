/**
 * What faults and durability cost, on a cluster of this machine under load from this process: one node of five killed,
 * the three durability modes at their peak and at one rate, one replica stopped for a minute. Prints Markdown; every
 * ratio is of one run. docs/benchmarks.md says what came of it.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { credentials } from '@grpc/grpc-js';
import { Command, Option } from 'commander';
import type { Histogram } from 'hdr-histogram-js';
import { Bench, type BenchPlan, type BenchResult } from '../../cli/bench/run.ts';
import type { Distribution } from '../../cli/bench/workload.ts';
import { Problem } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { type CartwheelClient, connect, type DurabilityName } from '../../client/index.ts';
import { ReplicaServiceClient, type ScanKeysResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { residentBytes } from '../e2e/support.ts';
import { prepareDisks } from '../nemesis/disks.ts';
import { runBenchmark } from './benchmark.ts';
import { type CartwheelCluster, startCartwheel } from './clusters/cartwheel.ts';
import { during } from './during.ts';
import { keysRead, untilEqual } from './repair.ts';
import { failedCount, failedText, percentilesText, ratioText } from './tables.ts';

interface Options {
  readonly seconds: number;
  readonly warmup: number;
  readonly rate: number;
  readonly stopped: number;
  readonly repairKeys: number;
  readonly syncMs: number;
  readonly only?: string;
}

const usualKeys = 10_000;
const valueBytes = 1_024;
const directory = fileURLToPath(new URL(`results/faults-${process.pid}`, import.meta.url));

type Study = (options: Options, signal: AbortSignal) => Promise<void>;
const studies: Readonly<Record<string, Study>> = {
  dead: oneDead,
  durability: durabilityModes,
  stopped: oneStopped,
  repair: repairWithoutHints,
};

/** I: at a steady load one node of five is killed; from a second later on it is measured again. */
async function oneDead({ seconds, warmup, rate }: Options, signal: AbortSignal): Promise<void> {
  await withCluster(5, signal, async (cluster, client) => {
    const bench = new Bench(client, planOf({ rate, concurrency: 512, signal }));
    await bench.loadKeys(() => {});
    await bench.run(warmup);
    const healthy = await bench.run(seconds);
    process.kill(cluster.pids['storage-3'] as number, 'SIGKILL');
    const firstSecond = await bench.run(1);
    const afterwards = await bench.run(seconds);
    signal.throwIfAborted();
    say(`\n### One node of five killed, ${rate} operations a second, half of them writes\n`);
    say('| | writes | failed | write p50 / p99 / p99.9, ms | read p50 / p99 / p99.9, ms |');
    say('| --- | --- | --- | --- | --- |');
    for (const [name, result] of Object.entries({ healthy, 'the first second': firstSecond, afterwards })) {
      const { writes, reads } = result;
      say(
        `| ${name} | ${writes.totalCount} | ${failedText(result.errors)} | ${percentilesText(writes)} | ${percentilesText(reads)} |`,
      );
    }
    const wrote = firstSecond.writes.totalCount + afterwards.writes.totalCount;
    const lost = failedCount(firstSecond.errors) + failedCount(afterwards.errors);
    say(
      `\nOf writes from the kill on ${((100 * wrote) / (wrote + lost)).toFixed(3)}% succeeded (failed reads counted as`,
    );
    say(`writes); write p99.9 after the first second is ${p999Ratio(afterwards.writes, healthy.writes)} of before.`);
  });
}

/** Of what DURABLE reached in a closed loop: all of it, what leaves it some room, and a fifth of that. */
const sharesOfPeak = [1, 0.8, 0.2];

/** II: nine writes of ten (the reads keep siblings from piling up), closed loop, and then open ones at shares of what DURABLE reached. */
async function durabilityModes({ seconds, warmup, syncMs }: Options, signal: AbortSignal): Promise<void> {
  if (syncMs > 0) await slowDisks(syncMs);
  await withCluster(3, signal, async (_, client) => {
    const modes: readonly DurabilityName[] = ['DURABLE', 'ONE_DURABLE', 'BUFFERED'];
    const measure = async (durability: DurabilityName, rate?: number) => {
      const bench = new Bench(
        client,
        planOf({ rate, concurrency: 64, reads: 0.1, distribution: 'uniform', durability, signal }),
      );
      await bench.run(Math.ceil(warmup / 2));
      return bench.run(seconds);
    };
    await new Bench(client, planOf({ concurrency: 64, signal })).loadKeys(() => {});
    await measure('DURABLE');
    const measureAll = async (rate?: number) => {
      const results = new Map<DurabilityName, BenchResult>();
      for (const mode of modes) results.set(mode, await measure(mode, rate));
      return results;
    };
    const peaks = await measureAll();
    const durable = peaks.get('DURABLE') as BenchResult;
    const peak = (durable.writes.totalCount + durable.reads.totalCount) / durable.seconds;
    const loads = new Map([['closed loop, 64 workers', peaks]]);
    for (const share of sharesOfPeak) {
      const rate = Math.floor(share * peak);
      loads.set(`open loop, ${rate}/s`, await measureAll(rate));
    }
    signal.throwIfAborted();
    say(`\n### Durability, 90% writes${syncMs > 0 ? `, each sync ${syncMs} ms slower` : ''}\n`);
    say('| load | durability | writes/s | p50 / p99 / p99.9, ms | DURABLE’s p99.9 is … times this | failed |');
    say('| --- | --- | --- | --- | --- | --- |');
    for (const [load, results] of loads) {
      const first = results.get('DURABLE') as BenchResult;
      for (const [mode, result] of results) {
        const perSecond = Math.round(result.writes.totalCount / result.seconds);
        const times = p999Ratio(first.writes, result.writes);
        say(
          `| ${load} | ${mode} | ${perSecond} | ${percentilesText(result.writes)} | ${times} | ${failedText(result.errors)} |`,
        );
      }
    }
  });
}

/** III: SIGSTOP for a minute; the memory of the others, beside what it grew by in the minute before. */
async function oneStopped({ warmup, stopped }: Options, signal: AbortSignal): Promise<void> {
  await withCluster(5, signal, async (cluster, client) => {
    const bench = new Bench(client, planOf({ concurrency: 64, signal }));
    await bench.loadKeys(() => {});
    await bench.run(warmup);
    const pid = cluster.pids['storage-3'] as number;
    const others = Object.entries(cluster.pids).filter(([, other]) => other !== pid);
    const memory = () => new Map(others.map(([name, other]) => [name, residentMiB(other)]));
    const warm = memory();
    await bench.run(stopped);
    const before = memory();
    const highest = new Map(before);
    let result: BenchResult;
    process.kill(pid, 'SIGSTOP');
    try {
      const running = bench.run(stopped);
      for (let second = 0; second < stopped; second++) {
        await sleep(1_000, undefined, { signal });
        for (const [name, other] of others) {
          highest.set(name, Math.max(highest.get(name) as number, residentMiB(other)));
        }
      }
      result = await running;
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    say(`\n### One replica of five stopped (SIGSTOP) for ${stopped} s under load, 64 workers\n`);
    say(`${result.reads.totalCount + result.writes.totalCount} operations, ${failedText(result.errors)} failed.\n`);
    say('| process | resident before, MiB | grown in as long before, MiB | grown while it was stopped, at most, MiB |');
    say('| --- | --- | --- | --- |');
    for (const [name] of others) {
      const [first, low, high] = [warm, before, highest].map((at) => at.get(name) as number) as [
        number,
        number,
        number,
      ];
      say(`| ${name} | ${low.toFixed(0)} | ${(low - first).toFixed(0)} | ${(high - low).toFixed(0)} |`);
    }
  });
}

/** IV: one node of three away while all keys change, no hints: how long until the replicas are equal, record by record. */
async function repairWithoutHints({ repairKeys, rate }: Options, signal: AbortSignal): Promise<void> {
  process.env.CARTWHEEL_HINTS_MAX = '0';
  await withCluster(3, signal, async (cluster, client) => {
    const writeAll = () => new Bench(client, planOf({ keys: repairKeys, concurrency: 128, signal })).loadKeys(() => {});
    await writeAll();
    const { nodes } = await client.ring();
    const pid = cluster.pids['storage-3'] as number;
    process.kill(pid, 'SIGTERM');
    await writeAll();
    const before = await new Bench(client, planOf({ rate, concurrency: 256, signal })).run(15);
    const readBefore = await keysRead(cluster);
    const backAt = performance.now();
    await cluster.restart();
    const addresses = nodes.map(({ address }) => address);
    const meanwhile = await during(new Bench(client, planOf({ rate, concurrency: 256, signal })), () =>
      untilEqual(client, addresses, signal),
    );
    const seconds = (performance.now() - backAt) / 1_000;
    await sleep(2_000, undefined, { signal });
    const unequal = await unequalRecords(cluster, client);
    const read = (await keysRead(cluster)) - readBefore;
    say(
      `\n### ${repairKeys} keys changed while one node of three was away, no hints; ${rate} operations a second then\n`,
    );
    say(
      `No difference is known ${seconds.toFixed(1)} s after its return (looked at twice a second). Records that then differ`,
    );
    say(
      `between replicas, every record of each compared: ${unequal}. Keys read by exchanges, on all sides: ${read}, that is`,
    );
    say(`${(read / repairKeys).toFixed(2)} a changed key. The foreground's p99.9 meanwhile: writes`);
    say(
      `${p999Ratio(meanwhile.writes, before.writes)}, reads ${p999Ratio(meanwhile.reads, before.reads)} of the 15 s before;`,
    );
    say(
      `${failedText(meanwhile.errors)} failed.\n\n| | write p50 / p99 / p99.9, ms | read p50 / p99 / p99.9, ms |\n| --- | --- | --- |`,
    );
    for (const [name, { writes, reads }] of Object.entries({ before, during: meanwhile })) {
      say(`| ${name} | ${percentilesText(writes)} | ${percentilesText(reads)} |`);
    }
  });
}

/**
 * Keys of which not all nodes hold the same values: every record of every node is looked at, by its checksum, and those
 * that differ by their dots (checksums are of heights too, which order what a clock forgets first, and mean nothing else).
 */
async function unequalRecords(cluster: CartwheelCluster, client: CartwheelClient): Promise<number> {
  const seen = new Map<string, { checksum: number; nodes: number; differs: boolean }>();
  for (const endpoint of cluster.endpoints) {
    const channel = new ReplicaServiceClient(endpoint, credentials.createInsecure());
    let start: Buffer = Buffer.alloc(0);
    do {
      const request = {
        start,
        end: Buffer.alloc(0),
        namespace: 'default',
        prefix: Buffer.alloc(0),
        limit: 2_048,
        hello: undefined,
      };
      const page = await new Promise<ScanKeysResponse>((resolve, reject) => {
        channel.scanKeys(request, (error, response) => (error ? reject(error) : resolve(response)));
      });
      for (const { key, checksum } of page.keys) {
        const name = key.toString('latin1');
        const known = seen.get(name) ?? { checksum, nodes: 0, differs: false };
        known.nodes++;
        known.differs ||= known.checksum !== checksum;
        seen.set(name, known);
      }
      start = page.next;
    } while (start.length > 0);
    channel.close();
  }
  let unequal = 0;
  for (const [name, { nodes, differs }] of seen) {
    if (!differs && nodes === cluster.endpoints.length) continue;
    const storageKey = Buffer.from(name, 'latin1');
    const { replicas } = await client.explain(storageKey.subarray(storageKey.indexOf(0, 8) + 1));
    if (new Set(replicas.map(({ dots }) => dots.join())).size > 1) unequal++;
  }
  return unequal;
}

/** Of the clusters that are started from now on. */
async function slowDisks(syncDelayMs: number): Promise<void> {
  const disks = await prepareDisks(directory);
  if (disks.obstacle !== undefined) throw new Problem(`syncs cannot be made slower here: ${disks.obstacle}`);
  disks.trouble('all', { syncDelayMs });
  Object.assign(process.env, disks.environmentOf('all'));
}

async function withCluster(
  nodes: number,
  signal: AbortSignal,
  run: (cluster: CartwheelCluster, client: CartwheelClient) => Promise<void>,
): Promise<void> {
  const data = join(directory, String(nodes));
  rmSync(data, { recursive: true, force: true });
  try {
    const cluster = await startCartwheel(data, signal, { storageNodes: nodes });
    const client = connect({ endpoints: [...cluster.routers, ...cluster.endpoints], direct: true });
    try {
      await run(cluster, client);
    } finally {
      await client.close();
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface PlanChanges {
  readonly keys?: number;
  readonly concurrency: number;
  readonly rate?: number | undefined;
  readonly reads?: number;
  readonly distribution?: Distribution;
  readonly durability?: DurabilityName;
  readonly signal: AbortSignal;
}

function planOf({
  keys = usualKeys,
  concurrency,
  rate,
  reads = 0.5,
  distribution = 'zipfian',
  durability,
  signal,
}: PlanChanges): BenchPlan {
  return {
    workload: { keys, reads, distribution },
    value: randomBytes(valueBytes),
    ...{ concurrency, rate, signal },
    operation: durability === undefined ? {} : { durability },
  };
}

const p999Ratio = (of: Histogram, to: Histogram) => ratioText(of, to, 99.9);
const residentMiB = (pid: number) => residentBytes(pid) / 1024 ** 2;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function readOptions(argv: readonly string[]): Options {
  const program = new Command('npm run bench:faults --')
    .description('What faults and durability cost, on clusters of this machine. About six minutes.')
    .option('--seconds <n>', 'measured seconds of each case', integerBetween(1, 3_600), 20)
    .option('--warmup <n>', 'seconds of the same load before', integerBetween(0, 3_600), 10)
    .option('--rate <n>', 'operations a second while a node is killed', integerBetween(1, 100_000), 500)
    .option('--stopped <n>', 'seconds for which a replica is stopped', integerBetween(1, 3_600), 60)
    .option('--repair-keys <n>', 'keys that change while a node is away', integerBetween(1, 10_000_000), 100_000)
    .option('--sync-ms <n>', 'how much slower each sync is made (with --only durability)', integerBetween(0, 10_000), 0)
    .addOption(new Option('--only <study>', 'one of them').choices(Object.keys(studies)))
    .exitOverride()
    .parse(argv, { from: 'user' });
  const options = program.opts<Options>();
  if (options.syncMs > 0 && options.only !== 'durability') program.error('--sync-ms goes with --only durability');
  return options;
}

await runBenchmark('faults', async (flags, signal) => {
  const options = readOptions(flags);
  for (const [name, study] of Object.entries(studies)) {
    if (options.only === undefined || options.only === name) await study(options, signal);
  }
});
