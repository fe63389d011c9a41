/**
 * What an exchange costs where there are many keys, of which few differ: two nodes with all of them, of which one is away
 * while some change, with room for no hint; and how soon its digests are whole again after kill -9, without which it
 * compares nothing.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { keyName } from '../../../cli/bench/workload.ts';
import { plural } from '../../../cli/output.ts';
import { type CartwheelClient, connect } from '../../../client/index.ts';
import { figureOf } from '../../e2e/figures.ts';
import type { CartwheelCluster } from '../clusters/cartwheel.ts';
import type { GrowthOptions } from '../growth.ts';
import { adminOf, keysRead, untilEqual } from '../repair.ts';
import { markdown } from '../tables.ts';
import { withStorageNodes } from './storage-nodes.ts';
import { ended, inParallel, untilReady } from './work.ts';

const valueBytes = 128;
const workers = 256;
const changedMax = 10_000;
/** A page of metrics takes milliseconds of the event loop that is measured. */
const pollMs = 1_000;

export function studyExchange(options: GrowthOptions, signal: AbortSignal): Promise<string> {
  process.env.CARTWHEEL_HINTS_MAX = '0';
  return withStorageNodes(2, signal, (cluster) => measured(cluster, options, signal));
}

async function measured(cluster: CartwheelCluster, { keys }: GrowthOptions, signal: AbortSignal): Promise<string> {
  const client = connect({ endpoints: [...cluster.endpoints], direct: true });
  try {
    await inParallel(keys, workers, signal, (key) => client.put(keyName(key), randomBytes(valueBytes)));
    const count = Math.min(keys, changedMax);
    const changed = Array.from({ length: count }, (_, i) => keyName(Math.floor((i * keys) / count)));
    const [there, away] = cluster.endpoints as [string, string];

    await ended(cluster.pids['storage-2'] as number, 'SIGTERM', signal);
    await inParallel(changed.length, workers, signal, (i) => change(client, changed[i] as string));
    const readBefore = await keysRead(cluster);
    const pids = await cluster.restart();
    await untilReady(adminOf(away), signal);
    const equalAfter = await untilEqual(client, [there, away], signal);
    // A figure is as old as the page that shows it.
    await sleep(pollMs, undefined, { signal });
    const read = (await keysRead(cluster)) - readBefore;
    const unequal = await unequalOf(client, changed, signal);

    await ended(pids['storage-2'] as number, 'SIGKILL', signal);
    await cluster.restart();
    await untilReady(adminOf(away), signal);
    const wholeAfter = await untilWhole(away, signal);

    const title = `### ${plural(keys, 'key')} of ${valueBytes} bytes on each of two nodes`;
    const rows = [
      [
        `no difference is known any more (looked at from 5 s on): ${plural(changed.length, 'key')} changed while one was away`,
        equalAfter.toFixed(1),
      ],
      ['its digests are whole after kill -9', wholeAfter.toFixed(1)],
    ];
    const perChanged = (read / changed.length).toFixed(1);
    const counts = `Keys read by exchanges, on both sides: ${perChanged} a changed one. Of those ${unequal} differ afterwards.`;
    return [title, '', markdown(['', 'seconds from when it was ready'], rows), counts].join('\n');
  } finally {
    await client.close();
  }
}

/** In the place of what is there: the other node is away. */
async function change(client: CartwheelClient, key: string): Promise<void> {
  const { context } = await client.get(key, { r: 1 });
  await client.put(key, randomBytes(valueBytes), { context, w: 1 });
}

/** Of these keys, how many do not have the same versions on both. */
async function unequalOf(client: CartwheelClient, keys: readonly string[], signal: AbortSignal): Promise<number> {
  let unequal = 0;
  await inParallel(keys.length, workers, signal, async (i) => {
    const { replicas } = await client.explain(keys[i] as string);
    if (replicas.length !== 2 || new Set(replicas.map(({ dots }) => dots.join())).size > 1) unequal++;
  });
  return unequal;
}

/** In seconds. */
async function untilWhole(endpoint: string, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  while ((await figureOf(adminOf(endpoint), 'cartwheel_digests_built')) < 1) await sleep(pollMs, undefined, { signal });
  return (performance.now() - began) / 1_000;
}
