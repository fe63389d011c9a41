/** What the background of a node says of its tasks, and whom it lets wait how long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameOfNode } from '../../services/core/ring/ring.ts';
import {
  createBackground,
  type OwnStrain,
  turnToAnswer,
  writeDeadline,
} from '../../services/storage-node/background.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { createReadableMetrics } from './metrics.ts';
import { put, stored } from './requests.ts';
import { turns } from './time.ts';

const limits = { targetMs: 100, stallMs: 500, operationsMax: 1_000, bytesMax: 1_000_000, floor: 0.275 };

const well: OwnStrain = { writingMs: () => 0, lateMs: () => 0 };

function setup(own: Partial<OwnStrain> = {}) {
  const clock = createManualClock();
  const metrics = createReadableMetrics();
  return { clock, metrics, background: createBackground(clock, metrics, limits, { ...well, ...own }) };
}

test('a task says how far it is, at what pace, and what it waits for', async () => {
  const { clock, metrics, background } = setup();
  const task = background.begin('transfer', 'partition 3 from n1', 0.5);
  assert.deepEqual(
    background.tasks(),
    [{ kind: 'transfer', name: 'transfer of partition 3 from n1', ms: 0, operations: 0, bytes: 0 }].map((status) => ({
      ...status,
      progress: undefined,
      etaMs: undefined,
      waitsFor: '',
    })),
  );
  clock.advance(1_000);
  const admitted = task.admit(100, 5_000);
  task.reached(0.75);
  const [status] = background.tasks();
  assert.deepEqual(
    [status?.ms, status?.operations, status?.bytes, status?.progress, status?.etaMs],
    [1_000, 100, 5_000, 0.75, 1_000],
    'half of what it had left took a second',
  );
  assert.match(status?.waitsFor ?? '', /^its turn: the background has \d+% of its budget$/);
  clock.advance(1_000);
  await admitted;
  assert.equal(background.tasks()[0]?.waitsFor, '');
  task.end();
  assert.deepEqual(background.tasks(), []);
  assert.equal(metrics.valueOf('cartwheel_background_operations_total'), 100);
  assert.ok(metrics.valueOf('cartwheel_background_waited_seconds_total') > 0);
});

test('the time to go of a task is by its last minute, and not known where nothing came of it then', () => {
  const { clock, background } = setup();
  const task = background.begin('verification', 'all');
  for (let minute = 1; minute <= 10; minute++) {
    clock.advance(60_000);
    task.reached(0.05 * minute);
  }
  assert.equal(Math.round(background.tasks()[0]?.etaMs ?? 0), 600_000);
  clock.advance(60_000);
  task.reached(0.505);
  assert.equal(Math.round(background.tasks()[0]?.etaMs ?? 0), 5_940_000, 'a tenth as fast, now that clients are slow');
  clock.advance(60_000);
  assert.equal(background.tasks()[0]?.etaMs, undefined);
});

test('a disk that stalls, or a processor that others have, is what a task waits for', async () => {
  for (const { own, waitsFor } of [
    { own: { writingMs: () => 600 }, waitsFor: 'the disk: a write has been under way for more than 500 ms' },
    { own: { lateMs: () => 9 }, waitsFor: 'the processor: the event loop is more than 2 ms late' },
  ]) {
    const { background } = setup(own);
    const task = background.begin('exchange', 'partition 1 with n2');
    task.admit(1_000, 0).catch(() => {});
    assert.equal(background.tasks()[0]?.waitsFor, waitsFor);
    background.stop();
  }
});

test('what may be put off no further is let on, however much the others have taken, and taken from them', async () => {
  const { clock, background } = setup();
  const task = background.begin('exchange', 'partition 1 with n2');
  task.admit(10_000, 0).catch(() => {});
  assert.equal(background.takeWithin(50, 'flush', 'the write buffer', 1_000, 0), 50);
  assert.deepEqual(
    background.tasks().map(({ kind }) => kind),
    ['exchange', 'flush'],
  );
  clock.advance(50);
  assert.deepEqual(
    background.tasks().map(({ kind }) => kind),
    ['exchange'],
  );
  let admitted = false;
  const next = background.begin('handoff', 'hints to n1');
  void next.admit(550, 0).then(() => {
    admitted = true;
  });
  clock.advance(19_900);
  await turns(1);
  assert.equal(admitted, false, '10,000 at 550 a second, and then at the floor: 550 at 275 a second');
  clock.advance(300);
  await turns(1);
  assert.equal(admitted, true);
});

test('however much is flushed, or asked by other nodes, hints are delivered still', async () => {
  const { clock, background } = setup();
  const handoff = background.begin('handoff', 'hints to n1');
  let delivered = 0;
  const deliver = async () => {
    for (;;) {
      await handoff.admit(160, 0);
      delivered += 160;
    }
  };
  deliver().catch(() => {});
  for (let ms = 0; ms < 300_000; ms += 50) {
    background.takeWithin(50, 'flush', 'the write buffer', 500, 0);
    clock.advance(50);
    await turns(1);
  }
  assert.ok(delivered >= 300 * 275 * 0.9, `${delivered} in five minutes, and 275 a second are its floor`);
  background.stop();
});

test('what other nodes ask is answered at the floor still, however much this one does itself', async () => {
  const { clock, background } = setup({ lateMs: () => 9 });
  const handoff = background.begin('handoff', 'hints to n1');
  const deliver = async () => {
    for (;;) await handoff.admit(160, 0);
  };
  deliver().catch(() => {});
  let answered = 0;
  const pull = async () => {
    for (;;) {
      await turnToAnswer({ background, clock }, 32, 0);
      answered += 32;
    }
  };
  void pull();
  for (let ms = 0; ms < 300_000; ms += 10) {
    clock.advance(10);
    await turns(1);
  }
  assert.ok(answered >= 300 * 275 * 0.9, `${answered} in five minutes, and 275 a second are its floor`);
  background.stop();
});

test('a write for the background has ten seconds', () => {
  const { clock } = setup();
  clock.advance(5);
  assert.equal(writeDeadline({ clock }), 10_005);
});

test('the flush of the write buffer goes at half its time where the background may, and in time where it may not', async () => {
  for (const { taken, at } of [
    { taken: 0, at: 50 },
    { taken: 1_000_000, at: 100 },
  ]) {
    const cluster = createCluster();
    const first = cluster.homes('cart')[0] as TestNode;
    await stored(cluster.run(first, put('cart', 'v', { w: 3, durability: 3 })));
    first.node.background
      .begin('exchange', 'nothing')
      .admit(taken, 0)
      .catch(() => {});
    cluster.clock.advance(at - 1);
    await turns(4);
    assert.equal(first.node.store.pendingRecords, 1, `with ${taken} operations before it`);
    cluster.clock.advance(1);
    await turns(4);
    assert.equal(first.node.store.pendingRecords, 0);
    first.node.background.stop();
  }
});

test('handoff waits for the governor, and counts what it delivers', async () => {
  const cluster = createCluster({ nodes: 4 });
  for (const { node } of cluster.nodes) await node.open();
  const [first, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  cluster.setReachable(third, false);
  await stored(cluster.run(first, put('cart', 'v', { w: 2 })));
  await turns(4);
  const owing = cluster.nodes.find(({ node }) => node.hints.count(third.id) > 0) as TestNode;
  // The background is busy for three seconds.
  owing.node.background
    .begin('exchange', 'nothing')
    .admit(1_500, 0)
    .catch(() => {});
  cluster.setReachable(third, true);
  await turns(10);
  const [, handoff] = owing.node.background.tasks();
  assert.equal(handoff?.name, `handoff of hints to ${nameOfNode(cluster.ring, third.id)}`);
  assert.match(handoff?.waitsFor ?? '', /its turn/);
  assert.equal(await cluster.held(third, 'cart'), undefined);
  for (let i = 0; i < 80; i++) {
    cluster.clock.advance(50);
    await turns(10);
  }
  assert.ok(await cluster.held(third, 'cart'));
  assert.deepEqual(owing.node.hints.nodes(), []);
});
