/** Where the last writer wins: what the replicas keep and readers see, and the ledger of what lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtInNamespace, type Namespace } from '../../services/core/namespaces/namespace.ts';
import { listLosers } from '../../services/storage-node/losers.ts';
import { nothingHeld, overlayBytesMax } from '../../services/storage-node/record-store.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

const nothing = Buffer.alloc(0);
const start = 1_700_000_000_000;

function setup(changes: Partial<Namespace> = {}, losersBytesMax?: number) {
  let wall = start;
  const cluster = createCluster({ nodes: 3, wallNow: () => wall, ...(losersBytesMax && { losersBytesMax }) });
  const latest = { ...builtInNamespace, version: 1, resolution: 'LAST_WRITER_WINS' as const, losersKeptMs: 60_000 };
  cluster.namespaces.set('default', { ...latest, ...changes });
  const homes = cluster.homes('user') as [TestNode, TestNode, TestNode];
  return {
    cluster,
    homes,
    wallAt: (ms: number) => {
      wall = start + ms;
    },
    /** Two puts at two coordinators that cannot hear each other; afterwards both records meet everywhere. */
    async concurrently(first: () => Promise<unknown>, second: () => Promise<unknown>) {
      const [a, b, c] = homes;
      for (const other of [b, c]) other.answers = 'no';
      await first();
      a.answers = 'no';
      for (const other of [b, c]) other.answers = 'yes';
      await second();
      a.answers = 'yes';
      await gotten(cluster.run(a, get('user', { r: 3 })));
      await turns();
    },
  };
}

async function losersAt({ node }: TestNode, key = '') {
  const { losers } = await listLosers(node, { namespace: '', key: Buffer.from(key), pageToken: nothing });
  return losers.map(({ value }) => Buffer.from(value).toString());
}

test('a put without a context replaces what is there, a delete needs none either', async () => {
  const { cluster, homes } = setup();
  await stored(cluster.run(homes[0], put('user', 'one')));
  const { siblings } = await stored(cluster.run(homes[0], put('user', 'two')));
  assert.equal(siblings, 1);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[1], get('user')))), ['two']);
  await removed(cluster.run(homes[0], remove('user', nothing)));
  assert.deepEqual((await gotten(cluster.run(homes[1], get('user')))).siblings, []);
  assert.deepEqual(await losersAt(homes[0]), [], 'what was replaced in order has not lost');
});

test('of two concurrent puts all replicas show the later, and keep the other in their ledgers', async () => {
  const { cluster, homes, wallAt, concurrently } = setup();
  const [a, b] = homes;
  await concurrently(
    async () => {
      wallAt(2_000);
      await stored(cluster.run(a, put('user', 'later', { w: 1 })));
    },
    async () => {
      wallAt(1_000);
      await stored(cluster.run(b, put('user', 'earlier', { w: 1 })));
    },
  );
  for (const home of homes) {
    assert.deepEqual(valuesOf(await gotten(cluster.run(home, get('user')))), ['later']);
    assert.deepEqual(await losersAt(home, 'user'), ['earlier']);
    assert.deepEqual(await losersAt(home, 'another'), []);
  }
  await stored(cluster.run(b, put('user', 'next', { w: 3 })));
  for (const home of homes) {
    assert.equal((await cluster.held(home, 'user'))?.siblings.length, 1);
    assert.deepEqual(await losersAt(home), ['earlier'], 'it is listed still');
  }
});

test('P7: who goes on from a put never comes back to what it replaced, wherever that is still and whatever clocks say', async () => {
  const { cluster, homes, wallAt } = setup();
  const [a, b, c] = homes;
  wallAt(5_000);
  await stored(cluster.run(a, put('user', 'one', { w: 3 })));
  b.answers = 'no';
  const { context } = await stored(cluster.run(a, put('user', 'two')));
  const { committed } = await c.node.store.change(cluster.storageKey('user'), () => ({ copy: nothingHeld }), true);
  await committed;
  a.answers = 'no';
  b.answers = 'yes';
  wallAt(0);
  const { context: sessionContext } = await stored(cluster.run(c, put('user', 'three', { w: 1, context })));
  await turns();
  assert.deepEqual(valuesOf(await gotten(cluster.run(c, get('user', { sessionContext })))), ['three']);
});

test('what has been kept long enough is removed, and not before', async () => {
  const { cluster, homes, wallAt, concurrently } = setup();
  const [a, b] = homes;
  await concurrently(
    () => stored(cluster.run(a, put('user', 'x', { w: 1 }))),
    () => stored(cluster.run(b, put('user', 'y', { w: 1 }))),
  );
  assert.equal((await losersAt(b)).length, 1);
  wallAt(59_000);
  cluster.clock.advance(10_000);
  await turns();
  assert.equal((await losersAt(b)).length, 1);
  wallAt(61_000);
  cluster.clock.advance(10_000);
  await turns();
  assert.equal((await losersAt(b)).length, 0);
});

test('a ledger that is full keeps no more and refuses no write; a namespace can have none', async () => {
  for (const { cluster, homes, concurrently } of [setup({}, 60), setup({ losersKeptMs: 0 })]) {
    const [a, b] = homes;
    await concurrently(
      () => stored(cluster.run(a, put('user', 'x'.repeat(100), { w: 1 }))),
      () => stored(cluster.run(b, put('user', 'y'.repeat(100), { w: 1 }))),
    );
    assert.equal((await gotten(cluster.run(a, get('user')))).siblings.length, 1);
    assert.deepEqual(await losersAt(a), []);
  }
});

test('what a refused change would have made lose is not counted as kept', async () => {
  const { cluster, homes } = setup();
  const [a, b] = homes;
  const key = cluster.storageKey('user');
  b.answers = 'no';
  await stored(cluster.run(a, put('user', 'one', { w: 1 })));
  b.answers = 'yes';
  a.answers = 'no';
  await stored(cluster.run(b, put('user', 'two', { w: 1 })));
  const record = (await b.node.store.read(key)) as Uint8Array;
  const merge = () => {
    const { era } = a.node.barriers;
    return a.node.replica.write({ key, record, era, sync: true, hintedFor: '', deadline: cluster.clock.now() + 1_000 });
  };
  // Its overlay is full, and the disk slow.
  const waiting: (() => void)[] = [];
  a.stalledDisk = waiting;
  const bytes = Buffer.alloc(overlayBytesMax / 4);
  const large = [1, 2, 3, 4].map((i) =>
    a.node.store.change(Buffer.from(`large ${i}`), (held) => ({ copy: { ...held, bytes } }), true),
  );
  await turns();
  for (const run of waiting.splice(0)) run();
  await Promise.all(large);
  assert.equal((await failureOf(merge())).reason, 'OVERLOADED');
  assert.equal(a.metrics.valueOf('cartwheel_losers_bytes'), 0);
  a.stalledDisk = undefined;
  for (const run of waiting.splice(0)) run();
  await turns();
  await merge();
  const { entries } = await a.engine.scan('losers', nothing, undefined, 10);
  assert.equal(entries.length, 1);
  const kept = entries.reduce((sum, [at, value]) => sum + at.length + value.length, 0);
  assert.equal(a.metrics.valueOf('cartwheel_losers_bytes'), kept);
});

test('a page token of something else is refused', async () => {
  const { homes } = setup();
  for (const token of ['', '\0', 'other\0', `default\0${'x'.repeat(5)}`].slice(1)) {
    const listed = listLosers(homes[0].node, { namespace: '', key: nothing, pageToken: Buffer.from(token) });
    assert.equal((await failureOf(listed)).reason, 'PAGE_TOKEN_INVALID');
  }
});
