/**
 * One node with many keys: what it has in memory, and how soon it is ready again after a clean stop and after kill -9.
 * A cluster of `cartwheel dev` with one storage node, N=1; that node alone is ended and started again, as it was.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { processorSeconds } from '../../../cli/bench/processor-time.ts';
import { keyName } from '../../../cli/bench/workload.ts';
import { type CartwheelClient, connect } from '../../../client/index.ts';
import { residentBytes } from '../../e2e/support.ts';
import type { Cluster } from '../clusters/cluster.ts';
import { startMs } from '../clusters/servers.ts';
import type { GrowthOptions } from '../growth.ts';
import { markdown } from '../tables.ts';
import { withStorageNodes } from './storage-nodes.ts';
import { ended, inParallel, untilReady } from './work.ts';

const valueBytes = 1024;
const workers = 256;
const pollMs = 10;
const againMax = 100_000;

export function studyKeys(options: GrowthOptions, signal: AbortSignal): Promise<string> {
  return withStorageNodes(1, signal, (cluster) => measured(cluster, options, signal));
}

async function measured(cluster: Cluster, { keys }: GrowthOptions, signal: AbortSignal): Promise<string> {
  let node: ChildProcess | undefined;
  const client = connect({ endpoints: [...cluster.endpoints], direct: true });
  try {
    const first = cluster.pids['storage-1'] as number;
    const flags = flagsOf(first);
    const rows: string[][] = [];
    const began = performance.now();
    await load(client, keys, signal);
    const perSecond = (keys / (performance.now() - began)) * 1000;
    const loaded = `${keys.toLocaleString('en')} keys of 1 KiB loaded, ${Math.round(perSecond).toLocaleString('en')}/s`;
    rows.push([loaded, '', '', residentText(first)]);

    await ended(first, 'SIGTERM', signal);
    node = start(flags);
    rows.push(startedRow('ready after a clean stop', node, await ready(node, signal)));
    await reached(client, signal);

    // So that there is something in the log to be replayed.
    const again = Math.min(keys, againMax);
    await load(client, again, signal);
    await ended(pidOf(node), 'SIGKILL', signal);
    node = start(flags);
    rows.push(startedRow('ready after kill -9', node, await ready(node, signal)));
    await reached(client, signal);
    await inParallel(again, workers, signal, (key) => client.get(keyName((key * 7919) % keys)));
    rows.push([`${again.toLocaleString('en')} reads later`, '', '', residentText(pidOf(node))]);
    return ['### A node with many keys', '', markdown(['', 'seconds', 'CPU-seconds', 'resident'], rows)].join('\n');
  } finally {
    await client.close();
    if (node !== undefined) await gone(node);
  }
}

async function load(client: CartwheelClient, keys: number, signal: AbortSignal): Promise<void> {
  const values = Array.from({ length: 64 }, () => randomBytes(valueBytes));
  await inParallel(keys, workers, signal, (key) => client.put(keyName(key), values[key % values.length] as Buffer));
}

/** The client's connection has waited longer each time it was refused, and says for 3 s in all that there is none. */
async function reached(client: CartwheelClient, signal: AbortSignal): Promise<void> {
  for (const began = performance.now(); ; ) {
    try {
      await client.get(keyName(0));
      return;
    } catch (error) {
      if (performance.now() - began > startMs) throw error;
      await sleep(pollMs, undefined, { signal });
    }
  }
}

/** As it was started: the script and what follows it. */
function flagsOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(1, -1);
}

/** What is measured of a start. */
interface Started {
  /** From its start until it says that it is ready. */
  readonly seconds: number;
  /** What it had used by then: on a busy machine this says more. */
  readonly cpuSeconds: number;
}

function startedRow(what: string, node: ChildProcess, { seconds, cpuSeconds }: Started): string[] {
  return [what, seconds.toFixed(2), cpuSeconds.toFixed(2), residentText(pidOf(node))];
}

function start(flags: readonly string[]): ChildProcess {
  // With the channel it ends when this process is gone, however it went.
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  child.channel?.unref();
  return child;
}

/** Waits for a node that was just started. */
async function ready(node: ChildProcess, signal: AbortSignal): Promise<Started> {
  const began = performance.now();
  const admin = node.spawnargs[node.spawnargs.indexOf('--admin') + 1] as string;
  await untilReady(admin, signal);
  const seconds = (performance.now() - began) / 1000;
  return { seconds, cpuSeconds: processorSeconds([pidOf(node)]) ?? Number.NaN };
}

/** At once: what it has on its disk is removed next. */
async function gone(node: ChildProcess): Promise<void> {
  if (node.exitCode !== null || node.signalCode !== null) return;
  const exit = once(node, 'exit');
  node.kill('SIGKILL');
  await exit;
}

function pidOf(child: ChildProcess): number {
  return child.pid as number;
}

function residentText(pid: number): string {
  return `${Math.round(residentBytes(pid) / 1024 ** 2).toLocaleString('en')} MiB`;
}
