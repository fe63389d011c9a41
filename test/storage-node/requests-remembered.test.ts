/** P5: two attempts with one request id are one write, whichever coordinators they meet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generationOf } from '../../services/core/codec/request.ts';
import type { Dot } from '../../services/core/versioning/causal-context.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { createRequestTable } from '../../services/storage-node/request-table.ts';
import { type ClusterOptions, createCluster, type TestNode } from './cluster.ts';
import { createReadableMetrics } from './metrics.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

const requestId = Buffer.from('request 1');
const retry = { requestId, attempt: 1 };

function setup(options: ClusterOptions = {}) {
  const cluster = createCluster(options);
  return { cluster, homes: cluster.homes('cart') as [TestNode, TestNode, TestNode] };
}

async function dotsAt(cluster: ReturnType<typeof setup>['cluster'], node: TestNode): Promise<number> {
  return (await cluster.held(node, 'cart'))?.siblings.length ?? 0;
}

test('a second attempt at another coordinator completes the write of the first, and mints nothing', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes;
  second.answers = 'no';
  third.answers = 'no';
  const failure = await failureOf(cluster.run(first, put('cart', 'v', { requestId })));
  assert.equal(failure.outcome, 'UNKNOWN');
  second.answers = 'yes';
  third.answers = 'yes';
  const { receipt } = await stored(cluster.run(second, put('cart', 'v', { ...retry, w: 3 })));
  assert.equal(receipt?.dot, failure.details.receipt?.dot);
  for (const home of homes) assert.equal(await dotsAt(cluster, home), 1, home.id);
});

test('a second attempt that comes after its value was replaced does not bring it back', async () => {
  const { cluster, homes } = setup();
  const [first, second] = homes;
  await stored(cluster.run(first, put('cart', 'old', { requestId, w: 3 })));
  const { context } = await gotten(cluster.run(first, get('cart')));
  await stored(cluster.run(first, put('cart', 'new', { context, w: 3 })));
  await stored(cluster.run(second, put('cart', 'old', retry)));
  await turns();
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 3 })))), ['new']);
});

test('a fallback that has handed the record over still knows the request, and others what became of it', async () => {
  const { cluster, homes } = setup({ nodes: 5, partitions: 16 });
  for (const { node } of cluster.nodes) await node.open();
  const [first, second, third] = homes;
  cluster.setReachable(third, false);
  const { receipt } = await stored(cluster.run(first, put('cart', 'old', { requestId, w: 3 })));
  cluster.setReachable(third, true);
  await turns();
  const standIn = receipt?.acks.find(({ hintedFor }) => hintedFor === third.id)?.nodeId;
  const fallback = cluster.nodes.find(({ id }) => id === standIn) as TestNode;
  fallback.node.transfers.start();
  for (let i = 0; i < 50; i++) {
    cluster.clock.advance(100);
    await turns();
  }
  assert.equal(await cluster.held(fallback, 'cart'), undefined, 'handed over');
  const { context } = await gotten(cluster.run(third, get('cart')));
  await stored(cluster.run(third, put('cart', 'new', { context, w: 3 })));
  for (const home of [first, second]) cluster.setReachable(home, false);
  const again = await stored(cluster.run(third, put('cart', 'old', retry)));
  assert.equal(again.receipt?.dot, receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(third, get('cart', { r: 1 })))), ['new']);
});

/** All homes away: a fallback coordinates `old`, and hands it over to the first home, alone, when that is back. */
async function handedOverByItsCoordinator() {
  const { cluster, homes } = setup({ nodes: 5, partitions: 16 });
  for (const { node } of cluster.nodes) await node.open();
  const [first] = homes;
  const [fallback, other] = cluster.nodes.filter((node) => !homes.includes(node)) as [TestNode, TestNode];
  for (const node of [...homes, other]) cluster.setReachable(node, false);
  const { receipt } = await stored(cluster.run(fallback, put('cart', 'old', { requestId, w: 1 }), { forwarded: true }));
  fallback.node.leftovers.clear();
  const home = cluster.nodes.find(({ id }) => id === receipt?.acks[0]?.hintedFor) as TestNode;
  await fallback.node.store.change(
    cluster.storageKey('cart'),
    (held) => ({ copy: { ...held, owed: [home.id] } }),
    true,
  );
  cluster.setReachable(home, true);
  for (let i = 0; i < 20; i++) {
    cluster.clock.advance(100);
    await turns();
  }
  assert.equal(await cluster.held(fallback, 'cart'), undefined, 'handed over');
  return { cluster, homes, first, home, fallback, other, dot: receipt?.dot };
}

