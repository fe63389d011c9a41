/** DURABLE, ONE_DURABLE and BUFFERED on real processes: what a receipt says, and what is left after kill -9 or SIGTERM. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect, type DurabilityName } from '../../client/index.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { figureOf } from './figures.ts';
import { cartwheel, settled, until } from './support.ts';

const wanted = 50;
let cluster: Cluster;
let client: CartwheelClient;
before(async () => {
  cluster = await startCluster();
  client = connect({ endpoints: [cluster.router.address] });
  await settled(cluster);
});
after(async () => {
  await client.close();
  await cluster.stop();
});

/** Puts of all three replicas; how many of the acknowledgements were of a disk. */
async function putAll(prefix: string, durability: DurabilityName): Promise<number> {
  const puts = Array.from({ length: wanted }, (_, i) => client.put(`${prefix}-${i}`, 'v', { durability, w: 3 }));
  const answers = await Promise.all(puts);
  return answers.flatMap(({ receipt }) => receipt.acks).filter(({ durable }) => durable).length;
}

async function found(prefix: string): Promise<number> {
  const gets = Array.from({ length: wanted }, (_, i) => client.get(`${prefix}-${i}`, { r: 3 }));
  return (await Promise.all(gets)).filter(({ siblings }) => siblings.length === 1).length;
}

async function restartAll(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => node.kill(signal)));
  await Promise.all(cluster.nodes.map((node) => node.start()));
  await settled(cluster);
}

test('a receipt tells who has it on disk', async () => {
  assert.equal(await putAll('receipt-durable', 'DURABLE'), 3 * wanted);
  assert.equal(await putAll('receipt-one', 'ONE_DURABLE'), wanted);
  assert.equal(await putAll('receipt-buffered', 'BUFFERED'), 0);
  const { stdout } = await cartwheel([
    ...['put', 'from-the-shell', 'v', '--durability', 'BUFFERED', '--w', '3', '--endpoint', cluster.router.address],
  ]);
  assert.match(stdout, /^written as [0-9a-f]{16}:1: on 3 replicas, 0 durable\n$/);
});

test('what was DURABLE or ONE_DURABLE survives that every storage node is killed at once, acknowledged or not', async () => {
  await putAll('killed-durable', 'DURABLE');
  await putAll('killed-one', 'ONE_DURABLE');
  const buffered = putAll('killed-buffered', 'BUFFERED');
  await buffered;
  await restartAll('SIGKILL');
  assert.equal(await found('killed-durable'), wanted);
  assert.equal(await found('killed-one'), wanted);
  // What was BUFFERED may be gone, and can be written again.
  const left = await found('killed-buffered');
  assert.ok(left <= wanted);
  await putAll('killed-buffered-again', 'BUFFERED');
  assert.equal(await found('killed-buffered-again'), wanted);
});

test('what was BUFFERED survives that every storage node is asked to stop at once', async () => {
  await putAll('stopped-buffered', 'BUFFERED');
  await restartAll('SIGTERM');
  assert.equal(await found('stopped-buffered'), wanted);
});

test('what was BUFFERED a little while ago survives a kill', async () => {
  await putAll('flushed', 'BUFFERED');
  for (const { admin } of cluster.nodes) {
    await until('nothing is in memory only', async () => (await figureOf(admin, 'cartwheel_unsynced_records')) === 0);
  }
  await restartAll('SIGKILL');
  assert.equal(await found('flushed'), wanted);
});

test('a namespace says what is durable enough in it', async () => {
  await client.namespaces.create('events', { durability: 'BUFFERED' });
  const { receipt } = await client.put('k', 'v', { namespace: 'events', w: 3 });
  assert.deepEqual(
    receipt.acks.map(({ durable }) => durable),
    [false, false, false],
  );
  await client.namespaces.alter('events', { durability: 'DURABLE' });
  const later = await client.put('k', 'v', { namespace: 'events', w: 3 });
  assert.deepEqual(
    later.receipt.acks.map(({ durable }) => durable),
    [true, true, true],
  );
});
