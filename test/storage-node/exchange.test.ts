/** P6 on assembled nodes: replicas that missed writes become equal by comparing digests, without a read and without hints. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { answerExchange, requestOf } from '../../services/storage-node/exchange.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored } from './requests.ts';
import { pass, turns } from './time.ts';

async function setup(nodes = 3, hintsPerNodeMax = 0): Promise<Cluster> {
  const cluster = createCluster({ nodes, hintsPerNodeMax, partitions: 4 });
  for (const { node } of cluster.nodes) await node.open();
  await turns();
  return cluster;
}

const keys = Array.from({ length: 40 }, (_, i) => `key ${i}`);

/** Runs while the node hears of nothing. */
async function without(cluster: Cluster, away: TestNode, work: () => Promise<void>): Promise<void> {
  cluster.setReachable(away, false);
  await work();
  cluster.setReachable(away, true);
}

async function compareAll(cluster: Cluster): Promise<number> {
  let moved = 0;
  for (const { node } of cluster.nodes) {
    const comparing = node.exchanges.compareAll();
    // What is admitted may have to be waited for.
    let done = false;
    void comparing.finally(() => {
      done = true;
    });
    for (let i = 0; !done && i < 5_000; i++) {
      await turns(2);
      cluster.clock.advance(50);
    }
    moved += await comparing;
  }
  return moved;
}

async function assertEqualReplicas(cluster: Cluster, names: readonly string[] = keys): Promise<void> {
  for (const name of names) {
    const dots = await Promise.all(
      cluster.homes(name).map(async (home) => (await cluster.held(home, name))?.siblings.map(({ dot }) => dot) ?? []),
    );
    for (const each of dots) assert.deepEqual(each, dots[0], name);
  }
}

const metric = ({ metrics }: TestNode, name: string) => metrics.valueOf(name);

test('a node that missed writes, replacements and deletes gets them, and equal replicas then cost one call a pair', async () => {
  const cluster = await setup();
  const [first, , away] = cluster.nodes as [TestNode, TestNode, TestNode];
  for (const key of keys.slice(0, 20)) await stored(cluster.run(first, put(key, 'before', { w: 3 })));
  await without(cluster, away, async () => {
    for (const [i, key] of keys.entries()) {
      const { context } = await gotten(cluster.run(first, get(key)));
      if (i % 3 === 0 && context.length > 0) await removed(cluster.run(first, remove(key, context)));
      else await stored(cluster.run(first, put(key, 'meanwhile', { context })));
    }
  });
  assert.ok((await compareAll(cluster)) > 0);
  await assertEqualReplicas(cluster);
  assert.equal(await compareAll(cluster), 0);
  const calls = () =>
    cluster.nodes.reduce((sum, node) => sum + node.calls.filter((kind) => kind === 'exchange').length, 0);
  const before = calls();
  await compareAll(cluster);
  assert.equal(calls() - before, 3 * 4 * 2, 'three nodes, four partitions, two other homes');
  assert.deepEqual(
    cluster.nodes.map(({ node }) => node.hints.marks()),
    [[], [], []],
    'nothing is owed any more',
  );
});

test('concurrent values on both sides come together, and neither is lost', async () => {
  const cluster = await setup();
  const [a, b, c] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  for (const other of [b, c]) other.answers = 'no';
  await stored(cluster.run(a, put('cart', 'from a', { w: 1 })));
  a.answers = 'no';
  for (const other of [b, c]) other.answers = 'yes';
  await stored(cluster.run(b, put('cart', 'from b', { w: 1 })));
  a.answers = 'yes';
  await turns();
  await compareAll(cluster);
  await assertEqualReplicas(cluster, ['cart']);
  assert.equal((await cluster.held(c, 'cart'))?.siblings.length, 2);
});

test('what a fallback keeps beyond its hints goes to its home, and then away', async () => {
  const cluster = await setup(5);
  const [home] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const others = cluster.nodes.filter((node) => !cluster.homes('cart').includes(node));
  for (const node of others) await handBack(cluster, node);
  await without(cluster, home, async () => {
    const coordinator = cluster.homes('cart')[1] as TestNode;
    await stored(cluster.run(coordinator, put('cart', 'v', { w: 3 })));
  });
  const keeping = await Promise.all(others.map((node) => cluster.held(node, 'cart')));
  assert.equal(keeping.filter((record) => record !== undefined).length, 1);
  await compareAll(cluster);
  assert.equal((await cluster.held(home, 'cart'))?.siblings.length, 1);
  for (const node of others) assert.equal(await cluster.held(node, 'cart'), undefined);
});

/** What may be left of partitions of others after a start goes. */
async function handBack({ clock }: Cluster, { node }: TestNode): Promise<void> {
  node.transfers.start();
  for (let i = 0; i < 50; i++) {
    clock.advance(100);
    await turns();
  }
}

