/** A node that has lost some of its records, knows it, and pulls them again: what it lacks it does not call absent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { createRebuild } from '../../services/storage-node/rebuild.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, stored, valuesOf } from './requests.ts';

/** Three homes of `cart`, of which the first has lost it; all have been started anew. */
async function setup() {
  const before = createCluster();
  const names = before.homes('cart').map(({ id }) => id);
  await stored(before.run(before.homes('cart')[0] as TestNode, put('cart', 'v', { w: 3 })));
  for (const { node, engine } of before.nodes) {
    await node.close();
    await engine.close();
  }
  before.homes('cart')[0]?.disk.lose([before.storageKey('cart')]);
  let drawn = 0n;
  const random = { u64: () => ++drawn, below: () => 0 };
  const cluster = createCluster({ engine: (index) => openMemoryEngine(before.node(index).disk, { random }) });
  for (const { node } of cluster.nodes) await node.open();
  const homes = names.map((id) => cluster.nodes.find((node) => node.id === id)) as [TestNode, TestNode, TestNode];
  return { cluster, homes };
}

async function pass({ clock }: Cluster, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.advance(50);
    for (let i = 0; i < 30; i++) await new Promise(setImmediate);
  }
}

test('P12: what a damaged disk has lost is not absent: others answer, until it is pulled again', async () => {
  const { cluster, homes } = await setup();
  const [lost, second, third] = homes;
  const key = cluster.storageKey('cart');
  assert.ok(lost.engine.isIncomplete);
  await assert.rejects(lost.node.replica.read({ key, deadline: 1e9 }), /not pulled again yet/);
  for (const at of [lost, second]) {
    assert.deepEqual(valuesOf(await gotten(cluster.run(at, get('cart', { r: 1 })))), ['v']);
    assert.deepEqual(valuesOf(await gotten(cluster.run(at, get('cart', { r: 2 })))), ['v']);
  }
  third.answers = 'no';
  lost.node.refill.start();
  await pass(cluster, 5_000);
  assert.ok(lost.engine.isIncomplete, 'not all of its other owners have been asked');
  third.answers = 'yes';
  await pass(cluster, 5_000);
  assert.equal(lost.engine.isIncomplete, false);
  assert.deepEqual(valuesOf(await gotten(cluster.run(lost, get('cart', { r: 1 })))), ['v']);
});

test('a node with damaged files opens them anew only while all others can do without it', async () => {
  const { cluster, homes } = await setup();
  const [lost, damaged, third] = homes;
  let isDamaged = false;
  const engine = { ...damaged.engine, isIncomplete: false };
  Object.defineProperty(engine, 'isDamaged', { get: () => isDamaged });
  const rebuild = createRebuild({ ...damaged.node, engine }, 1_000, () => {});
  isDamaged = true;
  assert.equal(await rebuild.isDue(), false, 'another one has not got back what it lost');
  lost.node.refill.start();
  await pass(cluster, 5_000);
  assert.equal(await rebuild.isDue(), true);
  cluster.setReachable(third, false);
  assert.equal(await rebuild.isDue(), false, 'another one is away');
  cluster.setReachable(third, true);
  isDamaged = false;
  assert.equal(await rebuild.isDue(), false, 'it is not damaged');
});
