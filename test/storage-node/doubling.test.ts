/** What storage nodes do when the partitions double (core/ring/doubling.ts): nothing moves, and nothing is forgotten. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Mutation } from '../../services/core/ports.ts';
import { doubled } from '../../services/core/ring/doubling.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { createHintBook } from '../../services/storage-node/hints.ts';
import { listKeys } from '../../services/storage-node/list-keys.ts';
import { type Cluster, type ClusterOptions, createCluster, type TestNode } from './cluster.ts';
import { createReadableMetrics } from './metrics.ts';
import { get, gotten, put, stored, valuesOf } from './requests.ts';
import { pass } from './time.ts';

const key = 'cart';

async function setup(options: ClusterOptions = {}) {
  const cluster = createCluster({ nodes: 6, partitions: 8, ...options });
  for (const { node } of cluster.nodes) await node.open();
  const homes = cluster.homes(key) as [TestNode, TestNode, TestNode];
  const others = cluster.nodes.filter((node) => !homes.includes(node)) as [TestNode, TestNode, TestNode];
  return { cluster, homes, others, after: doubled(cluster.ring) };
}

const partitionIn = (cluster: Cluster, ring: Ring) => partitionOfStorageKey(cluster.storageKey(key), ring.partitions);

/** The ring after `ring`, in which `entering` owns the partition of the key in the place of its first owner. */
function withOwner(cluster: Cluster, ring: Ring, entering: TestNode): Ring {
  const owners = ring.owners.slice();
  owners[partitionIn(cluster, ring) * ring.replicas] = cluster.nodes.indexOf(entering);
  return createRing({ ...ring, owners, version: { ...ring.version, sequence: ring.version.sequence + 1n } });
}

test('nodes that know the doubling and nodes that do not write and read with each other, and nobody has to ask again', async () => {
  const { cluster, homes, after } = await setup();
  const [first, second, third] = homes;
  cluster.goOver([second], after);
  let learned = 0;
  for (const { node } of cluster.nodes) {
    Object.assign(node, {
      async learnRing() {
        learned++;
      },
    });
  }
  const by = async (node: TestNode, value: string) => {
    const { receipt } = await stored(cluster.run(node, put(key, value, { w: 3 })));
    assert.deepEqual(receipt?.ring, node.ring.version);
    assert.equal(receipt?.acks.length, 3);
  };
  await by(first, 'by the old ring');
  await by(second, 'by the new ring');
  for (const node of [first, second, third]) {
    const read = await gotten(cluster.run(node, get(key, { r: 3 })));
    assert.deepEqual(valuesOf(read).toSorted(), ['by the new ring', 'by the old ring']);
  }
  assert.equal(learned, 0);
});

test('a write that was placed before a doubling is refused by its key where that moved afterwards, and goes to who owns it now', async () => {
  const { cluster, homes, others, after } = await setup();
  const [coordinator, second, third] = homes;
  const [entering] = others;
  await stored(cluster.run(coordinator, put(key, 'before', { w: 3 })));
  const moved = withOwner(cluster, after, entering);
  assert.notEqual(partitionIn(cluster, moved), partitionIn(cluster, cluster.ring), 'it has another number');
  coordinator.stalledDisk = [];
  // A key that is in no cache: the coordinator has placed it, and waits for its own disk.
  const cold = Array.from({ length: 1_000 }, (_, i) => `cold ${i}`).find(
    (name) => partitionOfStorageKey(cluster.storageKey(name), 16) === partitionIn(cluster, moved),
  ) as string;
  const writing = stored(cluster.run(coordinator, put(cold, 'v', { w: 3 })));
  await turn();
  cluster.goOver(cluster.nodes, after);
  cluster.goOver(cluster.nodes, moved);
  const stalled = coordinator.stalledDisk;
  coordinator.stalledDisk = undefined;
  for (const run of stalled) run();
  const { receipt } = await writing;
  assert.deepEqual(receipt?.ring, moved.version);
  assert.deepEqual(new Set(receipt?.acks.map(({ nodeId }) => nodeId)), new Set([entering.id, second.id, third.id]));
  assert.equal(await cluster.held(coordinator, cold), undefined, 'it wrote nothing by the ring before');
});

