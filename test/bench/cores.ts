/**
 * What more processors give a storage node: measured on one and on two, compared with a model (cores/model.ts), and
 * the model asked about 16. Prints Markdown; docs/cores.md says what was decided by it.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { Bench } from '../../cli/bench/run.ts';
import { Problem } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { connect } from '../../client/index.ts';
import { commitText } from '../commit.ts';
import { runBenchmark } from './benchmark.ts';
import { type CartwheelCluster, startCartwheel } from './clusters/cartwheel.ts';
import { mostOperations, type OperationCost, processesFor } from './cores/model.ts';
import { hopCosts } from './cores/thread-hop.ts';
import { pin, type ThreadUse, threadUse } from './cores/threads.ts';
import { machineText } from './machine.ts';
import { markdown } from './tables.ts';

interface Options {
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly workers: number;
  readonly basePort: number;
}

const keys = 10_000;
const valueBytes = 1024;
const directory = fileURLToPath(new URL(`results/cores-${process.pid}`, import.meta.url));

interface Layout {
  readonly nodes: number;
  /** Of the servers; this process, which asks, is on the other one or beside them. */
  readonly processors: 1 | 2;
}

interface Measured extends Layout {
  readonly perSecond: number;
  readonly cost: OperationCost;
}

const layouts: readonly Layout[] = [
  { nodes: 1, processors: 1 },
  { nodes: 1, processors: 2 },
  { nodes: 3, processors: 1 },
  { nodes: 3, processors: 2 },
];

/** What it starts may run on both, as this process may. Throws before anything is started where that cannot be said. */
function unpin(): void {
  pin([process.pid], '0-1');
}

async function measureNodes(nodes: number, options: Options, signal: AbortSignal): Promise<Measured[]> {
  unpin();
  const cluster = await startCartwheel(join(directory, `nodes-${nodes}`), signal, {
    storageNodes: nodes,
    basePort: options.basePort,
  });
  const client = connect({ endpoints: cluster.endpoints, direct: true });
  const bench = new Bench(client, {
    workload: { keys, reads: 0.5, distribution: 'zipfian' },
    ...{ value: randomBytes(valueBytes), concurrency: options.workers, rate: undefined, operation: {} },
    signal,
  });
  const sums = layouts.filter((layout) => layout.nodes === nodes).map((layout) => ({ layout, ...nothing() }));
  try {
    await bench.loadKeys(() => {});
    await bench.run(options.warmup);
    // In turn: a machine is faster in one minute than in the next.
    for (let round = 0; round < options.rounds; round++) {
      for (const sum of sums) {
        place(cluster, sum.layout);
        await measure(bench, cluster, options.seconds, sum);
        signal.throwIfAborted();
      }
    }
  } finally {
    await client.close();
    await cluster.stop();
  }
  return sums.map(({ layout, operations, seconds, servers, eventLoops, own }) => {
    const each = (cpuSeconds: number) => (cpuSeconds * 1e6) / operations;
    const cost = { servers: each(servers), eventLoops: each(eventLoops), client: each(own) };
    return { ...layout, perSecond: operations / seconds, cost };
  });
}

interface Sum {
  operations: number;
  seconds: number;
  servers: number;
  eventLoops: number;
  own: number;
}

function nothing(): Sum {
  return { operations: 0, seconds: 0, servers: 0, eventLoops: 0, own: 0 };
}

function place({ pids }: CartwheelCluster, { processors }: Layout): void {
  pin(Object.values(pids), processors === 1 ? '0' : '0-1');
  pin([process.pid], processors === 1 ? '1' : '0-1');
}

async function measure(bench: Bench, { pids }: CartwheelCluster, seconds: number, sum: Sum): Promise<void> {
  const uses = () => Object.values(pids).map(threadUse);
  const add = (of: keyof ThreadUse, after: ThreadUse[], before: ThreadUse[]) =>
    after.reduce((total, use, i) => total + use[of] - (before[i] as ThreadUse)[of], 0);
  const before = uses();
  const own = process.cpuUsage();
  const { reads, writes, seconds: took } = await bench.run(seconds);
  const after = uses();
  const { user, system } = process.cpuUsage(own);
  sum.operations += reads.totalCount + writes.totalCount;
  sum.seconds += took;
  sum.servers += add('all', after, before);
  sum.eventLoops += add('eventLoop', after, before);
  sum.own += (user + system) / 1e6;
}

