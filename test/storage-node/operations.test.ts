/** Where an operation is run, and that it is sent on once at most. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cancelled, Cancelling } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';

/** A cluster of five, where every key has three homes and two that are none. */
function setup() {
  const cluster = createCluster({ nodes: 5, partitions: 16 });
  const homes = cluster.homes('cart');
  const stranger = cluster.nodes.find((node) => !homes.includes(node)) as TestNode;
  return { cluster, homes, stranger };
}

test('every home coordinates, and sends nothing on', async () => {
  const { cluster, homes } = setup();
  for (const home of homes) await stored(cluster.run(home, put('cart', home.id)));
  assert.deepEqual(
    valuesOf(await gotten(cluster.run(homes[0] as TestNode, get('cart', { r: 3 })))),
    homes.map(({ id }) => id).sort(),
  );
  assert.deepEqual(cluster.forwards, []);
});

test('a node that is no home sends the operation on to the first home, and answers what that one says', async () => {
  const { cluster, homes, stranger } = setup();
  await stored(cluster.run(stranger, put('cart', 'v')));
  const { context, siblings } = await gotten(cluster.run(stranger, get('cart')));
  assert.deepEqual(
    siblings.map(({ value }) => value.toString()),
    ['v'],
  );
  await removed(cluster.run(stranger, remove('cart', context)));
  assert.deepEqual(cluster.forwards, Array(3).fill([stranger.id, homes[0]?.id]));
  assert.equal(stranger.metrics.valueOf('cartwheel_forwarded_operations_total'), 3);
  assert.equal(await cluster.held(stranger, 'cart'), undefined, 'it stores nothing of it');
});

test('a home that is known to be down is passed over', async () => {
  const { cluster, homes, stranger } = setup();
  (homes[0] as TestNode).reachable = false;
  await stored(cluster.run(stranger, put('cart', 'v')));
  assert.deepEqual(cluster.forwards, [[stranger.id, homes[1]?.id]]);
});

test('with no home in reach the operation is run where it came to', async () => {
  const { cluster, homes, stranger } = setup();
  for (const home of homes) home.reachable = false;
  const { receipt } = await stored(cluster.run(stranger, put('cart', 'v')));
  assert.equal(receipt?.acks[0]?.nodeId, stranger.id);
  assert.deepEqual(cluster.forwards, []);
});

test('a home that goes away while it is asked is passed over, and with all of them gone the operation is run here', async () => {
  const { cluster, homes, stranger } = setup();
  cluster.refuseForwards = new Failure('DRAINING', 'this process is going away');
  await stored(cluster.run(stranger, put('cart', 'v')));
  assert.deepEqual(
    cluster.forwards,
    homes.map(({ id }) => [stranger.id, id]),
  );
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0] as TestNode, get('cart', { r: 3 })))), ['v']);
});

test('a write that a home may have applied is not sent to another one', async () => {
  const { cluster, homes, stranger } = setup();
  cluster.refuseForwards = new Failure('NOT_ENOUGH_REPLICAS', 'the stream was lost', { outcome: 'UNKNOWN' });
  const failure = await failureOf(cluster.run(stranger, put('cart', 'v')));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'UNKNOWN']);
  assert.deepEqual(cluster.forwards, [[stranger.id, homes[0]?.id]]);
});

test('a read that was lost on its way is asked of the next home', async () => {
  const { cluster, homes, stranger } = setup();
  await stored(cluster.run(homes[0] as TestNode, put('cart', 'v', { w: 3 })));
  cluster.refuseForwards = new Failure('NOT_ENOUGH_REPLICAS', 'the stream was lost', { outcome: 'UNKNOWN' });
  assert.deepEqual(valuesOf(await gotten(cluster.run(stranger, get('cart')))), ['v']);
  assert.deepEqual(
    cluster.forwards,
    homes.map(({ id }) => [stranger.id, id]),
  );
});

test('an operation that was sent on already is never sent on again: two nodes with different rings would play for ever', async () => {
  const { cluster, stranger } = setup();
  await stored(cluster.run(stranger, put('cart', 'v'), { forwarded: true }));
  assert.deepEqual(cluster.forwards, []);
});

