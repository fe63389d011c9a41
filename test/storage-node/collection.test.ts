/** What is let go, and when not, on the data path alone. The simulation attacks the same with everything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EraMoved } from '../../services/core/quorum/peers.ts';
import { createRing, epochOf } from '../../services/core/ring/ring.ts';
import { createBarriers } from '../../services/storage-node/barriers.ts';
import { nothingHeld } from '../../services/storage-node/record-store.ts';
import { type ClusterOptions, createCluster, type TestNode } from './cluster.ts';
import { createReadableMetrics } from './metrics.ts';
import { get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

const requestId = Buffer.from('a request');
const deadline = 1e9;

async function setup(options: ClusterOptions = {}) {
  const cluster = createCluster({ nodes: 5, ...options });
  for (const { node } of cluster.nodes) await node.open();
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const others = cluster.nodes.filter((node) => !homes.includes(node));
  const key = cluster.storageKey('cart');
  const kept = async () => {
    const bytes = await Promise.all(cluster.nodes.map(({ node }) => node.store.read(key)));
    return bytes.filter((record) => record !== undefined).length;
  };
  return { cluster, homes, others, key, kept };
}

type Setup = Awaited<ReturnType<typeof setup>>;

async function deleteCart({ cluster, homes }: Setup): Promise<void> {
  const { context } = await gotten(cluster.run(homes[0], get('cart', { r: 3 })));
  await removed(cluster.run(homes[0], remove('cart', context, { w: 3 })));
}

/** So often as it takes to find it, and to let it go. */
async function collect({ node }: TestNode): Promise<number> {
  return (await node.collection.collectAll()) + (await node.collection.collectAll());
}