/** One node is no home of two keys of a partition, and keeps both for one home beyond its hints; it owes one to another. */
async function keepForTwo() {
  const cluster = await setup(5, 1);
  const [coordinator, one, another] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const [keeper] = cluster.nodes.filter((node) => !cluster.homes('cart').includes(node)) as [TestNode];
  await handBack(cluster, keeper);
  const [second = ''] = keys.filter((name) => cluster.homes(name)[0] === coordinator);
  const [fillsBook = ''] = keys.filter((name) => cluster.homes(name).includes(one) && name !== second);
  for (const name of ['cart', second]) await stored(cluster.run(coordinator, put(name, 'v', { w: 3 })));
  for (const home of [one, another]) cluster.setReachable(home, false);
  const keep = async (name: string, home: TestNode) => {
    const record = (await coordinator.node.store.read(cluster.storageKey('cart'))) as Uint8Array;
    const write = { key: cluster.storageKey(name), record, era: 0, sync: true, hintedFor: home.id, deadline: 1e9 };
    await keeper.node.replica.write(write);
  };
  await keep(fillsBook, one);
  await keep('cart', one);
  await keep(second, one);
  await keep('cart', another);
  const { owed } = await keeper.node.replica.inspect({ key: cluster.storageKey('cart'), deadline: 1e9 });
  assert.deepEqual(owed, [another.id]);
  assert.equal(keeper.node.hints.marks().length, 1, 'there was room for one hint');
  return { cluster, one, another, keeper, second };
}

test('what was handed over to one home and is owed by a hint to another is not handed over again and again', async () => {
  const { cluster, one, another, keeper } = await keepForTwo();
  one.reachable = true;
  await compareAll(cluster);
  assert.deepEqual(keeper.node.hints.marks(), [], 'the home has it');
  cluster.setReachable(another, true);
  await turns();
  assert.equal(await cluster.held(keeper, 'cart'), undefined);
});

test('what a hint leaves behind while its partition is handed over goes too', async () => {
  const { cluster, one, another, keeper, second } = await keepForTwo();
  const { replica } = one.node;
  const { write } = replica;
  Object.assign(replica, {
    async write(message: Parameters<typeof write>[0]) {
      if (Buffer.compare(message.key, cluster.storageKey(second)) === 0 && !another.reachable) {
        await turns();
        cluster.setReachable(another, true);
        await turns();
        const { owed } = await keeper.node.replica.inspect({ key: cluster.storageKey('cart'), deadline: 1e9 });
        assert.deepEqual(owed, [], 'delivered meanwhile');
      }
      await write(message);
    },
  });
  one.reachable = true;
  await compareAll(cluster);
  await compareAll(cluster);
  assert.deepEqual(keeper.node.hints.marks(), []);
  for (const name of ['cart', second]) assert.equal(await cluster.held(keeper, name), undefined, name);
});

test('keys are read in proportion to what differs', async () => {
  const cluster = await setup();
  const [first, , away] = cluster.nodes as [TestNode, TestNode, TestNode];
  const many = Array.from({ length: 600 }, (_, i) => `many ${i}`);
  for (const key of many) await stored(cluster.run(first, put(key, 'v', { w: 3 })));
  const changed = many.slice(0, 30);
  await without(cluster, away, async () => {
    for (const key of changed) await stored(cluster.run(first, put(key, 'new')));
  });
  const listed = () => cluster.nodes.reduce((sum, node) => sum + metric(node, 'cartwheel_exchange_keys_total'), 0);
  const before = listed();
  await compareAll(cluster);
  await assertEqualReplicas(cluster, many);
  // Each changed key is listed by both sides of at most three comparisons, with what shares its leaf of 2^12.
  const read = listed() - before;
  assert.ok(read <= 3 * 2 * changed.length * 1.3, `${read} keys read for ${changed.length} changed`);
});

test('a partition known to differ is told with its age, until it is mended', async () => {
  const cluster = await setup();
  const [first, second, away] = cluster.nodes as [TestNode, TestNode, TestNode];
  await without(cluster, away, async () => {
    await stored(cluster.run(first, put('cart', 'v')));
  });
  const { peers } = second.node;
  assert.equal(peers.reachable(away.id), true);
  // Its digests are compared, and what would mend it does not arrive.
  const { replica } = away.node;
  const write = replica.write;
  Object.assign(replica, { write: () => Promise.reject(new Error('disk full')) });
  await compareAll(cluster);
  cluster.clock.advance(5_000);
  const differing = [first, second].map(({ node }) => node.exchanges.status());
  assert.ok(
    differing.every((status) => status.differing >= 1 && status.lagMs >= 5_000),
    JSON.stringify(differing),
  );
  Object.assign(replica, { write });
  await compareAll(cluster);
  for (const { node } of [first, second])
    assert.deepEqual([node.exchanges.status().differing, node.exchanges.status().lagMs], [0, 0]);
});

