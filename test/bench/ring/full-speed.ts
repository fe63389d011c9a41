/**
 * Background work as fast as the governor lets it go: all of a node's partitions are transferred, because its disk was
 * wiped and it is replaced; and all are exchanged, because it stood still while every key changed and hints had no room.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchResult } from '../../../cli/bench/run.ts';
import type { ClusterProcess } from '../../e2e/cluster.ts';
import { figureOf } from '../../e2e/figures.ts';
import { carryOut, idAt } from '../../nemesis/change.ts';
import type { RingOptions } from '../ring.ts';
import { type LoadedCluster, withLoad } from './load.ts';
import { auditText, phasesTable, together, verdict } from './phases.ts';

const nodes = 3;
const lookEveryMs = 500;
/** A node that is back finds its peers, and compares all that it has with them, in this time if it is idle. */
const settleSeconds = 5;

/** The node is killed, its disk wiped; it comes back as another one, which takes its place. */
export async function studyTransfer(options: RingOptions, data: string, signal: AbortSignal): Promise<string> {
  return withLoad(options, { nodes, data }, signal, async (loaded) => {
    const { cluster } = loaded;
    const node = cluster.nodes[1] as ClusterProcess;
    const before = await loaded.quiet(2 * options.quiet);
    const lost = await idAt(node.address);
    const away = await loaded.during(async () => {
      await node.kill('SIGKILL');
      rmSync(join(node.data, 'data'), { recursive: true, force: true });
      await node.start();
    });
    const moved = await bytesOf(node, 'transfer');
    const during = await loaded.during(async () => {
      await carryOut(cluster.membership.address, {
        joins: [await idAt(node.address)],
        leaves: [lost],
        down: [lost],
        isLost: (id) => id === lost,
      });
    });
    const bytes = (await bytesOf(node, 'transfer')) - moved;
    const done = 'A disk wiped and its node of three replaced';
    const besides = new Map([['its node away, until it has started', away]]);
    return concluded(loaded, options, { name: 'a transfer', done, before, during, bytes, besides });
  });
}

/** Every key changes while the node is away; then it is back. */
export async function studyExchange(options: RingOptions, data: string, signal: AbortSignal): Promise<string> {
  const shape = { nodes, data, flags: { node: ['--hints-max', '0'] } };
  return withLoad(options, shape, signal, async (loaded) => {
    const node = loaded.cluster.nodes[1] as ClusterProcess;
    const before = await loaded.quiet(2 * options.quiet);
    // Stopped, and not ended: to start a process is none of the exchange's work.
    await node.kill('SIGSTOP');
    await loaded.writeAll();
    const mended = await exchangedBytes(loaded, node);
    const during = await loaded.during(async () => {
      await node.kill('SIGCONT');
      await untilEqual(loaded, signal);
    });
    const bytes = (await exchangedBytes(loaded)) - mended;
    const done = 'One node of three stood still (SIGSTOP) while every key changed, without hints';
    return concluded(loaded, options, { name: 'an exchange', done, before, during, bytes });
  });
}

interface Study {
  readonly name: 'a transfer' | 'an exchange';
  /** What was done, for people. */
  readonly done: string;
  /** The load alone, and with the background work beside it. */
  readonly before: BenchResult;
  readonly during: BenchResult;
  /** Of records that the background moved. */
  readonly bytes: number;
  /** Measured too. */
  readonly besides?: ReadonlyMap<string, BenchResult>;
}

/** The load alone once more, every key read, and the text on all of it. */
async function concluded(
  loaded: LoadedCluster,
  options: RingOptions,
  { name, done, before, during, bytes, besides = new Map() }: Study,
): Promise<string> {
  const after = await loaded.quiet(2 * options.quiet);
  const audit = await loaded.audit();
  const [calm, busy] = [together([before, after]), together([during])];
  const others = [...besides].map(([what, result]) => [what, together([result])] as const);
  const table = phasesTable(new Map([['quiet', calm], [name.replace(/^an? /, 'the '), busy], ...others]));
  const title = `${done}, ${options.rate} operations a second: ${pace(bytes, busy.seconds)}.`;
  return [title, table, verdict(name, busy, calm), auditText(audit)].join('\n\n');
}

/** No node knows of a difference any more, and all have compared since the return. */
async function untilEqual({ cluster, client }: LoadedCluster, signal: AbortSignal): Promise<void> {
  const begunAt = performance.now();
  for (;;) {
    await sleep(lookEveryMs, undefined, { signal });
    const statuses = await Promise.all(cluster.nodes.map(({ address }) => client.status(address)));
    const differing = statuses.reduce((sum, { repair }) => sum + (repair?.differing ?? 0), 0);
    if (differing === 0 && performance.now() - begunAt > settleSeconds * 1_000) return;
  }
}

/** One that stands still has exchanged nothing since it stopped, and is not asked. */
async function exchangedBytes({ cluster }: LoadedCluster, stopped?: ClusterProcess): Promise<number> {
  const asked = cluster.nodes.filter((node) => node !== stopped);
  const bytes = await Promise.all(asked.map((node) => bytesOf(node, 'exchange')));
  return bytes.reduce((sum, each) => sum + each, 0);
}

/** Admitted for tasks of the kind since the process started. */
function bytesOf({ admin }: ClusterProcess, kind: 'transfer' | 'exchange'): Promise<number> {
  return figureOf(admin, 'cartwheel_background_bytes_total', `task="${kind}"`);
}

function pace(bytes: number, seconds: number): string {
  const mebibytes = bytes / 1024 ** 2;
  return `${mebibytes.toFixed(0)} MiB of records in ${seconds.toFixed(1)} s, ${(mebibytes / seconds).toFixed(1)} MiB/s`;
}
