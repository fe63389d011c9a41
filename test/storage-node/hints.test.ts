/** Sloppy quorum, hints and their handoff, on the data path alone. The simulation attacks the same with everything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hintsOf } from '../../services/core/codec/hint.ts';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { createHintBook, indexAgain } from '../../services/storage-node/hints.ts';
import { type ClusterOptions, createCluster, type TestNode } from './cluster.ts';
import { createReadableMetrics } from './metrics.ts';
import { failureOf, get, gotten, put, remove, stored, valuesOf } from './requests.ts';
import { pass, turns } from './time.ts';

const partitions = 16;

async function setup(options: ClusterOptions = {}) {
  const cluster = createCluster({ nodes: 6, partitions, ...options });
  for (const { node } of cluster.nodes) await node.open();
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const others = cluster.nodes.filter((node) => !homes.includes(node));
  return { cluster, homes, others };
}

/** Lets time pass until everything that waits for it is done. */
async function owedBy({ node }: TestNode, key: Uint8Array): Promise<readonly string[]> {
  return (await node.replica.inspect({ key, deadline: 1e9 })).owed;
}

test('P8: a fallback stands in for a home that is down, and owes it the record', async () => {
  const { cluster, homes, others } = await setup();
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const standIn = receipt?.acks.find(({ hintedFor }) => hintedFor !== '');
  assert.equal(standIn?.hintedFor, homes[2].id);
  const fallback = others.find(({ id }) => id === standIn?.nodeId) as TestNode;
  assert.deepEqual(await owedBy(fallback, cluster.storageKey('cart')), [homes[2].id]);
});

test('hints for a home that can be reached count as deliverable, until it has them', async () => {
  const { cluster, homes } = await setup();
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const standIn = receipt?.acks.find(({ hintedFor }) => hintedFor !== '')?.nodeId;
  const fallback = cluster.nodes.find(({ id }) => id === standIn) as TestNode;
  const gauges = () => ['cartwheel_hints', 'cartwheel_hints_deliverable'].map((name) => fallback.metrics.valueOf(name));
  await pass(cluster, 1_000);
  assert.deepEqual(gauges(), [1, 0]);
  homes[2].answers = 'no';
  cluster.setReachable(homes[2], true);
  await pass(cluster, 1_000);
  assert.deepEqual(gauges(), [1, 1]);
  homes[2].answers = 'yes';
  await pass(cluster, 20_000);
  assert.deepEqual(gauges(), [0, 0]);
});

test('P8: with all homes down puts and gets go on, and say what they rest on', async () => {
  const { cluster, homes, others } = await setup();
  for (const home of homes) cluster.setReachable(home, false);
  const [first] = others as [TestNode];
  const { receipt } = await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  assert.deepEqual(receipt?.acks.map(({ hintedFor }) => hintedFor).sort(), homes.map(({ id }) => id).sort());
  const read = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual(valuesOf(read), ['v']);
  assert.deepEqual([read.certificate?.homesAnswered, read.certificate?.replicasAnswered], [0, 2]);
});

test('what was owed is delivered when the home is back, and fallbacks keep nothing', async () => {
  const { cluster, homes, others } = await setup();
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 1_000);
  for (const home of homes) cluster.setReachable(home, false);
  await stored(cluster.run(others[0] as TestNode, put('cart', 'v')));
  await pass(cluster, 1_000);
  for (const home of homes) cluster.setReachable(home, true);
  await pass(cluster, 2_000);
  for (const home of homes) assert.ok((await cluster.held(home, 'cart')) !== undefined, home.id);
  for (const other of others) {
    assert.equal(await cluster.held(other, 'cart'), undefined, other.id);
    assert.deepEqual(other.node.hints.nodes(), []);
    assert.deepEqual((await other.engine.scan('hints', new Uint8Array(0), undefined, 10)).entries, []);
  }
});

test('a hint whose record was lost, and owed again by the next write, is counted once when it is delivered', async () => {
  const { cluster, homes, others } = await setup({ cacheBytesMax: 0 });
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 1_000);
  cluster.setReachable(homes[2], false);
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const held = await Promise.all(others.map((other) => cluster.held(other, 'cart')));
  const fallback = others.find((_, i) => held[i] !== undefined) as TestNode;
  fallback.disk.lose([cluster.storageKey('cart')]);
  await stored(cluster.run(homes[0], put('cart', 'w', { w: 3 })));
  await pass(cluster, 500);
  cluster.setReachable(homes[2], true);
  await pass(cluster, 2_000);
  assert.equal(await cluster.held(fallback, 'cart'), undefined);
  assert.deepEqual(fallback.node.hints.nodes(), []);
});