test('what is wrong with a request is said by the node it came to, before it goes anywhere', async () => {
  const { cluster, stranger } = setup();
  for (const [operation, reason] of [
    [put('', 'v'), 'KEY_EMPTY'],
    [put('cart', 'v', { w: 4 }), 'QUORUM_INVALID'],
    [remove('cart', Buffer.alloc(0)), 'CONTEXT_REQUIRED'],
    [get('cart', { sessionContext: Buffer.from('nonsense') }), 'CONTEXT_INVALID'],
    [{}, 'OPERATION_INVALID'],
  ] as const) {
    assert.equal((await failureOf(cluster.run(stranger, operation))).reason, reason);
  }
  assert.deepEqual(cluster.forwards, []);
  assert.equal(stranger.metrics.valueOf('cartwheel_coordination_failures_total'), 5);
});

test('NO_RING: a node that knows no ring yet says so, and when to come again', async () => {
  const { cluster, stranger } = setup();
  Object.assign(stranger.node, { ring: () => undefined });
  const failure = await failureOf(cluster.run(stranger, get('cart')));
  assert.deepEqual([failure.reason, failure.outcome], ['NO_RING', 'NOT_APPLIED']);
  assert.ok((failure.details.retryAfterMs ?? 0) > 0);
});

test('a cancelled get ends at once, and asks nobody any more', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes as [TestNode, TestNode, TestNode];
  await stored(cluster.run(first, put('cart', 'v')));
  second.answers = 'never';
  third.calls.length = 0;
  const cancellation = new Cancelling();
  const failure = failureOf(cluster.run(first, get('cart'), { cancellation }));
  while (!second.calls.includes('read')) await new Promise(setImmediate);
  cancellation.cancel();
  assert.ok((await failure) instanceof Cancelled);
  cluster.clock.advance(2_000);
  await new Promise(setImmediate);
  assert.deepEqual(third.calls, []);
  assert.equal(first.metrics.valueOf('cartwheel_hedged_reads_total'), 0);
});

test('a cancelled get whose replicas do not cover its session asks nobody any more', async () => {
  const { cluster, homes } = setup();
  const [first, second, third] = homes as [TestNode, TestNode, TestNode];
  for (const node of [second, third]) node.answers = 'no';
  const { context } = await stored(cluster.run(first, put('cart', 'v', { w: 1 })));
  for (const node of [second, third]) node.answers = 'yes';
  second.stalledDisk = [];
  for (const node of [first, third]) node.calls.length = 0;
  const cancellation = new Cancelling();
  const failure = failureOf(cluster.run(second, get('cart', { r: 1, sessionContext: context }), { cancellation }));
  await new Promise(setImmediate);
  cancellation.cancel();
  const { stalledDisk } = second;
  second.stalledDisk = undefined;
  assert.ok(stalledDisk.length > 0);
  for (const run of stalledDisk) run();
  assert.ok((await failure) instanceof Cancelled);
  await new Promise(setImmediate);
  for (const node of [first, third]) assert.deepEqual(node.calls, []);
});

test('P5: a put that is cancelled before it has changed anything is never made', async () => {
  const { cluster, homes } = setup();
  const first = homes[0] as TestNode;
  first.stalledDisk = [];
  const cancellation = new Cancelling();
  const failure = failureOf(cluster.run(first, put('cart', 'v'), { cancellation }));
  await new Promise(setImmediate);
  cancellation.cancel();
  const { stalledDisk } = first;
  first.stalledDisk = undefined;
  for (const run of stalledDisk) run();
  const cancelled = await failure;
  assert.ok(cancelled instanceof Cancelled);
  assert.equal(cancelled.outcome, 'NOT_APPLIED');
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 3 })))), []);
});

test('a put that is cancelled after others may have it goes on', async () => {
  const { cluster, homes } = setup();
  const first = homes[0] as TestNode;
  const cancellation = new Cancelling();
  const writing = cluster.run(first, put('cart', 'v', { w: 3 }), { cancellation });
  while (!homes[1]?.calls.includes('write')) await new Promise(setImmediate);
  cancellation.cancel();
  await stored(writing);
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart', { r: 3 })))), ['v']);
});

test('an operation that was sent on is cancelled there too', async () => {
  const { cluster, homes, stranger } = setup();
  await stored(cluster.run(homes[0] as TestNode, put('cart', 'v')));
  (homes[1] as TestNode).answers = 'never';
  const cancellation = new Cancelling();
  const failure = failureOf(cluster.run(stranger, get('cart'), { cancellation }));
  while (!homes[1]?.calls.includes('read')) await new Promise(setImmediate);
  cancellation.cancel();
  assert.ok((await failure) instanceof Cancelled);
});