function checked(measured: readonly Measured[]): string {
  const rows = measured.map(({ nodes, processors, perSecond, cost }) => {
    const clientProcessors = processors === 1 ? 'own' : 'shared';
    const model = mostOperations(cost, { processors, clientProcessors, eventLoops: nodes });
    return [
      String(nodes),
      processors === 1 ? '1, the client on the other' : '2, the client beside',
      Math.round(perSecond).toLocaleString('en'),
      `${Math.round(cost.servers)}, ${Math.round(cost.eventLoops)}, ${Math.round(cost.client)}`,
      Math.round(model).toLocaleString('en'),
      (perSecond / model).toFixed(2),
    ];
  });
  const titles = ['nodes', 'processors', 'ops/s', 'µs an operation: servers, their event loops, client'];
  return markdown([...titles, 'model, ops/s', 'measured / model'], rows);
}

function asked({ cost }: Measured, hop: number): string {
  const hosts = 3;
  const processors = 16;
  const machine = { processors: hosts * processors, clientProcessors: 'own' } as const;
  const many = { ...cost, client: 0 };
  const most = (of: OperationCost, eventLoops: number) => mostOperations(of, { ...machine, eventLoops });
  const enough = processesFor(processors, cost);
  // A connection is on one of n threads, and n-1 of n operations belong to another: nearly every one crosses.
  const threads = { servers: many.servers + hop, eventLoops: many.eventLoops + hop, client: 0 };
  const one = most(many, hosts);
  const rows = (
    [
      ['one process a host', one],
      [`${enough} processes a host`, most(many, hosts * enough)],
      [`one process a host with ${enough} threads that own partitions`, most(threads, hosts * enough)],
    ] as const
  ).map(([design, perSecond]) => [
    design,
    Math.round(perSecond).toLocaleString('en'),
    `${(perSecond / one).toFixed(1)}×`,
  ]);
  return markdown([`${hosts} hosts of ${processors} processors, N=3`, 'model, ops/s', 'of one process'], rows);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function readOptions(argv: readonly string[]): Options {
  return new Command('npm run bench:cores --')
    .description('What one and two processors give, beside a model, and what the model says of 16. About four minutes.')
    .option('--seconds <n>', 'measured seconds of each case in each round', integerBetween(1, 3_600), 10)
    .option('--warmup <n>', 'seconds before the first case', integerBetween(0, 3_600), 15)
    .option('--rounds <n>', 'how often the cases take turns', integerBetween(1, 100), 4)
    .option('--workers <n>', 'of the closed loop', integerBetween(1, 4_096), 64)
    .option('--base-port <n>', 'of the cluster', integerBetween(1_024, 60_000), 9_200)
    .exitOverride()
    .parse(argv, { from: 'user' })
    .opts<Options>();
}

await runBenchmark('cores', async (flags, signal) => {
  const options = readOptions(flags);
  if (process.platform !== 'linux' || availableParallelism() < 2) {
    throw new Problem('two processors of a Linux machine are wanted: the servers are put on one of them');
  }
  unpin();
  try {
    say(`> ${new Date().toISOString().slice(0, 10)}, commit ${commitText()}; ${machineText()}\n`);
    const hops = await hopCosts(valueBytes);
    const measured: Measured[] = [];
    for (const nodes of [1, 3]) measured.push(...(await measureNodes(nodes, options, signal)));
    say(checked(measured));
    say(
      markdown(
        ['operations a message', 'to another thread and back, µs of CPU an operation'],
        hops.map(({ perMessage, microseconds }) => [String(perMessage), microseconds.toFixed(1)]),
      ),
    );
    say(asked(measured.at(-1) as Measured, (hops[1] as (typeof hops)[number]).microseconds));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
