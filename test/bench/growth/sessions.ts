/**
 * What client sessions cost that are open and do little: the same operations over one connection, and over a thousand of
 * them, each with a session of its own, to one storage node. The clients are in this process.
 */
import { randomBytes } from 'node:crypto';
import { processorSeconds } from '../../../cli/bench/processor-time.ts';
import { keyName } from '../../../cli/bench/workload.ts';
import { Problem } from '../../../cli/problem.ts';
import { type CartwheelClient, connect } from '../../../client/index.ts';
import { residentBytes } from '../../e2e/support.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { GrowthOptions } from '../growth.ts';
import { markdown } from '../tables.ts';
import { withStorageNodes } from './storage-nodes.ts';
import { inParallel, medianOf } from './work.ts';

const keys = 5_000;
const value = randomBytes(1024);
const workers = 64;
const pairsPerRound = 20_000;
const rounds = 4;

interface Contestant {
  readonly clients: readonly CartwheelClient[];
  /** CPU of the node, an operation. */
  readonly microseconds: number[];
}

export function studySessions(options: GrowthOptions, signal: AbortSignal): Promise<string> {
  return withStorageNodes(1, signal, (cluster) => measured(cluster, options, signal));
}

async function measured(cluster: Cluster, { sessions }: GrowthOptions, signal: AbortSignal): Promise<string> {
  const node = cluster.pids['storage-1'] as number;
  const contestants: Contestant[] = [];
  const open = async (count: number) => {
    const clients = Array.from({ length: count }, () => connect({ endpoints: [...cluster.endpoints] }));
    contestants.push({ clients, microseconds: [] });
    await inParallel(count, workers, signal, (i) => (clients[i] as CartwheelClient).get(keyName(i % keys)));
    return clients;
  };
  try {
    const [one] = (await open(1)) as [CartwheelClient];
    await inParallel(keys, workers, signal, (i) => one.put(keyName(i), value));
    // Warm: what the heap grows by is not the sessions'.
    await measure(contestants[0] as Contestant, node, signal);
    const before = residentBytes(node);
    await open(sessions);
    const each = (residentBytes(node) - before) / sessions / 1024;
    for (let round = 0; round < rounds; round++) {
      for (const contestant of contestants) contestant.microseconds.push(await measure(contestant, node, signal));
    }
    const least = medianOf((contestants[0] as Contestant).microseconds);
    const rows = contestants.map(({ clients, microseconds }) => [
      clients.length.toLocaleString('en'),
      `${Math.round(medianOf(microseconds))} (${Math.round(Math.min(...microseconds))} – ${Math.round(Math.max(...microseconds))})`,
      (medianOf(microseconds) / least).toFixed(2),
    ]);
    return [
      '### Client sessions of one node',
      '',
      markdown(['sessions', 'CPU of the node, µs an operation', 'of that with one'], rows),
      `A session more takes ${each.toFixed(0)} KiB of the node.`,
    ].join('\n');
  } finally {
    await Promise.all(contestants.flatMap(({ clients }) => clients.map((client) => client.close())));
  }
}

/** Pairs of a get and a put, by the clients in turn; CPU of the node, in microseconds an operation. */
async function measure({ clients }: Contestant, node: number, signal: AbortSignal): Promise<number> {
  const before = processorSeconds([node]);
  await inParallel(pairsPerRound, workers, signal, async (i) => {
    const client = clients[i % clients.length] as CartwheelClient;
    const key = keyName(Math.floor(Math.random() * keys));
    const { context } = await client.get(key);
    await client.put(key, value, { context });
  });
  const after = processorSeconds([node]);
  if (before === undefined || after === undefined) throw new Problem('the storage node is gone');
  return ((after - before) * 1e6) / (2 * pairsPerRound);
}
