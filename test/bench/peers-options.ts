/** What `npm run bench:peers` is asked to measure. */
import { loadavg } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import type { Distribution } from '../../cli/bench/workload.ts';
import { fractionOfOne, integerBetween } from '../../cli/values.ts';
import { type StoreName, storeNames } from './clusters/cluster.ts';
import type { LoadCase } from './generator.ts';

export interface PeersOptions {
  readonly stores: readonly StoreName[];
  readonly valueBytes: readonly number[];
  readonly reads: readonly number[];
  readonly distributions: readonly Distribution[];
  /** Closed loops. */
  readonly workers: readonly number[];
  /** Open loops, operations a second. */
  readonly rates: readonly number[];
  readonly seconds: number;
  readonly warmup: number;
  readonly firstWarmup: number;
  readonly rounds: number;
  readonly keys: number;
  readonly docs: boolean;
  /** Of the machine over the last minute, before anything was started. */
  readonly loadAverage: number;
}

const distributions = ['zipfian', 'uniform'] as const;
/** Operations of an open loop that are under way at most. */
const openWorkers = 256;
/** Keys are so few that their values fit into this: three replicas, their logs and compactions go to one disk. */
const loadedBytesMost = 1024 ** 3;

export function readOptions(argv: readonly string[]): PeersOptions {
  const command = new Command('npm run bench:peers --')
    .description('Cartwheel beside etcd and Cassandra: three nodes each, one after the other, on this machine.')
    .option('--stores <list>', storeNames.join(', '), listOf(oneOf(storeNames)), ['etcd', 'cassandra', 'cartwheel'])
    .option('--value-bytes <list>', 'sizes of values', listOf(integerBetween(1, 1_000_000)), [1024])
    .option('--reads <list>', 'parts of the operations that read', listOf(fractionOfOne), [0.5])
    .option('--distributions <list>', 'of keys: zipfian, uniform', listOf(oneOf(distributions)), ['zipfian'])
    .option('--workers <list>', 'closed loops with so many workers', listOf(integerBetween(1, 4096)), [64, 256])
    .option('--rates <list>', 'open loops at so many operations a second', listOf(integerBetween(1, 1e6)), [2000])
    .option('--seconds <n>', 'measured seconds of each case', integerBetween(1, 3600), 15)
    .option('--warmup <n>', 'seconds of the same load before them', integerBetween(0, 3600), 5)
    .option('--first-warmup <n>', 'instead, before the first case of each path', integerBetween(0, 3600), 40)
    .option('--rounds <n>', 'how often each store is started anew and measured', integerBetween(1, 100), 1)
    .option('--keys <n>', 'number of keys, fewer where their values were above 1 GiB', integerBetween(1, 1e7), 100_000)
    .option('--docs', 'write the tables into docs/benchmarks.md, the plots into docs/images', false)
    .addHelpText(
      'after',
      `
A list is separated by commas; \`none\` is an empty one (--rates none). Every size is loaded anew; every mix of reads and
distribution is measured under every load.

Examples:
  npm run bench:peers -- --docs
  npm run bench:peers -- --stores cartwheel,cassandra-batch --reads 0.5,0.95,0 --distributions zipfian,uniform
  npm run bench:peers -- --value-bytes 128,1024,16384,102400 --workers 64 --rates none`,
    )
    .exitOverride();
  const options = command.parse(argv, { from: 'user' }).opts<Omit<PeersOptions, 'loadAverage'>>();
  if (options.workers.length + options.rates.length === 0)
    command.error('error: no load: --workers and --rates are none');
  for (const flag of ['stores', 'valueBytes', 'reads', 'distributions'] as const) {
    if (options[flag].length === 0) command.error(`error: nothing to measure: ${flag} is none`);
  }
  return { ...options, loadAverage: loadavg()[0] as number };
}

/** All cases of one store with values of one size, in the order in which they are measured. */
export function casesOf(store: StoreName, options: PeersOptions): LoadCase[] {
  const paths = store === 'cartwheel' ? ['direct', 'router'] : ['default'];
  const loads = [
    ...options.workers.map((workers) => ({ workers, ratePerSecond: 0 })),
    ...options.rates.map((ratePerSecond) => ({ workers: openWorkers, ratePerSecond })),
  ];
  const mixes = options.distributions.flatMap((distribution) =>
    options.reads.map((readFraction) => ({ readFraction, distribution })),
  );
  return paths.flatMap((path) => mixes.flatMap((mix) => loads.map((load) => ({ path, ...load, ...mix }))));
}

export function keysOf({ keys }: PeersOptions, valueBytes: number): number {
  return Math.max(1, Math.min(keys, Math.floor(loadedBytesMost / valueBytes)));
}

/** To start and load a store, on a small machine. */
const startSeconds = { cartwheel: 35, etcd: 30, cassandra: 110, 'cassandra-batch': 200 } as const;

/** Roughly how long all of it takes. */
export function estimateSeconds(options: PeersOptions): number {
  const ofStores = options.stores.map((store) => {
    const cases = casesOf(store, options);
    const paths = new Set(cases.map(({ path }) => path)).size;
    const warm = cases.length * options.warmup + paths * (options.firstWarmup - options.warmup);
    return startSeconds[store] + warm + cases.length * options.seconds;
  });
  return options.rounds * options.valueBytes.length * ofStores.reduce((total, seconds) => total + seconds, 0);
}

function listOf<T>(read: (text: string) => T): (text: string) => T[] {
  return (text) => (text === 'none' ? [] : text.split(',').map((word) => read(word.trim())));
}

function oneOf<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const name = names.find((known) => known === text);
    if (name === undefined) throw new InvalidArgumentError(`Wanted ${names.join(', ')}; saw '${text}'.`);
    return name;
  };
}