test('P5: where none of those who have the write answers it is not made once more, though it is remembered', async () => {
  const { cluster, homes, home, fallback, other, dot } = await handedOverByItsCoordinator();
  const { context } = await gotten(cluster.run(home, get('cart', { r: 1 })));
  await stored(cluster.run(home, put('cart', 'new', { context, w: 1 })));
  cluster.setReachable(home, false);
  cluster.setReachable(other, true);
  const failure = await failureOf(cluster.run(fallback, put('cart', 'old', retry), { forwarded: true }));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'UNKNOWN']);
  for (const node of homes) cluster.setReachable(node, true);
  const again = await stored(cluster.run(fallback, put('cart', 'old', retry), { forwarded: true }));
  assert.equal(again.receipt?.dot, dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(home, get('cart', { r: 3 })))), ['new']);
});

test('P3: a fallback that has another copy of the key by now does not speak for the one it handed over', async () => {
  const { cluster, homes, home, fallback, other, dot } = await handedOverByItsCoordinator();
  cluster.setReachable(home, false);
  cluster.setReachable(other, true);
  const [elsewhere, third] = homes.filter((node) => node !== home) as [TestNode, TestNode];
  for (const node of [elsewhere, third]) cluster.setReachable(node, true);
  await stored(cluster.run(elsewhere, put('cart', 'another', { w: 3 })));
  await turns();
  const failure = await failureOf(cluster.run(elsewhere, put('cart', 'old', retry)));
  assert.equal(failure.outcome, 'UNKNOWN');
  cluster.setReachable(home, true);
  const again = await stored(cluster.run(elsewhere, put('cart', 'old', { ...retry, w: 3 })));
  assert.equal(again.receipt?.dot, dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(third, get('cart', { r: 1 })))), ['another', 'old']);
  assert.ok(fallback.id.length > 0);
});

test('P5: a second attempt of what only a fallback remembers, and all have let go, is the same write still', async () => {
  const { cluster, homes, home, fallback, other, dot } = await handedOverByItsCoordinator();
  for (const node of [...homes, other]) cluster.setReachable(node, true);
  const { context } = await gotten(cluster.run(home, get('cart', { r: 3 })));
  await turns();
  await removed(cluster.run(home, remove('cart', context, { w: 3 })));
  await turns();
  for (let i = 0; i < 4; i++) await home.node.collection.collectAll();
  for (const node of cluster.nodes) assert.equal(await cluster.held(node, 'cart'), undefined, node.id);
  const again = await stored(cluster.run(homes[1], put('cart', 'old', { ...retry, w: 3 })));
  assert.equal(again.receipt?.dot, dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(home, get('cart', { r: 3 })))), []);
  assert.ok(fallback.id.length > 0);
});

test('a replica that holds the value of a request knows the request, however it came by it', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes;
  second.answers = 'no';
  third.answers = 'no';
  const failure = await failureOf(cluster.run(first, put('cart', 'v', { requestId })));
  third.answers = 'yes';
  await gotten(cluster.run(first, get('cart', { r: 2 })));
  await turns();
  assert.equal(await dotsAt(cluster, third), 1, 'repaired');
  second.answers = 'yes';
  first.answers = 'no';
  const { receipt } = await stored(cluster.run(second, put('cart', 'v', retry)));
  assert.equal(receipt?.dot, failure.details.receipt?.dot);
});