test('a record whose last hint goes while its partition is handed back is not left behind', async () => {
  const { cluster, homes, others } = await setup({ cacheBytesMax: 0 });
  const partition = (key: string) => partitionOfStorageKey(cluster.storageKey(key), partitions);
  const neighbour = Array.from({ length: 200 }, (_, i) => `key ${i}`).find(
    (key) => partition(key) === partition('cart'),
  );
  cluster.setReachable(homes[2], false);
  await stored(cluster.run(homes[0], put(neighbour as string, 'v', { w: 3 })));
  const held = await Promise.all(others.map((other) => cluster.held(other, neighbour as string)));
  const fallback = others.find((_, i) => held[i] !== undefined) as TestNode;
  // It looks through what it has of others, as after a start, and the first owner that it asks takes its time.
  homes[0].stalledDisk = [];
  fallback.node.transfers.start();
  await pass(cluster, 500);
  await stored(cluster.run(homes[1], put('cart', 'v', { w: 2 })));
  cluster.setReachable(homes[2], true);
  await pass(cluster, 2_000);
  assert.deepEqual(fallback.node.hints.nodes(), []);
  const stalled = homes[0].stalledDisk;
  homes[0].stalledDisk = undefined;
  for (const run of stalled) run();
  await pass(cluster, 5_000);
  for (const key of ['cart', neighbour as string]) assert.equal(await cluster.held(fallback, key), undefined, key);
});

test('a home that fails while it is asked is replaced by a fallback at once', async () => {
  const { cluster, homes } = await setup();
  homes[1].answers = 'no';
  homes[2].answers = 'no';
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  assert.deepEqual(receipt?.acks.map(({ hintedFor }) => hintedFor).sort(), ['', homes[1].id, homes[2].id].sort());
});

test('a fallback that has the write of a second attempt already owes it to the home it stands in for now', async () => {
  const { cluster, homes } = await setup();
  const requestId = Buffer.from('request 1');
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3, requestId })));
  const id = receipt?.acks.find(({ hintedFor }) => hintedFor !== '')?.nodeId;
  const fallback = cluster.nodes.find((node) => node.id === id) as TestNode;
  cluster.setReachable(homes[1], false);
  const again = put('cart', 'v', { w: 3, requestId, attempt: 1 });
  const second = await stored(cluster.run(fallback, again, { forwarded: true }));
  const owed = second.receipt?.acks.find(({ nodeId }) => nodeId === fallback.id)?.hintedFor as string;
  assert.ok((await owedBy(fallback, cluster.storageKey('cart'))).includes(owed));
});

test('a home that nobody can stand in for is owed the record by the coordinator', async () => {
  const { cluster, homes, others } = await setup();
  for (const node of [...others, homes[2]]) cluster.setReachable(node, false);
  homes[1].answers = 'no';
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 1 })));
  await pass(cluster, 50);
  assert.deepEqual(await owedBy(homes[0], cluster.storageKey('cart')), [homes[1].id, homes[2].id].sort());
  homes[1].answers = 'yes';
  cluster.setReachable(homes[2], true);
  await pass(cluster, 12_000);
  for (const home of homes) assert.ok((await cluster.held(home, 'cart')) !== undefined, home.id);
  assert.deepEqual(await owedBy(homes[0], cluster.storageKey('cart')), []);
});

test('what a record has become while it was delivered is owed still', async () => {
  const { cluster, homes } = await setup();
  cluster.setReachable(homes[2], false);
  await stored(cluster.run(homes[0], put('cart', 'one')));
  await pass(cluster, 50);
  // The delivery waits at the home; meanwhile the fallback gets another value for it.
  homes[2].stalledDisk = [];
  homes[2].reachable = true;
  await pass(cluster, 600);
  assert.ok(homes[2].calls.includes('write'), 'the delivery is under way');
  homes[2].reachable = false;
  await stored(cluster.run(homes[0], put('cart', 'two')));
  for (const go of homes[2].stalledDisk.splice(0)) go();
  homes[2].stalledDisk = undefined;
  homes[2].reachable = true;
  await pass(cluster, 12_000);
  const { siblings = [] } = (await cluster.held(homes[2], 'cart')) ?? {};
  assert.deepEqual(siblings.map(({ value }) => Buffer.from(value).toString()).sort(), ['one', 'two']);
});