test('a tombstone is let go by all homes, and what comes after is as if there had never been anything', async () => {
  const at = await setup();
  const { cluster, homes, kept } = at;
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  await deleteCart(at);
  assert.equal(await kept(), 3);
  assert.equal(await homes[1].node.collection.collectAll(), 0, 'it is seen for the first time');
  assert.equal(await homes[1].node.collection.collectAll(), 1);
  assert.equal(await kept(), 0);
  assert.equal((await gotten(cluster.run(homes[0], get('cart', { r: 3 })))).context.length, 0);
  await stored(cluster.run(homes[2], put('cart', 'again', { w: 3 })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart', { r: 3 })))), ['again']);
});

test('a value that lives is not let go', async () => {
  const { cluster, homes, kept } = await setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  assert.equal(await collect(homes[0]), 0);
  assert.equal(await kept(), 3);
});

test('nothing is let go while any node is away, home or not', async () => {
  for (const who of [1, 4]) {
    const at = await setup();
    const { cluster, homes, others, kept } = at;
    await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
    await deleteCart(at);
    const away = [...homes, ...others][who] as TestNode;
    cluster.setReachable(away, false);
    assert.equal(await collect(homes[0]), 0);
    assert.match(homes[0].node.collection.status().waitsFor, new RegExp(`h${away.id.slice(1)}:1`));
    cluster.setReachable(away, true);
    away.answers = 'no';
    assert.equal(await collect(homes[0]), 0);
    assert.equal(await kept(), 3);
    away.answers = 'yes';
    assert.equal(await collect(homes[0]), 1);
  }
});

test('nothing is let go while a home lacks the tombstone; the look that finds that brings it', async () => {
  const at = await setup({ nodes: 3 }); // nobody stands in
  const { cluster, homes, kept } = at;
  const [first, second, third] = homes;
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const { context } = await gotten(cluster.run(first, get('cart', { r: 3 })));
  third.answers = 'no';
  await removed(cluster.run(first, remove('cart', context, { w: 2 })));
  await turns();
  third.answers = 'yes';
  await first.node.store.change(at.key, (held) => ({ copy: { ...held, owed: [] } }), true); // no hint remembers it
  assert.equal(await collect(second), 0);
  assert.match(second.node.collection.status().waitsFor, new RegExp(`^h${third.id.slice(1)}:1 to cover the same`));
  assert.deepEqual((await cluster.held(third, 'cart'))?.siblings, []);
  assert.equal(await kept(), 3);
  assert.equal(await second.node.collection.collectAll(), 1);
  assert.equal(await kept(), 0);
});

test('P4: nothing is let go while a fallback keeps something of the partition', async () => {
  const at = await setup();
  const { cluster, homes, others, key, kept } = at;
  const [first] = homes;
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const record = (await first.node.store.read(key)) as Uint8Array;
  const [fallback] = others as [TestNode];
  await fallback.node.replica.write({ key, record, era: 0, sync: true, hintedFor: homes[2].id, deadline });
  await deleteCart(at);
  assert.equal(await collect(first), 0);
  assert.equal(await kept(), 4);
});

test('what waits to be let go is told: how many records, for how long, and who holds it', async () => {
  const at = await setup();
  const { cluster, homes, others, key } = at;
  const [first] = homes;
  const { collection } = first.node;
  assert.deepEqual(collection.status(), { waiting: 0, oldestMs: undefined, lookedMs: undefined, waitsFor: '' });
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const record = (await first.node.store.read(key)) as Uint8Array;
  await deleteCart(at);
  await collection.collectAll();
  cluster.clock.advance(5_000);
  assert.deepEqual(collection.status(), { waiting: 1, oldestMs: 5_000, lookedMs: 5_000, waitsFor: '' });
  const [fallback] = others as [TestNode];
  await fallback.node.replica.write({ key, record, era: 0, sync: true, hintedFor: homes[2].id, deadline });
  assert.equal(await collection.collectAll(), 0);
  const { waiting, oldestMs, waitsFor } = collection.status();
  assert.deepEqual([waiting, oldestMs], [1, 5_000]);
  assert.match(waitsFor, new RegExp(`^h${fallback.id.slice(1)}:1 to go over a barrier`));
  assert.equal(first.metrics.valueOf('cartwheel_collection_held'), 1);
  await fallback.node.store.change(key, () => ({ copy: nothingHeld }), true);
  assert.equal(await collection.collectAll(), 1);
  assert.deepEqual(collection.status(), { waiting: 0, oldestMs: undefined, lookedMs: 0, waitsFor: '' });
  assert.equal(first.metrics.valueOf('cartwheel_collection_held'), 0);
});

test('P4: what comes to a fallback between the two questions stops the barrier', async () => {
  const at = await setup();
  const { cluster, homes, others, key } = at;
  const [first] = homes;
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const record = (await first.node.store.read(key)) as Uint8Array;
  const [fallback] = others as [TestNode];
  const { barriers } = fallback.node;
  const partitions = Array.from({ length: cluster.ring.partitions }, (_, i) => i);
  const epoch = 2 ** 32 + 4;
  const armed = await barriers.arm(7n, epoch, partitions);
  assert.deepEqual(armed.partitions.toSorted(), partitions.toSorted());
  await fallback.node.replica.write({ key, record, era: 0, sync: true, hintedFor: homes[2].id, deadline });
  const crossed = await barriers.cross(7n, 65_536);
  assert.equal(crossed.partitions.length, partitions.length - 1);
  assert.deepEqual((await barriers.cross(7n, 131_072)).partitions, [], 'the watch has ended');
  assert.deepEqual((await barriers.arm(8n, epoch + 1, partitions)).partitions, [], 'another ring');
});

test('P4: a replica message that was under way during all of it is refused', async () => {
  const at = await setup();
  const { cluster, homes, key } = at;
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  const record = (await homes[0].node.store.read(key)) as Uint8Array;
  await deleteCart(at);
  assert.equal(await collect(homes[0]), 1);
  const late = { key, record, era: 0, sync: true, hintedFor: '', deadline };
  for (const { node } of cluster.nodes) await assert.rejects(node.replica.write(late), EraMoved);
  await assert.rejects(homes[0].node.peers.replica(homes[1].id).write(late), EraMoved);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart', { r: 3 })))), []);
});

test('a coordinator that has missed an era goes over to it, and its client notices nothing', async () => {
  const { cluster, homes } = await setup();
  const [first, second, third] = homes;
  await second.node.barriers.follow(65_536);
  await third.node.barriers.follow(65_537);
  const { receipt } = await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  assert.equal(receipt?.acks.length, 3);
  assert.equal(first.node.barriers.era, 65_537);
  const read = await gotten(cluster.run(second, get('cart', { r: 3 })));
  assert.deepEqual(
    read.siblings.map(({ dot }) => dot),
    [receipt?.dot],
  );
});

test('P5: a second attempt of a write whose value was deleted and let go brings nothing back', async () => {
  const at = await setup();
  const { cluster, homes } = at;
  const [first, second] = homes;
  const { receipt } = await stored(cluster.run(first, put('cart', 'v', { requestId, w: 3 })));
  await deleteCart(at);
  assert.equal(await collect(first), 1);
  const again = await stored(cluster.run(second, put('cart', 'v', { requestId, attempt: 1, w: 3 })));
  assert.equal(again.receipt?.dot, receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 3 })))), []);
});