test('a first attempt that reaches a replica late, after what replaced its value, is remembered there', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes;
  const key = cluster.storageKey('cart');
  second.answers = 'no';
  third.answers = 'no';
  const failure = await failureOf(cluster.run(first, put('cart', 'old', { requestId })));
  const record = (await first.node.store.read(key)) as Uint8Array;
  const [dot] = first.node.records.decode(record).siblings.map((sibling) => sibling.dot);
  second.answers = 'yes';
  const { context } = await gotten(cluster.run(first, get('cart')));
  await turns();
  first.answers = 'no';
  await stored(cluster.run(second, put('cart', 'new', { context, w: 1 })));
  const late = { key, record, era: 0, sync: true, hintedFor: '', deadline: 1e9 };
  await second.node.replica.write({ ...late, request: { id: requestId, dot: dot as Dot } });
  const { receipt } = await stored(cluster.run(second, put('cart', 'old', { ...retry, w: 1 })));
  assert.equal(receipt?.dot, failure.details.receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart', { r: 1 })))), ['new']);
});

test('what is put after an attempt that found two others replaces the values of both', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes;
  for (const coordinator of [first, second]) {
    for (const home of homes) home.answers = home === coordinator ? 'yes' : 'no';
    const failure = await failureOf(cluster.run(coordinator, put('cart', 'v', retry)));
    assert.equal(failure.outcome, 'UNKNOWN');
  }
  for (const home of homes) home.answers = 'yes';
  const { context } = await stored(cluster.run(third, put('cart', 'v', { ...retry, w: 3 })));
  await stored(cluster.run(third, put('cart', 'new', { context, w: 3 })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 3 })))), ['new']);
});

test('a second attempt with another value is refused, at whatever coordinator', async () => {
  const { cluster, homes } = setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { requestId, w: 3 })));
  for (const home of homes) {
    const failure = await failureOf(cluster.run(home, put('cart', 'another', retry)));
    assert.deepEqual([failure.reason, failure.outcome], ['REQUEST_ID_REUSED', 'NOT_APPLIED']);
  }
});

test('a second attempt of a delete is the same delete', async () => {
  const { cluster, homes } = setup();
  const [first, second] = homes;
  const { context } = await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  const one = await removed(cluster.run(first, remove('cart', context, { requestId, w: 3 })));
  const two = await removed(cluster.run(second, remove('cart', context, { ...retry, w: 3 })));
  assert.equal(two.receipt?.dot, one.receipt?.dot);
});

test('a second attempt of which nobody knows the first is a write', async () => {
  const { cluster, homes } = setup();
  await stored(cluster.run(homes[1], put('cart', 'v', retry)));
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0], get('cart')))), ['v']);
});

test('a replica that does not answer holds up a second attempt only as long as one is trusted', async () => {
  const { cluster, homes } = setup();
  homes[2].answers = 'never';
  const stored = cluster.run(homes[0], put('cart', 'v', retry), { timeoutMs: 5_000 });
  await turns();
  cluster.clock.advance(1_100);
  assert.ok((await stored).put !== undefined);
});

test('a first attempt is not looked up: it costs one question to no one', async () => {
  const { cluster, homes } = setup();
  await stored(cluster.run(homes[0], put('cart', 'v', { requestId, w: 3 })));
  for (const home of homes) assert.ok(!home.calls.includes('inspect'));
});

async function table(requestsMax: number) {
  let drawn = 0n;
  const engine = openMemoryEngine(createMemoryDisk(), { random: { u64: () => ++drawn, below: () => 0 } });
  const open = async () => {
    const opened = createRequestTable(engine, createReadableMetrics(), requestsMax);
    await opened.open();
    return opened;
  };
  return { engine, open };
}

const key = Buffer.from('12345678 and the rest');
const idOf = (i: number) => Buffer.from(`request ${i}`);

