/** Anti-entropy, as benchmarks follow it from outside. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CartwheelClient } from '../../client/index.ts';
import { figureOf } from '../e2e/figures.ts';
import type { Cluster } from './clusters/cluster.ts';

const lookEveryMs = 500;
/** A node that is back finds its peers, and compares all that it has with them, in this time if it is idle. */
const settleMs = 5_000;

/** Until no node knows of a difference, and all have compared since. In seconds; looked at twice a second. */
export async function untilEqual(
  client: CartwheelClient,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  const began = performance.now();
  for (;;) {
    await sleep(lookEveryMs, undefined, { signal });
    const statuses = await Promise.all(addresses.map((address) => client.status(address)));
    const differing = statuses.reduce((sum, { repair }) => sum + (repair?.differing ?? 0), 0);
    const tookMs = performance.now() - began;
    if (differing === 0 && tookMs > settleMs) return tookMs / 1_000;
  }
}

/** By exchanges, on all sides, since each node has started. */
export async function keysRead({ endpoints }: Pick<Cluster, 'endpoints'>): Promise<number> {
  let read = 0;
  for (const endpoint of endpoints) {
    // A node that is away has read nothing when it is back.
    read += await figureOf(adminOf(endpoint), 'cartwheel_exchange_keys_total').catch(() => 0);
  }
  return read;
}

/** As `cartwheel dev` has it. */
export function adminOf(endpoint: string): string {
  const [host, port] = endpoint.split(':') as [string, string];
  return `${host}:${Number(port) + 100}`;
}
