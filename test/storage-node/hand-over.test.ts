/** Records beyond the hints of a node (marks): given to the home they are kept for, and kept where they belong by now. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { put, stored } from './requests.ts';

/** A fallback keeps `cart` for the third home, marked: its hints have no room. The third home is back. */
async function setup() {
  const cluster = createCluster({ nodes: 4, hintsPerNodeMax: 0 });
  const { ring, nodes } = cluster;
  for (const { node } of nodes) await node.open();
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const fallback = nodes.find((node) => !homes.includes(node)) as TestNode;
  const [, , third] = homes;
  cluster.setReachable(third, false);
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  cluster.setReachable(third, true);
  const partition = partitionOfStorageKey(cluster.storageKey('cart'), ring.partitions);
  const indexOf = (node: TestNode) => nodes.indexOf(node);
  let { sequence } = ring.version;
  const goOver = (change: Partial<Ring>) => {
    sequence += 1n;
    cluster.goOver(nodes, createRing({ ...ring, ...change, version: { term: 1n, sequence } }));
  };
  const row = ring.owners.slice();
  row[partition * ring.replicas + 1] = indexOf(fallback);
  return { ...{ cluster, homes, fallback, third, partition }, ...{ indexOf, goOver, row } };
}

test('what is kept for a home beyond the hints is given to it, and goes', async () => {
  const { cluster, fallback, third } = await setup();
  fallback.node.leftovers.clear();
  assert.equal(await cluster.held(third, 'cart'), undefined);
  await fallback.node.exchanges.compareAll();
  assert.equal((await cluster.held(third, 'cart'))?.siblings.length, 1);
  assert.equal(await cluster.held(fallback, 'cart'), undefined);
  assert.deepEqual(fallback.node.hints.marks(), []);
});

test('P10: a node that is taking the partition over gives up nothing of it, whomever it kept it for', async () => {
  const { cluster, fallback, partition, indexOf, goOver, row } = await setup();
  fallback.node.leftovers.clear();
  goOver({ pending: new Map([[partition, [indexOf(fallback)]]]) });
  await fallback.node.exchanges.compareAll();
  assert.equal((await cluster.held(fallback, 'cart'))?.siblings.length, 1);
  goOver({ owners: row });
  await fallback.node.exchanges.compareAll();
  assert.equal((await cluster.held(fallback, 'cart'))?.siblings.length, 1);
});

test('P10: nor one that comes to take it over while it hands it over', async () => {
  const { cluster, fallback, third, partition, indexOf, goOver } = await setup();
  fallback.node.leftovers.clear();
  const handedOver = fallback.node.exchanges.compareAll();
  while (!third.calls.includes('write')) await new Promise(setImmediate);
  goOver({ pending: new Map([[partition, [indexOf(fallback)]]]) });
  await handedOver;
  assert.equal((await cluster.held(third, 'cart'))?.siblings.length, 1);
  assert.equal((await cluster.held(fallback, 'cart'))?.siblings.length, 1);
});

test('what is left of a partition that was this node’s is handed back to all that own it, not to the marked one alone', async () => {
  const { cluster, fallback, third, partition } = await setup();
  fallback.node.leftovers.add(partition);
  await fallback.node.exchanges.compareAll();
  assert.equal((await cluster.held(third, 'cart'))?.siblings.length, 1);
  assert.equal((await cluster.held(fallback, 'cart'))?.siblings.length, 1);
});

test('a disk that fails while a mark is removed, of a home that is none any more, ends no round', async () => {
  const { cluster, fallback, third, partition, indexOf, goOver } = await setup();
  const { ring } = cluster;
  const owners = ring.owners.slice();
  owners[owners.indexOf(indexOf(third), partition * ring.replicas)] = indexOf(fallback);
  goOver({ owners });
  fallback.disk.failWrites(new Error('EIO'));
  await assert.doesNotReject(fallback.node.exchanges.compareAll());
});
