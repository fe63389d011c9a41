/** What a former owner does with what it has left, where owners of it are DOWN (hand-back.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing, nameOfNode } from '../../services/core/ring/ring.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, stored, valuesOf } from './requests.ts';
import { pass } from './time.ts';

type Three = readonly [TestNode, TestNode, TestNode];

interface Left {
  readonly cluster: Cluster;
  readonly owners: Three;
  /** No owner. It is LEAVING from when `leave` is called, and has what it keeps left of all partitions then. */
  readonly leaving: TestNode;
  leave(down: readonly TestNode[]): void;
}

/** Before anything is delivered or handed back: no clock moves. */
async function createLeft(hintsPerNodeMax?: number): Promise<Left> {
  const cluster = createCluster({ nodes: 5, ...(hintsPerNodeMax === undefined ? {} : { hintsPerNodeMax }) });
  const owners = cluster.homes('cart') as unknown as Three;
  const leaving = cluster.nodes.find((node) => !owners.includes(node)) as TestNode;
  for (const { node } of cluster.nodes) {
    await node.open();
    node.transfers.start();
  }
  await pass(cluster, 1_000);
  let { sequence } = cluster.ring.version;
  return {
    cluster,
    owners,
    leaving,
    leave(down) {
      sequence += 1n;
      const statusOf = (id: string) =>
        id === leaving.id ? 'LEAVING' : down.some((node) => node.id === id) ? 'DOWN' : 'UP';
      const { ring, nodes } = cluster;
      const version = { term: 1n, sequence };
      const statuses = ring.nodes.map((node) => ({ ...node, status: statusOf(node.id) }) as const);
      const here = nodes.filter((node) => !down.includes(node));
      cluster.goOver(here, createRing({ ...ring, nodes: statuses, version }));
    },
  };
}

/** At the node alone, which owes it to all homes then. */
async function putAlone({ nodes, ...cluster }: Cluster, alone: TestNode, value: string): Promise<void> {
  for (const node of nodes) if (node !== alone) cluster.setReachable(node, false);
  await stored(cluster.run(alone, put('cart', value, { w: 1 })));
  for (const node of nodes) if (node !== alone) node.reachable = true;
}

const owes = async ({ node }: TestNode) => {
  const summary = await node.hints.summary();
  return node.leftovers.size + summary.reduce((sum, { hints, markedPartitions }) => sum + hints + markedPartitions, 0);
};

for (const { name, hintsPerNodeMax } of [
  { name: 'hints', hintsPerNodeMax: 100 },
  { name: 'marks', hintsPerNodeMax: 0 },
]) {
  test(`what is left is given up when two of three owners have it and the third is DOWN, with its ${name}`, async () => {
    const { cluster, owners, leaving, leave } = await createLeft(hintsPerNodeMax);
    const [first, second, down] = owners;
    await putAlone(cluster, leaving, 'v');
    cluster.setReachable(down, false);
    leave([down]);
    await pass(cluster, 5_000);
    assert.equal(await cluster.held(leaving, 'cart'), undefined);
    // What is marked for the two others goes with an exchange.
    await leaving.node.exchanges.compareAll();
    assert.equal(await owes(leaving), 0);
    for (const owner of [first, second])
      assert.equal((await cluster.held(owner, 'cart'))?.siblings.length, 1, owner.id);
    assert.equal(await cluster.held(down, 'cart'), undefined);
    down.answers = 'no';
    assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 2 })))), ['v']);
  });
}

test('where two of three owners are DOWN it stays, and what is done says whom it waits for, until one is back', async () => {
  const { cluster, owners, leaving, leave } = await createLeft();
  const [first, second, third] = owners;
  await putAlone(cluster, leaving, 'v');
  for (const node of [second, third]) cluster.setReachable(node, false);
  leave([second, third]);
  await pass(cluster, 5_000);
  assert.equal((await cluster.held(leaving, 'cart'))?.siblings.length, 1);
  const partition = partitionOfStorageKey(cluster.storageKey('cart'), cluster.ring.partitions);
  assert.deepEqual([...leaving.node.leftovers], [partition], 'all others are empty');
  const waits = () => leaving.node.background.tasks().map(({ name, waitsFor }) => `${name}: ${waitsFor}`);
  const ids = `${second.id}, ${third.id}`;
  assert.deepEqual(waits(), [
    `hand-back of what its owners do not take yet: 2 of 3 owners have to take it, and 1 are not DOWN; DOWN: ${ids} (1 partition)`,
  ]);
  cluster.setReachable(second, true);
  leave([third]);
  await pass(cluster, 5_000);
  assert.equal(await owes(leaving), 0);
  assert.deepEqual(waits(), []);
  for (const owner of [first, second]) assert.equal((await cluster.held(owner, 'cart'))?.siblings.length, 1, owner.id);
});

test('an owner that is not DOWN is waited for, and named', async () => {
  const { cluster, owners, leaving, leave } = await createLeft();
  const [first, second, third] = owners;
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const key = cluster.storageKey('cart');
  const record = (await first.node.store.read(key)) as Uint8Array;
  const deadline = cluster.clock.now() + 1_000;
  await leaving.node.replica.write({ key, record, era: 0, sync: true, hintedFor: third.id, deadline });
  for (const node of [second, third]) cluster.setReachable(node, false);
  leave([third]);
  await pass(cluster, 5_000);
  assert.equal((await cluster.held(leaving, 'cart'))?.siblings.length, 1);
  const waits = () => leaving.node.background.tasks().map(({ waitsFor }) => waitsFor);
  assert.deepEqual(waits(), [`${nameOfNode(cluster.ring, second.id)} cannot be reached (1 partition)`]);
});

test('what is owed to a home that is not DOWN goes to it first', async () => {
  const { cluster, owners, leaving, leave } = await createLeft();
  const [, second, third] = owners;
  await putAlone(cluster, leaving, 'v');
  for (const node of [second, third]) cluster.setReachable(node, false);
  leave([third]);
  await pass(cluster, 5_000);
  assert.equal((await cluster.held(leaving, 'cart'))?.siblings.length, 1);
  const waits = () => leaving.node.background.tasks().map(({ waitsFor }) => waitsFor);
  assert.deepEqual(waits(), [`what is owed to ${nameOfNode(cluster.ring, second.id)} goes first (1 partition)`]);
  cluster.setReachable(second, true);
  await pass(cluster, 5_000);
  assert.equal((await cluster.held(second, 'cart'))?.siblings.length, 1);
  assert.equal(await owes(leaving), 0);
  assert.deepEqual(waits(), []);
});