test('P11: what has expired is let go only where all homes say that it has', async () => {
  let wallNow = 1_000;
  const { cluster, homes, kept } = await setup({ wallNow: () => wallNow });
  const ttl = { seconds: 10n, nanos: 0 };
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3, ttl })));
  assert.equal(await collect(homes[0]), 0);
  wallNow += 10_000;
  assert.equal(await collect(homes[0]), 1);
  assert.equal(await kept(), 3, 'it has left a tombstone');
  assert.deepEqual((await cluster.held(homes[1], 'cart'))?.siblings, []);
  assert.equal(await collect(homes[0]), 1);
  assert.equal(await kept(), 0);
});

test('P14: the clock of a key that ever new births have written becomes short', async () => {
  const { cluster, homes } = await setup();
  let context: Buffer = Buffer.alloc(0);
  for (let i = 0; i < 12; i++) {
    const home = homes[i % 3] as TestNode;
    await home.engine.renewLineage();
    ({ context } = await stored(cluster.run(home, put('cart', `v${i}`, { context, w: 3 }))));
  }
  const entries = async () => (await cluster.held(homes[0], 'cart'))?.clock.length ?? 0;
  assert.ok((await entries()) > 9);
  await collect(homes[0]);
  await collect(homes[0]);
  assert.ok((await entries()) <= 6, `${await entries()} entries`);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[1], get('cart', { r: 3 })))), ['v11']);
});

test('nothing is let go while the ring changes', async () => {
  const at = await setup();
  const { cluster, homes, others, kept } = at;
  await stored(cluster.run(homes[0], put('cart', 'v', { w: 3 })));
  await deleteCart(at);
  const index = (others[0] as TestNode).id.slice(1);
  const partition = Number(homes[0].id.slice(1));
  const pending = new Map([[partition, [Number(index)]]]);
  cluster.goOver(cluster.nodes, createRing({ ...cluster.ring, version: { term: 1n, sequence: 5n }, pending }));
  assert.equal(await collect(homes[0]), 0);
  assert.match(homes[0].node.collection.status().waitsFor, /the ring to stop changing/);
  assert.equal(await kept(), 3);
});

test('a node that is JOINING, with nothing on its way to it, is asked like any other', async () => {
  const at = await setup({ partitions: 1 });
  const { cluster, homes, others, key, kept } = at;
  const [first] = homes;
  const joining = others[1] as TestNode;
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const record = (await first.node.store.read(key)) as Uint8Array;
  await joining.node.replica.write({ key, record, era: 0, sync: true, hintedFor: homes[2].id, deadline });
  await deleteCart(at);
  const status = (id: string) => (id === joining.id ? ('JOINING' as const) : ('UP' as const));
  const nodes = cluster.ring.nodes.map((node) => ({ ...node, status: status(node.id) }));
  cluster.goOver(cluster.nodes, createRing({ ...cluster.ring, version: { term: 1n, sequence: 5n }, nodes }));
  assert.equal(await collect(first), 0);
  assert.equal(await kept(), 4, 'it keeps something of the partition');
  await joining.node.store.change(key, () => ({ copy: nothingHeld }), true);
  cluster.setReachable(joining, false);
  assert.equal(await collect(first), 0, 'it is away');
  cluster.setReachable(joining, true);
  assert.equal(await collect(first), 1);
  assert.equal(await kept(), 0);
});

test('the era is on the disk before a node says that it has gone over to it', async () => {
  const { cluster } = await setup();
  const { node, engine } = cluster.node(0);
  await node.barriers.follow(65_536);
  const again = createBarriers({
    ...{ id: node.id, engine, metrics: createReadableMetrics() },
    ring: () => undefined,
    store: () => node.store,
  });
  await again.open();
  assert.equal(again.era, 65_536);
  await again.follow(1);
  assert.equal(again.era, 65_536);
});

/** The only partition goes from n2, which has left and cannot be reached, to n3; then `cart` is deleted, and let go. */
async function leftWithTheDisk() {
  const at = await setup({ partitions: 1 });
  const { cluster } = at;
  const [n0, , n2] = at.homes;
  await stored(cluster.run(n0, put('cart', 'v', { w: 3 })));
  cluster.setReachable(n2, false);
  n2.answers = 'no';
  const ring = createRing({
    ...cluster.ring,
    version: { term: 1n, sequence: cluster.ring.version.sequence + 1n },
    owners: Uint16Array.of(0, 1, 3),
    nodes: cluster.ring.nodes.map((node) => (node.id === n2.id ? { ...node, status: 'LEFT' as const } : node)),
  });
  const staying = cluster.nodes.filter((node) => node !== n2);
  cluster.goOver(staying, ring);
  await gotten(cluster.run(n0, get('cart', { r: 3 })));
  await turns();
  const back = () => {
    n2.answers = 'yes';
    cluster.setReachable(n2, true);
  };
  return { ...at, n0, n2, ring, back };
}

