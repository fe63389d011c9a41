/** P12: records whose bytes have changed on the disk are never served, and are made whole from the other replicas. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import { createRing } from '../../services/core/ring/ring.ts';
import { openRocks, withTemporaryDirectory } from '../contract/storage-engine-fixtures.ts';
import { seededRandom } from '../sim/random.ts';
import { type Cluster, type ClusterOptions, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { pass } from './time.ts';

async function setup(options: ClusterOptions = {}) {
  const cluster = createCluster({ nodes: 6, cacheBytesMax: 0, ...options });
  for (const { node } of cluster.nodes) {
    await node.open();
    node.transfers.start();
  }
  await pass(cluster, 1_000);
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  return { cluster, homes, others: cluster.nodes.filter((node) => !homes.includes(node)) };
}

async function bytesAt({ engine }: TestNode, key: Uint8Array): Promise<Uint8Array | undefined> {
  return (await engine.getMany('records', [key]))[0];
}

/** A bit of its record turns, `fromEnd` bytes from the end. */
async function damage(cluster: Cluster, at: TestNode, key = 'cart', fromEnd = 6): Promise<void> {
  const storageKey = cluster.storageKey(key);
  await at.node.store.flush();
  const bytes = await bytesAt(at, storageKey);
  assert.ok(bytes !== undefined, `node ${at.id} has nothing of ${key}`);
  const place = bytes.length - 1 - (fromEnd % bytes.length);
  bytes[place] = (bytes[place] as number) ^ 8;
  await at.engine.write([{ space: 'records', key: storageKey, value: bytes }], true);
}

/** Whole, on the disk. */
async function recordAt(cluster: Cluster, at: TestNode, key = 'cart') {
  const bytes = await bytesAt(at, cluster.storageKey(key));
  return bytes && at.node.records.decode(at.node.records.decodeStored(bytes).bytes);
}

const dotsAt = async (cluster: Cluster, at: TestNode) =>
  (await recordAt(cluster, at))?.siblings.map(({ dot }) => dot) ?? [];

test('while it is damaged others answer, and it is whole again when every other home has said what it has', async () => {
  const { cluster, homes } = await setup();
  const [a, b, c] = homes;
  await stored(cluster.run(a, put('cart', 'v', { w: 3 })));
  await damage(cluster, a);
  c.answers = 'no';
  assert.equal((await failureOf(cluster.run(a, put('cart', 'w')))).outcome, 'NOT_APPLIED');
  await pass(cluster, 20_000);
  await assert.rejects(recordAt(cluster, a), 'one of the others is not enough');
  assert.deepEqual(valuesOf(await gotten(cluster.run(b, get('cart', { r: 1 })))), ['v']);

  c.answers = 'yes';
  await pass(cluster, 20_000);
  assert.deepEqual(await recordAt(cluster, a), await recordAt(cluster, b));
  assert.equal(a.metrics.valueOf('cartwheel_corrupt_records_repaired_total'), 1);
  assert.equal(a.metrics.valueOf('cartwheel_corrupt_records'), 0);
  assert.deepEqual([...a.node.digests.tree.leaves()], [...b.node.digests.tree.leaves()]);
});

test('a home that is DOWN is not waited for, or whoever takes its place could not pull what is damaged', async () => {
  const { cluster, homes } = await setup();
  const [a, b, c] = homes;
  await stored(cluster.run(a, put('cart', 'v', { w: 3 })));
  await damage(cluster, a);
  c.answers = 'no';
  cluster.setReachable(c, false);
  await failureOf(cluster.run(a, put('cart', 'w')));
  await pass(cluster, 20_000);
  await assert.rejects(recordAt(cluster, a), 'nobody has said that it is lost');

  const nodes = cluster.ring.nodes.map((node) => (node.id === c.id ? { ...node, status: 'DOWN' as const } : node));
  const sequence = cluster.ring.version.sequence + 1n;
  cluster.goOver(cluster.nodes, createRing({ ...cluster.ring, version: { term: 1n, sequence }, nodes }));
  await pass(cluster, 20_000);
  assert.deepEqual(await recordAt(cluster, a), await recordAt(cluster, b));
});

test('a write after the repair is minted under a new birth', async () => {
  const { cluster, homes } = await setup();
  const [a] = homes;
  await stored(cluster.run(a, put('cart', 'v', { w: 3 })));
  const { receipt: before } = await stored(cluster.run(a, put('cart', 'w', { w: 3 })));
  assert.match(before?.dot ?? '', /:2$/);
  await damage(cluster, a);
  await failureOf(cluster.run(a, put('cart', 'x')));
  await pass(cluster, 1_000);
  const { receipt } = await stored(cluster.run(a, put('cart', 'x', { w: 3 })));
  assert.match(receipt?.dot ?? '', /:1$/);
});

test('what another home knows to be gone does not come back from one that has missed it', async () => {
  const { cluster, homes } = await setup({ nodes: 3 });
  const [a, b, c] = homes;
  await stored(cluster.run(a, put('cart', 'v', { w: 3 })));
  const { context } = await gotten(cluster.run(a, get('cart')));
  b.answers = 'no';
  await removed(cluster.run(a, remove('cart', context)));
  b.answers = 'yes';
  assert.equal((await dotsAt(cluster, b)).length, 1);
  await damage(cluster, a);
  await failureOf(cluster.run(a, put('cart', 'x')));
  await pass(cluster, 20_000);
  assert.deepEqual([await dotsAt(cluster, a), await dotsAt(cluster, c)], [[], []]);
});