test('the newest requests are remembered, over restarts too, and the oldest go', async () => {
  const { engine, open } = await table(100);
  let requests = await open();
  for (let i = 1; i <= 1_000; i++) {
    if (i % 70 === 0) requests = await open();
    await engine.write([requests.remember(key, { id: idOf(i), dot: { actor: 7n, counter: i } })], true);
  }
  await turns();
  for (let i = 951; i <= 1_000; i++) {
    assert.deepEqual((await requests.find(key, idOf(i)))?.dot, { actor: 7n, counter: i });
  }
  assert.equal(await requests.find(key, idOf(1)), undefined);
  const { entries } = await engine.scan('requests', new Uint8Array(0), undefined, 10_000);
  assert.ok(entries.length <= 150, `${entries.length} of at most 100 and a generation that is being removed`);
});

test('the oldest go as new ones come, never many at once', async () => {
  const { engine, open } = await table(10_000);
  const requests = await open();
  const inTable = async () => (await engine.scan('requests', new Uint8Array(0), undefined, 100_000)).entries.length;
  let before = 0;
  let mostRemoved = 0;
  for (let i = 1; i <= 18_000; i++) {
    await engine.write([requests.remember(key, { id: idOf(i), dot: { actor: 7n, counter: i } })], true);
    if (i % 64 !== 0) continue;
    await turns();
    const now = await inTable();
    mostRemoved = Math.max(mostRemoved, before + 64 - now);
    before = now;
  }
  assert.ok(mostRemoved <= 256, `${mostRemoved} were removed while 64 came`);
  assert.equal(before, 5_000 + 2_984, 'the second generation is gone before the fourth is full');
});

test('what came while the oldest were being removed goes too', async () => {
  const { engine, open } = await table(8);
  const requests = await open();
  const remember = (i: number) =>
    engine.write([requests.remember(key, { id: idOf(i), dot: { actor: 7n, counter: i } })], true);
  await Promise.all(Array.from({ length: 400 }, (_, i) => remember(i + 1)));
  for (let i = 401; i <= 800; i++) {
    await remember(i);
    await turns();
  }
  const { entries } = await engine.scan('requests', new Uint8Array(0), undefined, 10_000);
  assert.ok(entries.length <= 12, `${entries.length} of at most 8 and a generation that is being removed`);
});

test('what has gone since it was listed does not come back when it was given to the owners', async () => {
  const { engine, open } = await table(8);
  const requests = await open();
  const remember = async (i: number) => {
    await engine.write([requests.remember(key, { id: idOf(i), dot: { actor: 7n, counter: i } })], true);
    await turns();
  };
  for (let i = 1; i <= 4; i++) await remember(i);
  const listed = await requests.list({ start: Buffer.alloc(8), end: undefined }, undefined);
  assert.equal(listed.requests.length, 4);
  for (let i = 5; i <= 12; i++) await remember(i);
  await requests.noteGiven(listed.requests);
  for (let i = 13; i <= 40; i++) await remember(i);
  const { entries } = await engine.scan('requests', new Uint8Array(0), undefined, 10_000);
  assert.ok(entries.every(([at]) => generationOf(at) > 1));
});

test('one request id on two keys is two requests', async () => {
  const { engine, open } = await table(100);
  const requests = await open();
  await engine.write([requests.remember(key, { id: idOf(1), dot: { actor: 7n, counter: 1 } })], true);
  assert.equal(await requests.find(Buffer.from('another key entirely'), idOf(1)), undefined);
});

test('a coordinator that completes what it has already remembers the request from then on', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes;
  for (const other of [second, third]) other.answers = 'no';
  await failureOf(cluster.run(first, put('cart', 'old', { requestId })));
  for (const other of [second, third]) other.answers = 'yes';
  // Read repair brings the record, and not the request.
  await gotten(cluster.run(first, get('cart', { r: 3 })));
  await turns();
  assert.equal(await dotsAt(cluster, second), 1);
  third.answers = 'no';
  await stored(cluster.run(second, put('cart', 'old', { ...retry, w: 2 })));
  third.answers = 'yes';
  const { context } = await gotten(cluster.run(second, get('cart', { r: 3 })));
  await stored(cluster.run(second, put('cart', 'new', { context, w: 3 })));
  cluster.setReachable(first, false);
  await stored(cluster.run(third, put('cart', 'old', { ...retry, w: 2 })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart', { r: 2 })))), ['new']);
});
