/** A cluster with a steady load on it, measured phase by phase, and looked through at the end. */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { Bench, type BenchResult } from '../../../cli/bench/run.ts';
import { type CartwheelClient, connect } from '../../../client/index.ts';
import { type Cluster, type ClusterOptions, planCluster } from '../../e2e/cluster.ts';
import { settled } from '../../e2e/support.ts';
import { during } from '../during.ts';
import type { RingOptions } from '../ring.ts';
import { type Audit, audited } from './acknowledged.ts';

export interface LoadedCluster {
  readonly cluster: Cluster;
  readonly client: CartwheelClient;
  /** The load alone, for so long. */
  quiet(seconds: number): Promise<BenchResult>;
  /** The load until the work is done, which is begun at once. */
  during(work: () => Promise<unknown>): Promise<BenchResult>;
  /** Every key once, as fast as it goes. */
  writeAll(): Promise<void>;
  /** No load is under way. */
  audit(): Promise<Audit>;
}

const valueBytes = 1_024;
/** Operations under way at most; an open loop that has more to do is late, and its latencies say so. */
const concurrency = 256;
const writersMax = 64;

/** Starts a cluster with all keys in it, warmed; ends it however `run` ends. */
export async function withLoad<T>(
  options: RingOptions,
  shape: ClusterOptions & { readonly data: string },
  signal: AbortSignal,
  run: (loaded: LoadedCluster) => Promise<T>,
): Promise<T> {
  const { backgroundOperations } = options;
  const own = backgroundOperations === undefined ? [] : ['--background-operations', `${backgroundOperations}`];
  const node = [...(shape.flags?.node ?? []), ...own];
  const cluster = await planCluster({ partitions: 64, ...shape, flags: { ...shape.flags, node } });
  const opened: CartwheelClient[] = [];
  try {
    await Promise.all(cluster.processes.map((each) => each.start()));
    await settled(cluster);
    const endpoints = [cluster.router, ...cluster.nodes].map(({ address }) => address);
    const client = connect({ endpoints, direct: true });
    opened.push(client);
    const store = audited(client);
    const plan = {
      workload: { keys: options.keys, reads: 0.5, distribution: 'uniform' },
      value: randomBytes(valueBytes),
      operation: { timeoutMs: options.deadline },
      signal,
    } as const;
    const writer = new Bench(store, { ...plan, concurrency: writersMax, rate: undefined, operation: {} });
    const bench = new Bench(store, { ...plan, concurrency, rate: options.rate });
    await writer.loadKeys(() => {});
    await bench.run(options.warmup);
    /** Interrupted, nothing more is begun: a change of the ring, once begun, is waited for. */
    const next = <R>(begin: () => Promise<R>): Promise<R> => {
      signal.throwIfAborted();
      return begin();
    };
    return await next(() =>
      run({
        cluster,
        client,
        quiet: (seconds) => next(() => bench.run(seconds)),
        during: (work) => next(() => during(bench, work)),
        writeAll: () => next(() => writer.loadKeys(() => {})),
        audit: () => next(() => store.audit({ r: 3, readers: writersMax })),
      }),
    );
  } finally {
    await Promise.all(opened.map((client) => client.close()));
    await cluster.stop();
    rmSync(shape.data, { recursive: true, force: true });
  }
}