test('a fallback owes what it keeps, damaged or not, and delivers the rest meanwhile', async () => {
  const { cluster, homes, others } = await setup();
  const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`).filter((key) => cluster.homes(key)[0] === homes[0]);
  for (const home of homes) cluster.setReachable(home, false);
  const [first] = others as [TestNode];
  for (const key of ['cart', ...keys]) await stored(cluster.run(first, put(key, 'v', { w: 3 })));
  await pass(cluster, 1_000);
  await damage(cluster, first);
  homes[2].answers = 'no';
  for (const home of homes) cluster.setReachable(home, true);
  await pass(cluster, 5_000);
  for (const key of keys) assert.equal(await recordAt(cluster, first, key), undefined, `${key} has been delivered`);
  await assert.rejects(recordAt(cluster, first));
  assert.equal(first.node.hints.nodes().length, 1);

  homes[2].answers = 'yes';
  await pass(cluster, 30_000);
  for (const home of homes) assert.equal((await dotsAt(cluster, home)).length, 1, home.id);
  for (const other of others) {
    assert.equal(await recordAt(cluster, other), undefined, `${other.id} keeps nothing`);
    assert.deepEqual(other.node.hints.nodes(), []);
  }
});

test('what it alone had is lost, counted, and not said to be there to a second attempt', async () => {
  const { cluster, homes } = await setup({ nodes: 3 });
  const [a, b, c] = homes;
  for (const other of [b, c]) other.answers = 'no';
  const requestId = Buffer.from('once');
  assert.equal((await failureOf(cluster.run(a, put('cart', 'v', { w: 2, requestId })))).outcome, 'UNKNOWN');
  await pass(cluster, 1_000);
  await damage(cluster, a);
  for (const other of [b, c]) other.answers = 'yes';
  await failureOf(cluster.run(a, put('cart', 'x', { w: 1 })));
  await pass(cluster, 20_000);
  assert.equal(a.metrics.valueOf('cartwheel_corrupt_records_lost_total'), 1);
  await stored(cluster.run(b, put('cart', 'v', { w: 3, requestId, attempt: 1 })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(c, get('cart', { r: 3 })))), ['v']);
});

test('where the last writer wins what lost is in the ledger of a copy that was repaired', async () => {
  const { cluster, homes } = await setup({ nodes: 3, wallNow: () => 1_700_000_000_000 });
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, resolution: 'LAST_WRITER_WINS' });
  const [a, b, c] = homes;
  for (const other of [b, c]) other.answers = 'no';
  await stored(cluster.run(a, put('cart', 'one', { w: 1 })));
  a.answers = 'no';
  for (const other of [b, c]) other.answers = 'yes';
  await stored(cluster.run(b, put('cart', 'another', { w: 2 })));
  a.answers = 'yes';
  await gotten(cluster.run(b, get('cart', { r: 3 })));
  await pass(cluster, 1_000);
  await damage(cluster, c);
  await failureOf(cluster.run(c, put('cart', 'x')));
  await pass(cluster, 20_000);
  assert.deepEqual(await recordAt(cluster, c), await recordAt(cluster, b));
  assert.ok((await c.engine.scan('losers', new Uint8Array(0), undefined, 10)).entries.length > 0);
});

test('on RocksDB: 50 bits turned in records of one node, no wrong value served, all of them repaired', async () => {
  await withTemporaryDirectory(async (directory) => {
    const engines = await Promise.all([0, 1, 2].map((i) => openRocks(join(directory, String(i)))));
    const { cluster } = await setup({ nodes: 3, engine: (index) => engines[index] as (typeof engines)[number] });
    const random = seededRandom(12, 'bits');
    const keys = Array.from({ length: 200 }, (_, i) => `key ${i}`);
    const at = cluster.node(0);
    for (const key of keys) await stored(cluster.run(at, put(key, `value of ${key}`, { w: 3 })));
    const damaged = random.shuffled(keys).slice(0, 50);
    for (const key of damaged) await damage(cluster, at, key, random.below(40));

    const read = async (key: string) => {
      for (let i = 0; i < 2; i++) {
        const answer = cluster.run(cluster.node(i), get(key, { r: 1 }));
        assert.deepEqual(valuesOf(await gotten(answer)), [`value of ${key}`]);
      }
    };
    for (const key of keys) await read(key);
    const verifying = at.node.verification.verifyAll();
    await until(cluster, () => at.metrics.valueOf('cartwheel_corrupt_records') === 0);
    await verifying;
    for (const key of keys) {
      assert.deepEqual(await recordAt(cluster, at, key), await recordAt(cluster, cluster.node(1), key), key);
      await read(key);
    }
    assert.equal(at.metrics.valueOf('cartwheel_corrupt_records_repaired_total'), damaged.length);
  });
});

/** Lets time pass until it is so. */
async function until(cluster: Cluster, isSo: () => boolean): Promise<void> {
  while (!isSo()) await pass(cluster, 50);
}
