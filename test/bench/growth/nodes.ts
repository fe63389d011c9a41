/**
 * The cost of an operation by the number of nodes: the real data path of every node in one process, joined by calls
 * instead of streams, its disks in memory. What grows with the cluster would show here; sockets and syncs, which do not,
 * are left out.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Cluster, createCluster, type TestNode } from '../../storage-node/cluster.ts';
import { get, gotten, put, stored } from '../../storage-node/requests.ts';
import type { GrowthOptions } from '../growth.ts';
import { markdown } from '../tables.ts';
import { medianOf } from './work.ts';

const sizes = [3, 5, 10, 20, 30, 300];
const partitions = 1024;
const keys = 5000;
const value = randomBytes(1024);
const workers = 64;
const operationsPerRound = 10_000;
/** All sizes in turn, so that a slow minute is one of all. The first is not counted: code is compiled then. */
const rounds = 6;

interface Contestant {
  readonly size: number;
  readonly cluster: Cluster;
  readonly contexts: (Buffer | undefined)[];
  readonly microseconds: number[];
  calls: number;
}

export async function studyNodes(_: GrowthOptions, signal: AbortSignal): Promise<string> {
  const contestants = sizes.map((size): Contestant => {
    const cluster = createCluster({ nodes: size, partitions, cacheBytesMax: 64 * 1024 * 1024 });
    return { size, cluster, contexts: [], microseconds: [], calls: 0 };
  });
  for (const contestant of contestants) {
    await work(contestant, keys, (i) => write(contestant, i));
  }
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      signal.throwIfAborted();
      for (const { calls } of contestant.cluster.nodes) calls.length = 0;
      const before = process.cpuUsage();
      await work(contestant, operationsPerRound, () => {
        const key = Math.floor(Math.random() * keys);
        return Math.random() < 0.5 ? read(contestant, key) : write(contestant, key);
      });
      const { user, system } = process.cpuUsage(before);
      if (round === 0) continue;
      contestant.microseconds.push((user + system) / operationsPerRound);
      contestant.calls += contestant.cluster.nodes.reduce((sum, { calls }) => sum + calls.length, 0);
    }
  }
  for (const { cluster } of contestants) await Promise.all(cluster.nodes.map(({ node }) => node.close()));
  const least = medianOf((contestants[0] as Contestant).microseconds);
  const rows = contestants.map(({ size, microseconds, calls }) => [
    String(size),
    `${Math.round(medianOf(microseconds))} (${Math.round(Math.min(...microseconds))} – ${Math.round(Math.max(...microseconds))})`,
    (medianOf(microseconds) / least).toFixed(2),
    (calls / (operationsPerRound * (rounds - 1))).toFixed(2),
  ]);
  return [
    `### An operation by the number of nodes`,
    '',
    markdown(['nodes', 'CPU of all nodes, µs an operation', 'of that with 3', 'calls of replicas an operation'], rows),
  ].join('\n');
}

/** `count` operations, `workers` at a time. */
async function work(contestant: Contestant, count: number, operation: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (next < count) await operation(next++);
    }),
  );
  // What a write still does after its answer is a part of it.
  while (contestant.cluster.nodes.some(({ node }) => node.store.pendingRecords > 0)) await nextTurn();
}

async function read(contestant: Contestant, key: number): Promise<void> {
  const name = keyName(key);
  const answer = await gotten(contestant.cluster.run(coordinator(contestant, name), get(name)));
  contestant.contexts[key] = answer.context;
}

async function write(contestant: Contestant, key: number): Promise<void> {
  const name = keyName(key);
  const context = contestant.contexts[key] ?? Buffer.alloc(0);
  const answer = await stored(contestant.cluster.run(coordinator(contestant, name), put(name, value, { context })));
  contestant.contexts[key] = answer.context;
}

/** As a client chooses it that knows the ring. */
function coordinator({ cluster }: Contestant, name: string): TestNode {
  return cluster.homes(name)[0] as TestNode;
}

function keyName(key: number): string {
  return `user${key}`;
}