test('P4: a node that had left by then hands nothing back of what was let go, whatever ring it knows', async () => {
  const { cluster, n0, n2, ring, back, ...at } = await leftWithTheDisk();
  const { context } = await gotten(cluster.run(n0, get('cart', { r: 3 })));
  await removed(cluster.run(n0, remove('cart', context, { w: 3 })));
  assert.equal(await collect(n0), 1);
  assert.equal(await at.kept(), 1, 'it has the value on its disk');
  back();
  for (let i = 0; i < 3; i++) await n2.node.exchanges.compareAll();
  cluster.goOver([n2], ring);
  n2.node.leftovers.add(0);
  n2.node.transfers.start();
  for (let i = 0; i < 100; i++) {
    cluster.clock.advance(50);
    await turns();
  }
  assert.deepEqual(valuesOf(await gotten(cluster.run(n0, get('cart', { r: 3 })))), []);
  assert.equal(await at.kept(), 1);
  assert.equal(n2.node.barriers.isLeftBehind, true);
  assert.equal(n2.node.leftovers.size, 0, 'it waits for nobody to take it');
});

test('P4: nor does a node take it that has joined since, and was in no barrier', async () => {
  const { cluster, homes, key } = await setup({ partitions: 1 });
  const [n0, n1, n2, n3, n4] = cluster.nodes as [TestNode, TestNode, TestNode, TestNode, TestNode];
  assert.deepEqual(homes, [n0, n1, n2]);
  await stored(cluster.run(n0, put('cart', 'v', { w: 3 })));
  cluster.setReachable(n2, false);
  n2.answers = 'no';
  const nodes = cluster.ring.nodes.map((node) => (node.id === n2.id ? { ...node, status: 'LEFT' as const } : node));
  const ringOf = (more: bigint, owners: readonly number[], pending: readonly number[], size = 5) =>
    createRing({
      ...cluster.ring,
      version: { term: 1n, sequence: cluster.ring.version.sequence + more },
      owners: Uint16Array.from(owners),
      pending: new Map(pending.map((node) => [0, [node]])),
      nodes: nodes.slice(0, size),
    });
  cluster.goOver([n0, n1, n3], ringOf(1n, [0, 1, 3], [], 4));
  const { context } = await gotten(cluster.run(n0, get('cart', { r: 3 })));
  await removed(cluster.run(n0, remove('cart', context, { w: 3 })));
  assert.equal(await collect(n0), 1);

  n4.node.transfers.start();
  const inRing = [n0, n1, n3, n4];
  cluster.goOver(inRing, ringOf(2n, [0, 1, 3], [4]));
  const pass = async () => {
    for (let i = 0; i < 100; i++) {
      cluster.clock.advance(50);
      await turns();
    }
  };
  await pass();
  assert.deepEqual(n4.node.transfers.pulled(), [0]);
  cluster.goOver(inRing, ringOf(3n, [4, 1, 3], [0]));
  const settled = ringOf(4n, [4, 1, 3], []);
  cluster.goOver(inRing, settled);
  n2.answers = 'yes';
  cluster.setReachable(n2, true);
  cluster.goOver([n2], settled);
  n2.node.transfers.start();
  await pass();
  assert.equal(n2.node.barriers.isLeftBehind, true);
  assert.equal(await n4.node.store.read(key), undefined);
  assert.deepEqual(valuesOf(await gotten(cluster.run(n4, get('cart', { r: 3 })))), []);
});

test('a node that has left hands back what it has while nothing was let go', async () => {
  const { cluster, homes, n2, ring, back } = await leftWithTheDisk();
  n2.answers = 'yes';
  await stored(cluster.run(n2, put('late', 'v', { w: 1 }), { forwarded: true }));
  back();
  cluster.goOver([n2], ring);
  n2.node.leftovers.add(0);
  n2.node.transfers.start();
  for (let i = 0; i < 100; i++) {
    cluster.clock.advance(50);
    await turns();
  }
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('late', { r: 3 })))), ['v']);
  assert.equal(await cluster.held(n2, 'late'), undefined);
});

test('P4: a home that has lost some of its disk since it agreed stops the barrier', async () => {
  const { cluster, homes } = await setup();
  const engine = Object.create(homes[0].engine, { isIncomplete: { value: true } });
  const { store } = homes[0].node;
  const barriers = createBarriers({
    ...{ id: homes[0].id, engine, metrics: createReadableMetrics(), ring: () => cluster.ring, store: () => store },
  });
  const epoch = epochOf(cluster.ring.version);
  assert.deepEqual((await barriers.arm(1n, epoch, [0, 1])).partitions, []);
  const whole = homes[0].node.barriers;
  assert.notDeepEqual((await whole.arm(1n, epoch, [0, 1])).partitions, []);
});
