/** Values that expire: hidden when read, everywhere, by the wall clock; never removed by that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import { visibleSiblings } from '../../services/core/versioning/record.ts';
import { listKeys } from '../../services/storage-node/list-keys.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, stored, valuesOf } from './requests.ts';

const ttl = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 });
const start = 1_700_000_000_000;

function setup() {
  let wall = start;
  const cluster = createCluster({ wallNow: () => wall });
  const homes = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  const after = (ms: number) => {
    wall = start + ms;
  };
  return { cluster, homes, after };
}

async function keysOf(node: TestNode): Promise<string[]> {
  const keys: string[] = [];
  const request = { namespace: '', prefix: Buffer.alloc(0), pageToken: Buffer.alloc(0), pageSize: 0 };
  for await (const { entries } of listKeys(node.node, request)) keys.push(...entries.map(({ key }) => key.toString()));
  return keys;
}

test('a value is read with what is left of its time, and not any more when that is over', async () => {
  const { cluster, homes, after } = setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { ttl: ttl(2_500), w: 3 })));
  after(1_000);
  const { siblings } = await gotten(cluster.run(homes[1], get('cart')));
  assert.deepEqual(siblings[0]?.ttlLeft, { seconds: 1n, nanos: 500_000_000 });
  assert.deepEqual(await keysOf(homes[2]), ['cart']);
  after(2_499);
  assert.equal((await gotten(cluster.run(homes[1], get('cart')))).siblings.length, 1);
  after(2_500);
  for (const home of homes) {
    const gone = await gotten(cluster.run(home, get('cart', { r: 3 })));
    assert.deepEqual([gone.siblings, gone.certificate?.divergent], [[], false]);
    assert.ok(gone.context.length > 0, 'the next put replaces it');
    assert.deepEqual(await keysOf(home), []);
    assert.equal((await cluster.held(home, 'cart'))?.siblings.length, 1, 'hidden, and not removed');
  }
});

test('all replicas keep the same expiry, fixed by the coordinator, whatever their own clocks say', async () => {
  const { cluster, homes } = setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { ttl: ttl(1_000), w: 3 })));
  for (const home of homes) {
    const record = await cluster.held(home, 'cart');
    assert.equal(record?.siblings[0]?.expiresAtMs, start + 1_000);
    assert.equal(record && visibleSiblings(record, start + 1_000).length, 0);
  }
});

test('a value that stays is seen when its sibling has expired, and the put counts it alone', async () => {
  const { cluster, homes, after } = setup();
  await stored(cluster.run(homes[0], put('cart', 'brief', { ttl: ttl(1_000), w: 3 })));
  await stored(cluster.run(homes[0], put('cart', 'stays', { w: 3 })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart')))), ['brief', 'stays']);
  after(1_000);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart')))), ['stays']);
  assert.equal((await stored(cluster.run(homes[0], put('cart', 'third', { w: 3 })))).siblings, 2);
});

test('a put with the context of a get that showed nothing replaces what has expired', async () => {
  const { cluster, homes, after } = setup();
  await stored(cluster.run(homes[0], put('cart', 'brief', { ttl: ttl(1_000), w: 3 })));
  after(5_000);
  const { context } = await gotten(cluster.run(homes[1], get('cart')));
  await stored(cluster.run(homes[0], put('cart', 'next', { context, w: 3 })));
  await nextTurn();
  const record = await cluster.held(homes[2], 'cart');
  assert.deepEqual(
    record?.siblings.map(({ value }) => Buffer.from(value).toString()),
    ['next'],
  );
});

test('the same put again, after it has expired, is the same write', async () => {
  const { cluster, homes, after } = setup();
  const once = { ttl: ttl(1_000), w: 3, requestId: Buffer.from('once') };
  const first = await stored(cluster.run(homes[0], put('cart', 'v', once)));
  after(1_500);
  const again = await stored(cluster.run(homes[0], put('cart', 'v', { ...once, attempt: 1 })));
  assert.equal(again.receipt?.dot, first.receipt?.dot);
  assert.deepEqual((await gotten(cluster.run(homes[0], get('cart')))).siblings, []);
});

test('what a put does not say its namespace does', async () => {
  const { cluster, homes, after } = setup();
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, ttlMs: 1_000 });
  await stored(cluster.run(homes[0], put('cart', 'usual', { w: 3 })));
  await stored(cluster.run(homes[0], put('cart', 'longer', { w: 3, ttl: ttl(9_000) })));
  after(1_000);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart')))), ['longer']);
});
