/** When exchanges begin by themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../services/core/failure.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { put, stored } from './requests.ts';
import { pass } from './time.ts';

test('a partition that is marked is compared at once, although its home was never away', async () => {
  const cluster = createCluster({ partitions: 4, hintsPerNodeMax: 0, exchangeEveryMs: 3_600_000 });
  for (const { node } of cluster.nodes) await node.open();
  const [coordinator, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  coordinator.node.exchanges.start();
  // Its random turns are all at the beginning: random.below gives 0 here.
  await pass(cluster, 1_000);
  const exchanges = () => third.calls.filter((call) => call === 'exchange').length;
  const before = exchanges();
  await pass(cluster, 20_000);
  assert.equal(exchanges(), before, 'nothing is due for an hour');
  third.answers = 'no';
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 2 })));
  third.answers = 'yes';
  await pass(cluster, 3_000);
  assert.ok((await cluster.held(third, 'cart')) !== undefined);
  assert.deepEqual(coordinator.node.hints.marks(), []);
  const after = exchanges();
  await pass(cluster, 20_000);
  assert.equal(exchanges(), after, 'and then no more');
});

test('a hint that its home refuses does not keep their other keys from being compared', async () => {
  const cluster = createCluster({ partitions: 1, exchangeEveryMs: 1_000 });
  for (const { node } of cluster.nodes) await node.open();
  const [coordinator, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const { write } = third.node.replica;
  const refused = Buffer.from(cluster.storageKey('cart'));
  third.node.replica.write = async (message) => {
    if (refused.equals(message.key)) throw new Failure('STORAGE_FAILED', 'this record is refused');
    return write(message);
  };
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 2 })));
  // Known to the coordinator alone, and owed to nobody.
  const other = cluster.storageKey('other');
  const record = await coordinator.node.store.read(cluster.storageKey('cart'));
  await coordinator.node.replica.write({
    ...{
      key: other,
      record: record as Uint8Array,
      era: 0,
      sync: true,
      hintedFor: '',
      deadline: Number.POSITIVE_INFINITY,
    },
  });
  coordinator.node.exchanges.start();
  await pass(cluster, 15_000);
  assert.equal(coordinator.node.hints.count(third.id), 1, 'it is owed still');
  assert.ok((await cluster.held(third, 'other')) !== undefined);
});

/** Of `cart`: its third home cannot be reached, and a fallback has what its hints have no room for. */
async function markedAtFallback(cluster: Cluster): Promise<{ readonly third: TestNode; readonly fallback: TestNode }> {
  for (const { node } of cluster.nodes) await node.open();
  const [coordinator, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  cluster.setReachable(third, false);
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 3 })));
  const fallback = cluster.nodes.find(({ node }) => node.hints.marks().length > 0) as TestNode;
  assert.ok(!cluster.homes('cart').includes(fallback));
  return { third, fallback };
}

test('partitions that are due again and again keep nothing from being handed over', async () => {
  const cluster = createCluster({ nodes: 4, partitions: 4, hintsPerNodeMax: 0, exchangeEveryMs: 0 });
  const { third, fallback } = await markedAtFallback(cluster);
  cluster.setReachable(third, true);
  fallback.node.exchanges.start();
  await pass(cluster, 2_000);
  assert.deepEqual(fallback.node.hints.marks(), []);
  assert.ok((await cluster.held(third, 'cart')) !== undefined);
  fallback.node.exchanges.stop();
});

/** Its digests are built for as long as this is not undone. */
function keepBuilding({ node }: TestNode): () => void {
  Object.defineProperty(node.digests, 'ready', { configurable: true, value: false });
  return () => Object.defineProperty(node.digests, 'ready', { configurable: true, value: true });
}

test('what hints had no room for is handed over by a node whose digests are built still', async () => {
  const cluster = createCluster({ nodes: 4, partitions: 4, hintsPerNodeMax: 0 });
  const { third, fallback } = await markedAtFallback(cluster);
  keepBuilding(fallback);
  cluster.setReachable(third, true);
  fallback.node.exchanges.start();
  await pass(cluster, 2_000);
  fallback.node.exchanges.stop();
  assert.deepEqual(fallback.node.hints.marks(), []);
  assert.ok((await cluster.held(third, 'cart')) !== undefined);
});

test('what hints had no room for is known to differ while the digests are built', async () => {
  const cluster = createCluster({ partitions: 4, hintsPerNodeMax: 0 });
  for (const { node } of cluster.nodes) await node.open();
  const [coordinator, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const built = keepBuilding(coordinator);
  third.answers = 'no';
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 2 })));
  third.answers = 'yes';
  coordinator.node.exchanges.start();
  await pass(cluster, 1_000);
  const [lag, ...others] = coordinator.node.exchanges.status().lagging;
  assert.deepEqual([lag?.peer, others.length], [third.id, 0]);
  assert.match(lag?.waitsFor ?? '', /^the digests of this node/);
  built();
  await pass(cluster, 3_000);
  coordinator.node.exchanges.stop();
  assert.deepEqual(coordinator.node.exchanges.status().lagging, []);
  assert.ok((await cluster.held(third, 'cart')) !== undefined);
});

test('a pair that was never compared is late like one that was not for as long', async () => {
  const cluster = createCluster({ partitions: 4, exchangeEveryMs: 5_000 });
  for (const { node } of cluster.nodes) await node.open();
  const [first, , third] = cluster.nodes as [TestNode, TestNode, TestNode];
  const age = () => first.metrics.valueOf('cartwheel_exchange_age_seconds');
  assert.ok(Number.isNaN(age()), 'it has no pairs yet');
  third.answers = 'no';
  first.node.exchanges.start();
  await pass(cluster, 60_000);
  assert.ok(age() > 50, `${age()} s`);
  third.answers = 'yes';
  await pass(cluster, 20_000);
  assert.ok(age() < 10, `${age()} s`);
  first.node.exchanges.stop();
});