test('each partition that lags is told, the oldest first, with whom it differs from and what it waits for', async () => {
  const cluster = await setup();
  const [first, , away] = cluster.nodes as [TestNode, TestNode, TestNode];
  const { replica } = away.node;
  const { write } = replica;
  const missed = async (key: string) => {
    await without(cluster, away, async () => void (await stored(cluster.run(first, put(key, 'v')))));
    Object.assign(replica, { write: () => Promise.reject(new Error('disk full')) });
    await compareAll(cluster);
    cluster.clock.advance(70_000);
    return partitionOfStorageKey(cluster.storageKey(key), cluster.ring.partitions);
  };
  const early = await missed('cart');
  const other = keys.find(
    (key) => partitionOfStorageKey(cluster.storageKey(key), cluster.ring.partitions) !== early,
  ) as string;
  const late = await missed(other);
  const lags = () => first.node.exchanges.status().lagging;
  const name = cluster.ring.nodes.find(({ id }) => id === away.id)?.address;
  assert.deepEqual(
    lags().map(({ partition, peer, waitsFor }) => [partition, peer, waitsFor]),
    [early, late].map((partition) => [partition, away.id, 'another try: disk full']),
  );
  const [oldest, newest] = lags().map(({ ms }) => ms) as [number, number];
  assert.ok(newest >= 70_000 && oldest >= newest + 70_000, `${oldest} ${newest}`);
  assert.deepEqual(
    [...first.metrics.seriesOf('cartwheel_partition_lag_seconds')],
    [
      [String(early), oldest / 1_000],
      [String(late), newest / 1_000],
    ],
  );
  cluster.setReachable(away, false);
  assert.equal(lags()[0]?.waitsFor, `${name}, which cannot be reached`);
  cluster.setReachable(away, true);
  Object.assign(replica, { write });
  await compareAll(cluster);
  assert.deepEqual(lags(), []);
  assert.equal(first.metrics.seriesOf('cartwheel_partition_lag_seconds').size, 0);
});

test('a partition of which a home missed more than hints are kept for lags from then on', async () => {
  const cluster = await setup();
  const [first, , away] = cluster.nodes as [TestNode, TestNode, TestNode];
  for (const { node } of cluster.nodes) node.exchanges.start();
  await pass(cluster, 1_000);
  cluster.setReachable(away, false);
  const coordinator = cluster.homes('cart').find((node) => node !== away) ?? first;
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 2 })));
  await pass(cluster, 2_000);
  const [lag, ...others] = coordinator.node.exchanges.status().lagging;
  assert.deepEqual([lag?.peer, others.length], [away.id, 0]);
  assert.match(lag?.waitsFor ?? '', /, which cannot be reached$/);
  assert.equal(coordinator.metrics.seriesOf('cartwheel_partition_lag_seconds').size, 0, 'it may be mended in a minute');
  await pass(cluster, 60_000);
  assert.equal(coordinator.metrics.seriesOf('cartwheel_partition_lag_seconds').size, 1);
  cluster.setReachable(away, true);
  await pass(cluster, 20_000);
  assert.deepEqual(coordinator.node.exchanges.status().lagging, []);
  for (const { node } of cluster.nodes) node.exchanges.stop();
});

test('nonsense is refused', async () => {
  const cluster = await setup();
  const { node } = cluster.nodes[0] as TestNode;
  const none = requestOf({});
  const page = { ringTerm: 1, ringSequence: 1, partitions: 8, from: Buffer.alloc(0) };
  const tooMany = Array.from({ length: 257 }, (_, i) => i);
  const request = { hash: 1n, id: Buffer.from('id'), dotActor: 1n, dotCounter: 1n, settled: false };
  for (const asked of [
    none,
    { ...none, compare: { level: 99, nodes: [] } },
    { ...none, compare: { level: 2, nodes: [{ index: 4, digest: 0n }] } },
    { ...none, list: { leaves: [1 << 12] } },
    { ...none, list: { leaves: tooMany } },
    { ...none, fetch: { keys: tooMany.map(() => Buffer.from('k')) } },
    { ...none, listRequests: { ...page, partition: 8 } },
    { ...none, listRequests: { ...page, partition: 0, from: Buffer.alloc(5_000) } },
    { ...none, learnRequests: { requests: Array.from({ length: 1_025 }, () => request) } },
    { ...none, learnRequests: { requests: [{ ...request, id: Buffer.alloc(33) }] } },
    { ...none, listLosses: { ...page, of: [0, 8] } },
    { ...none, listLosses: { ...page, of: [0], from: Buffer.alloc(5_000) } },
  ]) {
    assert.equal((await failureOf(answerExchange(node, asked))).reason, 'OPERATION_INVALID');
  }
});
