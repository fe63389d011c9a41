/** Exchanges at their edges: tombstones, records that cannot be read, and a peer that asks or answers nonsense. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExchangeResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { leafOf } from '../../services/core/merkle/digest-tree.ts';
import { answerExchange, type Exchanged, exchange, requestOf } from '../../services/storage-node/exchange.ts';
import { nothingHeld } from '../../services/storage-node/record-store.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored } from './requests.ts';
import { turns } from './time.ts';

const partitions = 4;

async function setup(): Promise<Cluster> {
  const cluster = createCluster({ hintsPerNodeMax: 0, partitions, cacheBytesMax: 0 });
  for (const { node } of cluster.nodes) await node.open();
  await turns();
  return cluster;
}

/** Of every partition, one way. */
async function exchangeWith(at: TestNode, other: TestNode): Promise<Exchanged> {
  const sum = { compared: true, keysListed: 0, pulled: 0, pushed: 0 };
  for (let partition = 0; partition < partitions; partition++) {
    const done = await exchange(at.node, other.id, partition, partitions, { admit: async () => {}, reached() {} });
    assert.ok(done.compared);
    for (const what of ['keysListed', 'pulled', 'pushed'] as const) sum[what] += done[what];
  }
  return sum;
}

async function dotsAt(cluster: Cluster, at: TestNode, key: string): Promise<unknown> {
  return (await cluster.held(at, key))?.siblings.map(({ dot }) => dot) ?? [];
}

test('one exchange brings a delete both ways, whoever begins it', async () => {
  for (const beginner of [0, 1]) {
    const cluster = await setup();
    const [knows, , missed] = cluster.nodes as [TestNode, TestNode, TestNode];
    await stored(cluster.run(knows, put('cart', 'v', { w: 3 })));
    cluster.setReachable(missed, false);
    const { context } = await gotten(cluster.run(knows, get('cart')));
    await removed(cluster.run(knows, remove('cart', context)));
    cluster.setReachable(missed, true);
    const [at, other] = beginner === 0 ? [knows, missed] : [missed, knows];
    await exchangeWith(at as TestNode, other as TestNode);
    assert.deepEqual(await dotsAt(cluster, missed, 'cart'), [], `begun by node ${at?.id}`);
    assert.deepEqual(await exchangeWith(other as TestNode, at as TestNode), {
      ...{ compared: true, keysListed: 0, pulled: 0, pushed: 0 },
    });
  }
});

test('a record that cannot be read keeps no other from being mended, and the exchange says that it failed', async () => {
  for (const corruptAt of ['asking', 'asked'] as const) {
    const cluster = await setup();
    const [first, second, away] = cluster.nodes as [TestNode, TestNode, TestNode];
    const keys = Array.from({ length: 30 }, (_, i) => `key ${i}`);
    await stored(cluster.run(first, put('bad', 'v', { w: 3 })));
    cluster.setReachable(away, false);
    for (const key of keys) await stored(cluster.run(first, put(key, 'v', { w: 2 })));
    await stored(cluster.run(first, put('bad', 'newer', { w: 2 })));
    cluster.setReachable(away, true);
    const bad = cluster.storageKey('bad');
    const at = corruptAt === 'asking' ? away : first;
    const [stored1] = await at.engine.getMany('records', [bad]);
    const flipped = Uint8Array.from(stored1 as Uint8Array);
    flipped[flipped.length - 6] = (flipped[flipped.length - 6] as number) ^ 1;
    await at.engine.write([{ space: 'records', key: bad, value: flipped }], true);
    let failed = 0;
    for (let partition = 0; partition < partitions; partition++) {
      await exchange(away.node, first.id, partition, partitions, { admit: async () => {}, reached() {} }).catch(() => {
        failed++;
      });
    }
    assert.equal(failed, 1, `the record is corrupt at the node ${corruptAt}`);
    for (const key of keys) assert.deepEqual(await dotsAt(cluster, away, key), await dotsAt(cluster, second, key));
  }
});

test('a question that would cost more than one look at the whole tree is refused', async () => {
  const cluster = await setup();
  const { node } = cluster.nodes[0] as TestNode;
  const none = requestOf({});
  for (const request of [
    { ...none, compare: { level: 0, nodes: Array.from({ length: 256 }, () => ({ index: 0, digest: 1n })) } },
    { ...none, compare: { level: 2, nodes: [1, 0].map((index) => ({ index, digest: 1n })) } },
    { ...none, list: { leaves: [3, 3] } },
    { ...none, list: { leaves: [4, 3] } },
    { ...none, fetch: { keys: [Buffer.from('short')] } },
    { ...none, fetch: { keys: [Buffer.alloc(5_000)] } },
  ]) {
    assert.equal((await failureOf(answerExchange(node, request))).reason, 'OPERATION_INVALID');
  }
});

test('what a peer lists that is no key of the leaf that was asked for is not stored', async () => {
  const cluster = await setup();
  const [at, other] = cluster.nodes as [TestNode, TestNode];
  await stored(cluster.run(other, put('cart', 'v', { w: 1 })));
  const key = cluster.storageKey('cart');
  const record = await other.node.store.read(key);
  const [elsewhere] = ['a', 'b', 'c', 'd', 'e', 'f']
    .map((name) => cluster.storageKey(name))
    .filter((name) => leafOf(name, 2) !== leafOf(key, 2)) as [Uint8Array];
  const unhashed = Uint8Array.from(key);
  unhashed[unhashed.length - 1] = 0x7a;
  const { replica } = other.node;
  const real = replica.exchange;
  await forget(cluster, at, 'cart');
  for (const listed of [[elsewhere], [unhashed], [key, key], [key.subarray(0, 9)]]) {
    Object.assign(replica, {
      async exchange(request: Parameters<typeof real>[0]): Promise<ExchangeResponse> {
        const answer = await real(request);
        if (request.list !== undefined && answer.entries.length > 0)
          return { ...answer, entries: listed.map((name) => ({ key: Buffer.from(name), digest: 5n })) };
        return request.fetch === undefined
          ? answer
          : { ...answer, records: request.fetch.keys.map(() => Buffer.from(record as Uint8Array)) };
      },
    });
    const partition = leafOf(key, Math.log2(partitions));
    await failureOf(exchange(at.node, other.id, partition, partitions, { admit: async () => {}, reached() {} }));
    for (const name of listed) assert.equal(await at.node.store.read(name), undefined);
  }
  Object.assign(replica, { exchange: real });
  await exchangeWith(at, other);
  assert.deepEqual(await dotsAt(cluster, at, 'cart'), await dotsAt(cluster, other, 'cart'));
});

async function forget(cluster: Cluster, { node }: TestNode, key: string): Promise<void> {
  const { committed } = await node.store.change(cluster.storageKey(key), () => ({ copy: nothingHeld }), true);
  await committed;
}