test('what hints have no room for is marked in both halves, and reaches its home after the doubling', async () => {
  const { cluster, homes, after } = await setup({ hintsPerNodeMax: 0 });
  const [coordinator, , away] = homes;
  for (const { node } of cluster.nodes) node.leftovers.clear(); // looked through since they have started
  cluster.setReachable(away, false);
  const { receipt } = await stored(cluster.run(coordinator, put(key, 'v', { w: 3 })));
  const id = receipt?.acks.find(({ hintedFor }) => hintedFor !== '')?.nodeId;
  const fallback = cluster.nodes.find((node) => node.id === id) as TestNode;
  const partition = partitionIn(cluster, cluster.ring);
  const marksOf = ({ node }: TestNode) =>
    node.hints.marks().map(({ home, partition: p, partitions }) => `${home} ${p}/${partitions}`);
  assert.deepEqual(marksOf(fallback), [`${away.id} ${partition}/8`]);
  const inHand = fallback.node.hints.markOf(away.id, partition, 8) as number;
  cluster.goOver(cluster.nodes, after);
  assert.deepEqual(marksOf(fallback), [`${away.id} ${2 * partition}/16`, `${away.id} ${2 * partition + 1}/16`]);
  assert.equal(fallback.node.hints.markOf(away.id, 2 * partition, 8), undefined, 'there are 16 of them');
  await fallback.node.hints.unmark(away.id, partition, inHand);
  assert.equal(marksOf(fallback).length, 2, 'who had the old number in hand unmarks nothing');

  const reopened = createHintBook(fallback.engine, createReadableMetrics(), 0);
  reopened.follow(16);
  await reopened.open();
  assert.deepEqual(
    reopened
      .marks()
      .map((mark) => mark.partition)
      .toSorted(),
    [2 * partition, 2 * partition + 1],
  );

  cluster.setReachable(away, true);
  await pass(cluster, 100);
  for (const { node } of cluster.nodes) await node.exchanges.compareAll();
  assert.ok((await cluster.held(away, key)) !== undefined);
  assert.deepEqual(marksOf(fallback), []);
  assert.equal(await cluster.held(fallback, key), undefined, 'it is no home of it');
});

test('marks that an earlier run has kept are taken in by the number of partitions that there is now', async () => {
  const { cluster, homes } = await setup();
  const { engine } = homes[0];
  const kept = ['a\0' + '3\0' + '8', 'b\0' + '5\0' + '16', 'c\0' + '7'].map(
    (name): Mutation => ({ space: 'meta', key: Buffer.from(`marked for exchange\0${name}`), value: new Uint8Array(0) }),
  );
  await engine.write(kept, true);
  const marksIn = async (book: ReturnType<typeof createHintBook>) =>
    book.marks().map(({ home, partition, partitions }) => `${home} ${partition}/${partitions}`);
  const first = createHintBook(engine, createReadableMetrics(), 10);
  await first.open();
  first.follow(16);
  const now = ['a 6/16', 'a 7/16', 'b 5/16', 'c 7/16'];
  assert.deepEqual(await marksIn(first), now, 'one that names no number is from before there could be another');
  await turn();
  const second = createHintBook(engine, createReadableMetrics(), 10);
  second.follow(16);
  await second.open();
  assert.deepEqual((await marksIn(second)).toSorted(), now, 'the disk has followed');
  for (const { home, partition, mark } of second.marks()) await second.unmark(home, partition, mark);
  const third = createHintBook(engine, createReadableMetrics(), 10);
  await third.open();
  third.follow(16);
  assert.deepEqual(await marksIn(third), []);
  assert.ok(cluster.nodes.length > 0);
});

test('what is left of partitions of others is handed back after a doubling, and nothing else is looked through', async () => {
  const { cluster, homes, others, after } = await setup();
  const [leaving, ...staying] = homes;
  const [entering] = others;
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 1_000);
  assert.deepEqual([...leaving.node.leftovers], [], 'all that was unknown after the start is settled');
  await stored(cluster.run(leaving, put(key, 'v', { w: 3 })));
  cluster.goOver(cluster.nodes, withOwner(cluster, cluster.ring, entering));
  const partition = partitionIn(cluster, cluster.ring);
  assert.deepEqual([...leaving.node.leftovers], [partition]);
  cluster.goOver(cluster.nodes, doubled(leaving.ring));
  assert.deepEqual([...leaving.node.leftovers], [2 * partition, 2 * partition + 1]);
  assert.equal(after.partitions, leaving.ring.partitions);
  await pass(cluster, 1_000);
  assert.deepEqual([...leaving.node.leftovers], []);
  assert.equal(await cluster.held(leaving, key), undefined);
  for (const node of [entering, ...staying]) assert.ok((await cluster.held(node, key)) !== undefined, node.id);
});

test('a listing goes on over a doubling: every key once, in order', async () => {
  const { cluster, after } = await setup();
  const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`);
  for (const name of keys) await stored(cluster.run(cluster.homes(name)[0] as TestNode, put(name, 'v', { w: 3 })));
  const listed: string[] = [];
  let pages = 0;
  const request = { namespace: '', prefix: Buffer.alloc(0), pageToken: Buffer.alloc(0), pageSize: 30 };
  for await (const { entries } of listKeys(cluster.node(0).node, request)) {
    listed.push(...entries.map((entry) => entry.key.toString()));
    if (++pages === 2) cluster.goOver(cluster.nodes, after);
    if (pages === 4) cluster.goOver(cluster.nodes, doubled(after));
  }
  assert.deepEqual(listed.toSorted(), keys.toSorted());
  const order = listed.map((name) => Buffer.from(cluster.storageKey(name)).toString('hex'));
  assert.deepEqual(order, order.toSorted());
});
