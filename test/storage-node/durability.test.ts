/** What a write waits for, by its durability, and what its receipt says of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PutResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import { bufferLimits } from '../../services/storage-node/record-store.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

const durable = 1;
const oneDurable = 2;
const buffered = 3;

/** The homes of `cart` have it already, in their caches: no put of it needs their disks before it writes. */
async function setup() {
  const cluster = createCluster();
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const { context } = await stored(cluster.run(homes[0], put('cart', 'first', { w: 3 })));
  await turns();
  return { cluster, homes, context };
}

const durableOf = ({ receipt }: Pick<PutResponse, 'receipt'>) =>
  Object.fromEntries((receipt?.acks ?? []).map(({ nodeId, durable }) => [nodeId, durable]));

test('BUFFERED: acknowledged by all while no disk does anything, durable nowhere, and read back', async () => {
  const { cluster, homes, context } = await setup();
  for (const home of homes) home.stalledDisk = [];
  const answer = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3, durability: buffered, context })));
  assert.deepEqual(durableOf(answer), { [homes[0].id]: false, [homes[1].id]: false, [homes[2].id]: false });
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[1], get('cart', { r: 3 })))), ['v']);
  for (const { metrics } of homes) assert.equal(metrics.valueOf('cartwheel_unsynced_records'), 1);
});

test('BUFFERED: on every disk a little later, though nothing else happens', async () => {
  const { cluster, homes, context } = await setup();
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3, durability: buffered, context })));
  cluster.clock.advance(bufferLimits.flushAfterMs);
  await turns();
  for (const { disk, metrics, engine } of homes) {
    assert.deepEqual([disk.uncertainWrites, metrics.valueOf('cartwheel_unsynced_records')], [0, 0]);
    const [bytes] = await engine.getMany('records', [cluster.storageKey('cart')]);
    assert.ok(bytes !== undefined);
  }
  assert.ok(receipt !== undefined);
});

test('ONE_DURABLE: the coordinator syncs, and is not waited for in particular', async () => {
  const { cluster, homes, context } = await setup();
  const [first, second, third] = homes;
  first.stalledDisk = [];
  const early = await stored(cluster.run(first, put('cart', 'v', { durability: oneDurable, context })));
  assert.deepEqual(durableOf(early), { [second.id]: false, [third.id]: false });
  const whole = stored(cluster.run(first, put('cart', 'w', { durability: oneDurable, w: 3, context: early.context })));
  for (const run of first.stalledDisk) run();
  first.stalledDisk = undefined;
  assert.deepEqual(durableOf(await whole), { [first.id]: true, [second.id]: false, [third.id]: false });
  assert.equal(first.disk.uncertainWrites, 0);
});

test('DURABLE: without its disk nobody acknowledges', async () => {
  const { cluster, homes, context } = await setup();
  const [first, second, third] = homes;
  second.stalledDisk = [];
  const answer = await stored(cluster.run(first, put('cart', 'v', { durability: durable, context })));
  assert.deepEqual(durableOf(answer), { [first.id]: true, [third.id]: true });
  const late = failureOf(cluster.run(first, put('cart', 'w', { durability: durable, w: 3 })));
  await turns();
  cluster.clock.advance(2_000);
  assert.equal((await late).reason, 'DEADLINE');
});

test('DURABLE after BUFFERED: the same put again, asked to be durable, is synced before it is answered', async () => {
  const { cluster, homes, context } = await setup();
  const requestId = Buffer.from('once');
  const first = await stored(
    cluster.run(homes[0], put('cart', 'v', { w: 3, durability: buffered, context, requestId })),
  );
  const again = await stored(
    cluster.run(homes[0], put('cart', 'v', { w: 3, durability: durable, context, requestId, attempt: 1 })),
  );
  assert.equal(again.receipt?.dot, first.receipt?.dot);
  assert.ok(Object.values(durableOf(again)).every(Boolean));
  for (const { disk } of homes) assert.equal(disk.uncertainWrites, 0);
});

test('a delete is as durable as it asks to be', async () => {
  const { cluster, homes, context } = await setup();
  for (const home of homes) home.stalledDisk = [];
  const answer = await removed(cluster.run(homes[0], remove('cart', context, { durability: buffered })));
  assert.ok(Object.values(durableOf(answer)).every((isDurable) => !isDurable));
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart')))), []);
});

test('what a request does not say its namespace does', async () => {
  const { cluster, homes } = await setup();
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, durability: 'BUFFERED', w: 3 });
  const answer = await stored(cluster.run(homes[0], put('cart', 'v')));
  assert.deepEqual(Object.values(durableOf(answer)), [false, false, false]);
  const said = await stored(cluster.run(homes[0], put('cart', 'w', { durability: durable, w: 1 })));
  assert.ok(Object.values(durableOf(said)).every(Boolean));
});

test('a fallback owes what it buffered as soon as it is written', async () => {
  const cluster = createCluster({ nodes: 4 });
  const [first, second] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  second.reachable = false;
  const { receipt } = await stored(cluster.run(first, put('cart', 'v', { w: 3, durability: buffered })));
  const standIn = receipt?.acks.find(({ hintedFor }) => hintedFor === second.id);
  assert.equal(standIn?.durable, false);
  cluster.clock.advance(bufferLimits.flushAfterMs);
  await turns();
  const fallback = cluster.nodes.find(({ id }) => id === standIn?.nodeId) as TestNode;
  assert.deepEqual(fallback.node.hints.nodes(), [second.id]);
});
