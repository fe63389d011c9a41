/** A node that has lost some of its records, knows it, and pulls them again: what it lacks it does not call absent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing } from '../../services/core/ring/ring.ts';
import { openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { createRebuild } from '../../services/storage-node/rebuild.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, stored, valuesOf } from './requests.ts';
import { pass } from './time.ts';

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

test('P12: nor is what it lost of a partition that came to it while it was down', async () => {
  const before = createCluster({ nodes: 4 });
  const [leaving, ...staying] = before.homes('cart') as [TestNode, TestNode, TestNode];
  const entering = before.nodes.find((node) => !before.homes('cart').includes(node)) as TestNode;
  const key = before.storageKey('cart');
  const partition = partitionOfStorageKey(key, before.ring.partitions);
  const ringOf = (more: bigint, owner: TestNode, pending: TestNode) => {
    const owners = before.ring.owners.slice();
    owners[partition * 3] = before.nodes.indexOf(owner);
    const version = { term: 1n, sequence: before.ring.version.sequence + more };
    return createRing({
      ...{ ...before.ring, version, owners },
      pending: new Map([[partition, [before.nodes.indexOf(pending)]]]),
    });
  };
  const [staged, flipped] = [ringOf(1n, leaving, entering), ringOf(2n, entering, leaving)];
  before.goOver(before.nodes, staged);
  await stored(before.run(leaving, put('cart', 'v', { w: 3 })));
  for (const { node, engine } of before.nodes) {
    await node.close();
    await engine.close();
  }
  entering.disk.lose([key]);
  let drawn = 0n;
  const random = { u64: () => ++drawn, below: () => 0 };
  const engine = (index: number) => openMemoryEngine(before.node(index).disk, { random });
  const cluster = createCluster({ nodes: 4, ring: staged, engine });
  const at = (node: TestNode) => cluster.node(before.nodes.indexOf(node));
  for (const { node } of cluster.nodes) await node.open();
  const { replica, refill } = at(entering).node;
  await assert.rejects(replica.read({ key, deadline: 1e9 }), /not pulled again yet/);
  cluster.goOver(cluster.nodes, flipped);
  await assert.rejects(replica.read({ key, deadline: 1e9 }), /not pulled again yet/);
  refill.start();
  at(staying[0] as TestNode).answers = 'no';
  await pass(cluster, 5_000);
  await assert.rejects(replica.read({ key, deadline: 1e9 }), /not pulled again yet/);
  at(staying[0] as TestNode).answers = 'yes';
  await pass(cluster, 5_000);
  assert.ok((await replica.read({ key, deadline: 1e9 })) !== undefined);
  assert.equal(at(entering).engine.isIncomplete, false);
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