test('a hint whose record a home refuses keeps no other from being delivered', async () => {
  const { cluster, homes } = await setup();
  const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`).filter((key) => cluster.homes(key).includes(homes[2]));
  cluster.setReachable(homes[2], false);
  for (const key of keys)
    await stored(cluster.run(cluster.homes(key).find((home) => home !== homes[2]) as TestNode, put(key, 'v')));
  await pass(cluster, 50);
  const [refused = ''] = keys;
  const { replica } = homes[2].node;
  const { write } = replica;
  Object.assign(replica, {
    write: (message: Parameters<typeof write>[0]) =>
      Buffer.compare(message.key, cluster.storageKey(refused)) === 0
        ? Promise.reject(new Error('corrupt'))
        : write(message),
  });
  cluster.setReachable(homes[2], true);
  await pass(cluster, 200);
  const missing = [];
  for (const key of keys) if ((await cluster.held(homes[2], key)) === undefined) missing.push(key);
  assert.deepEqual(missing, [refused]);
  Object.assign(replica, { write });
  await pass(cluster, 12_000);
  assert.ok((await cluster.held(homes[2], refused)) !== undefined);
});

test('a book that is opened on what another run left has counted its hints', async () => {
  const { cluster, homes } = await setup();
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const id = receipt?.acks.find(({ hintedFor }) => hintedFor !== '')?.nodeId;
  const fallback = cluster.nodes.find((node) => node.id === id) as TestNode;
  const book = createHintBook(fallback.engine, createReadableMetrics(), 10);
  await book.open();
  assert.deepEqual([book.nodes(), book.count(homes[2].id)], [[homes[2].id], 1]);
  const [summary] = await book.summary();
  assert.deepEqual([summary?.nodeId, summary?.hints], [homes[2].id, 1]);
  assert.ok((summary?.bytes ?? 0) > 10);
});

test('beyond their limit hints are not kept: the partition is marked, the record stays, the write goes on', async () => {
  const { cluster, homes } = await setup({ hintsPerNodeMax: 0 });
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const id = receipt?.acks.find(({ hintedFor }) => hintedFor !== '')?.nodeId;
  const fallback = cluster.nodes.find((node) => node.id === id) as TestNode;
  assert.ok((await cluster.held(fallback, 'cart')) !== undefined);
  const [summary] = await fallback.node.hints.summary();
  assert.deepEqual([summary?.hints, summary?.markedPartitions], [0, 1]);
});

test('a delete that a home missed reaches it by its hint, and what it removed does not come back', async () => {
  const { cluster, homes } = await setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const { context } = await gotten(cluster.run(homes[0], get('cart')));
  cluster.setReachable(homes[2], false);
  await cluster.run(homes[0], remove('cart', context));
  cluster.setReachable(homes[2], true);
  await pass(cluster, 2_000);
  assert.deepEqual((await cluster.held(homes[2], 'cart'))?.siblings, []);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[2], get('cart', { r: 3 })))), []);
});

test('a record that belongs elsewhere is refused where it is owed to nobody', async () => {
  const { cluster, homes, others } = await setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const key = cluster.storageKey('cart');
  const record = (await homes[0].node.replica.read({ key, deadline: 1e9 })) as Uint8Array;
  const write = { key, record, era: 0, sync: true, deadline: 1e9 };
  const [other] = others as [TestNode];
  for (const hintedFor of ['', 'nobody', other.id, (others[1] as TestNode).id]) {
    assert.equal((await failureOf(other.node.replica.write({ ...write, hintedFor }))).reason, 'NOT_ENOUGH_REPLICAS');
  }
  await other.node.replica.write({ ...write, hintedFor: homes[1].id });
  await other.node.replica.write({ ...write, hintedFor: '' });
});

test('a strict namespace has no fallbacks: homes alone take its writes and answer its reads', async () => {
  const { cluster, homes, others } = await setup();
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, strict: true });
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  assert.ok(receipt?.acks.every(({ hintedFor }) => hintedFor === ''));
  cluster.setReachable(homes[1], false);
  await stored(cluster.run(homes[0], put('cart', 'w')));
  assert.equal((await failureOf(cluster.run(homes[0], put('cart', 'x', { w: 3 })))).reason, 'NOT_ENOUGH_REPLICAS');
  assert.equal((await failureOf(cluster.run(homes[0], get('cart', { r: 3 })))).reason, 'NOT_ENOUGH_REPLICAS');
  for (const home of homes) cluster.setReachable(home, false);
  for (const operation of [put('cart', 'y'), get('cart')]) {
    const failure = await failureOf(cluster.run(others[0] as TestNode, operation));
    assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
  }
  for (const other of others) assert.equal(await cluster.held(other, 'cart'), undefined);
});

test('a namespace can have all N asked on each get, and a home that was behind is mended', async () => {
  const { cluster, homes } = await setup();
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, readAllProbability: 1 });
  homes[2].answers = 'no';
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 2 })));
  await turns(20);
  homes[2].answers = 'yes';
  const { certificate } = await gotten(cluster.run(homes[0], get('cart', { r: 1 })));
  assert.equal(certificate?.replicasAsked, 3);
  await turns(40);
  assert.ok((await cluster.held(homes[2], 'cart')) !== undefined);
});

test('what damage has taken of the index is put back, from what records say that they are owed to', async () => {
  const { cluster, homes } = await setup();
  const away = homes[2];
  cluster.setReachable(away, false);
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  await pass(cluster, 200);
  const fallback = cluster.nodes.find(({ node }) => node.hints.count(away.id) > 0) as TestNode;
  await fallback.engine.close();
  fallback.disk.lose([], ['hints']);
  const random = { u64: () => 7n, below: () => 0 };
  const damaged = openMemoryEngine(fallback.disk, { random });
  const { start, end } = hintsOf(away.id);
  const indexed = async () => (await damaged.scan('hints', start, end, 10)).entries.length;
  assert.equal(await indexed(), 0);
  for (let i = 0; i < 2; i++) await indexAgain(damaged, fallback.node.store, 5);
  assert.equal(await indexed(), 1);
  const another = hintsOf(homes[1].id);
  assert.equal((await damaged.scan('hints', another.start, another.end, 10)).entries.length, 0);
});
