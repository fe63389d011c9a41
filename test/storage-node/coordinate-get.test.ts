/** Gets over three assembled nodes: P3, P7, P9, read repair, and what each failure says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hedgeAfterMs } from '../../services/storage-node/coordinate-get.ts';
import { repairsMax } from '../../services/storage-node/read-repair.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

function setup(): [Cluster, TestNode, TestNode, TestNode] {
  const cluster = createCluster();
  const [first, second, third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  return [cluster, first, second, third];
}

async function heldValues(cluster: Cluster, at: TestNode): Promise<string[]> {
  const record = await cluster.held(at, 'cart');
  return (record?.siblings ?? []).map(({ value }) => Buffer.from(value).toString()).sort();
}

/** Puts `value` where only these nodes get it. */
async function putOnly(cluster: Cluster, at: readonly TestNode[], value: string, context: Buffer = Buffer.alloc(0)) {
  const without = cluster.nodes.filter((node) => !at.includes(node));
  for (const node of without) node.answers = 'no';
  const coordinator = at[0] as TestNode;
  const answer = await stored(cluster.run(coordinator, put('cart', value, { w: 1, context })));
  await turns();
  for (const node of without) node.answers = 'yes';
  return answer;
}

test('a key that was never written has no siblings and no context, and that is no error', async () => {
  const [cluster, first] = setup();
  const answer = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual([answer.siblings, answer.omitted, answer.context.length], [[], [], 0]);
  assert.equal(answer.certificate?.divergent, false);
  await turns();
  assert.equal(await cluster.held(first, 'cart'), undefined, 'a read leaves nothing behind');
});

test('a deleted key has no siblings, and a context', async () => {
  const [cluster, first] = setup();
  await stored(cluster.run(first, put('cart', 'v')));
  const { context } = await gotten(cluster.run(first, get('cart')));
  await removed(cluster.run(first, remove('cart', context)));
  const answer = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual(answer.siblings, []);
  assert.ok(answer.context.length > 0);
});

test('binary, empty and 1 MiB values come back byte for byte, under keys of any bytes', async () => {
  const [cluster, first] = setup();
  const values = [Buffer.alloc(0), Buffer.from([0, 255, 128]), Buffer.alloc(1024 * 1024, 7)];
  for (const [i, value] of values.entries()) {
    const key = Buffer.from([0, 255, i]);
    await cluster.run(first, { put: { ...put('', value).put, key } });
    const { siblings } = await gotten(cluster.run(first, { get: { ...get('').get, key } }));
    assert.equal(siblings.length, 1);
    assert.equal(Buffer.compare(siblings[0]?.value ?? Buffer.from('none'), value), 0);
  }
});

for (const r of [1, 2, 3]) {
  test(`r = ${r}: ${r} homes are asked, and the certificate says so`, async () => {
    const [cluster, first, second, third] = setup();
    await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
    await turns();
    const before = [second.calls.length, third.calls.length] as const;
    const { certificate } = await gotten(cluster.run(first, get('cart', { r })));
    assert.deepEqual(certificate, {
      replicasAsked: r,
      replicasAnswered: r,
      homesAnswered: r,
      divergent: false,
      coversSession: true,
      ring: { term: 1n, sequence: 4n },
    });
    const asked = second.calls.length - before[0] + third.calls.length - before[1];
    assert.equal(asked, r - 1, 'this node itself is one of them');
  });
}

test('P9: with one home down, known or not, a get goes on with the other two', async () => {
  const [cluster, first, second] = setup();
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  second.answers = 'no';
  const unknown = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual(valuesOf(unknown), ['v']);
  assert.equal(unknown.certificate?.replicasAsked, 3);
  assert.equal(unknown.certificate?.replicasAnswered, 2);
  second.reachable = false;
  const known = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual(valuesOf(known), ['v']);
  assert.equal(known.certificate?.replicasAsked, 2);
});

test('a get that not enough homes can answer says how many were wanted and reached', async () => {
  const [cluster, first, second, third] = setup();
  second.reachable = false;
  third.answers = 'no';
  const met = await failureOf(cluster.run(first, get('cart')));
  assert.deepEqual([met.reason, met.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
  assert.match(met.message, /2 of 3 replicas wanted, [01] reached/);
  third.reachable = false;
  const known = await failureOf(cluster.run(first, get('cart')));
  assert.match(known.message, /2 of 3 replicas wanted, 1 reached/);
  await gotten(cluster.run(first, get('cart', { r: 1 })));
});

test('a get whose homes are silent ends at its deadline, with the count of those that answered', async () => {
  const [cluster, first, second, third] = setup();
  second.answers = 'never';
  third.answers = 'never';
  const failing = failureOf(cluster.run(first, get('cart')));
  await turns();
  cluster.clock.advance(1_100);
  const failure = await failing;
  assert.equal(failure.reason, 'DEADLINE');
  assert.match(failure.message, /1 of 2 replicas had answered/);
});

test('a get whose home is slow asks the next one after a while, while there is a budget for that', async () => {
  const [cluster, first, second, third] = setup();
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  await turns();
  // A budget is earned by reads.
  for (let i = 0; i < 100; i++) await gotten(cluster.run(first, get('cart')));
  const slow = [second, third].find((home) => home.calls.at(-1) === 'read') as TestNode;
  slow.answers = 'never';
  const answer = gotten(cluster.run(first, get('cart'), { timeoutMs: 10_000 }));
  await turns();
  cluster.clock.advance(hedgeAfterMs + 20);
  assert.deepEqual(valuesOf(await answer), ['v']);
  assert.equal(first.metrics.valueOf('cartwheel_hedged_reads_total'), 1);
});

test('P3: siblings that live on different homes are all answered, and their context covers all', async () => {
  const [cluster, first, second, third] = setup();
  await putOnly(cluster, [first], 'a');
  await putOnly(cluster, [second], 'b');
  await putOnly(cluster, [third], 'c');
  const answer = await gotten(cluster.run(first, get('cart', { r: 3 })));
  assert.deepEqual(valuesOf(answer), ['a', 'b', 'c']);
  assert.equal(answer.certificate?.divergent, true);
  await stored(cluster.run(second, put('cart', 'all', { context: answer.context })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(third, get('cart', { r: 3 })))), ['all']);
});

test('read repair heals the replica that was stale, and no other one is written to', async () => {
  const [cluster, first, second, third] = setup();
  const { context } = await stored(cluster.run(first, put('cart', 'old', { w: 3 })));
  await putOnly(cluster, [second, third], 'new', context);
  const writesBefore = [second, third].map(({ calls }) => calls.filter((call) => call === 'write').length);
  const answer = await gotten(cluster.run(first, get('cart', { r: 3 })));
  assert.deepEqual(valuesOf(answer), ['new']);
  assert.equal(answer.certificate?.divergent, true);
  await turns();
  assert.deepEqual(await heldValues(cluster, first), ['new']);
  const writesAfter = [second, third].map(({ calls }) => calls.filter((call) => call === 'write').length);
  assert.deepEqual(writesAfter, writesBefore);
  assert.equal(first.metrics.valueOf('cartwheel_read_repairs_total'), 1);
  assert.equal((await gotten(cluster.run(first, get('cart', { r: 3 })))).certificate?.divergent, false);
});

test('read repair brings a home that has nothing the whole record, and a deleted one its tombstone', async () => {
  const [cluster, first, second, third] = setup();
  await putOnly(cluster, [first, second], 'v');
  await gotten(cluster.run(first, get('cart', { r: 3 })));
  await turns();
  assert.deepEqual(await heldValues(cluster, third), ['v']);
  const { context } = await gotten(cluster.run(first, get('cart')));
  third.reachable = false;
  await removed(cluster.run(first, remove('cart', context)));
  await turns();
  third.reachable = true;
  assert.deepEqual(valuesOf(await gotten(cluster.run(third, get('cart', { r: 3 })))), []);
  await turns();
  assert.deepEqual(await heldValues(cluster, third), []);
});

test('a repair that fails is counted, ends, and harms nobody', async () => {
  const [cluster, first, second] = setup();
  await putOnly(cluster, [first], 'v');
  const { peers } = first.node;
  const { replica } = peers;
  Object.assign(peers, {
    replica(nodeId: string) {
      const real = replica(nodeId);
      // It leaves the ring between its answer and the repair.
      return {
        ...real,
        async read(message: Parameters<typeof real.read>[0]) {
          const bytes = await real.read(message);
          Object.assign(peers, {
            replica(gone: string) {
              throw new Error(`node ${gone} is not in the ring`);
            },
          });
          return bytes;
        },
      };
    },
  });
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['v']);
  await turns();
  assert.equal(first.metrics.valueOf('cartwheel_read_repairs_under_way'), 0);
  assert.ok(first.metrics.valueOf('cartwheel_replica_failures_total') >= 1);
  assert.equal(await cluster.held(second, 'cart'), undefined);
});

test('repairs under way have a cap; what is over it is left to the next read, and counted', async () => {
  const [cluster, first, second, third] = setup();
  await putOnly(cluster, [first], 'v');
  second.answers = 'yes';
  const { peers } = first.node;
  const { replica } = peers;
  Object.assign(peers, { replica: (nodeId: string) => ({ ...replica(nodeId), write: () => new Promise(() => {}) }) });
  for (let i = 0; i < repairsMax + 5; i++) await gotten(cluster.run(first, get('cart')));
  assert.equal(first.metrics.valueOf('cartwheel_read_repairs_under_way'), repairsMax);
  assert.equal(first.metrics.valueOf('cartwheel_read_repairs_skipped_total'), 5);
  assert.equal(await cluster.held(third, 'cart'), undefined);
});

test('P12: a home whose record is damaged is passed over, counted, and never served', async () => {
  const [cluster, first, second, third] = setup();
  await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
  await turns();
  for (const [home, at] of [
    [first, 30],
    [second, 0],
  ] as const) {
    const key = cluster.storageKey('other');
    await stored(cluster.run(home, put('other', 'w', { w: 3 })));
    await turns();
    const [bytes] = await home.engine.getMany('records', [key]);
    const damaged = Uint8Array.from(bytes as Uint8Array);
    damaged[at] = (damaged[at] as number) ^ 128;
    await home.engine.write([{ space: 'records', key: cluster.storageKey('damaged'), value: damaged }], true);
  }
  // Two homes are damaged where it has not been cached; with the third alone there are not enough.
  const failure = await failureOf(cluster.run(third, get('damaged')));
  assert.equal(failure.reason, 'NOT_ENOUGH_REPLICAS');
  assert.equal(third.metrics.valueOf('cartwheel_replica_failures_total'), 2);
});

test('max_bytes bounds an answer, at least one sibling is in it, and what is omitted can be read by its dot', async () => {
  const [cluster, first] = setup();
  const values = ['a', 'b', 'c', 'd', 'e'].map((letter) => letter.repeat(1_000));
  for (const value of values) await stored(cluster.run(first, put('cart', value, { w: 3 })));
  const bounded = await gotten(cluster.run(first, get('cart', { maxBytes: 2_500 })));
  assert.deepEqual([bounded.siblings.length, bounded.omitted.length], [2, 3]);
  const least = await gotten(cluster.run(first, get('cart', { maxBytes: 1 })));
  assert.deepEqual([least.siblings.length, least.omitted.length], [1, 4]);
  const rest = await gotten(cluster.run(first, get('cart', { dots: bounded.omitted })));
  assert.deepEqual([...valuesOf(bounded), ...valuesOf(rest)].sort(), values);
  assert.deepEqual(rest.siblings.map(({ dot }) => dot).sort(), bounded.omitted.toSorted());
  // The context of each covers the omitted too: the key can always be resolved.
  assert.deepEqual(bounded.context, rest.context);
  await stored(cluster.run(first, put('cart', 'one', { context: bounded.context })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['one']);
});

test('dots that are not there are no error, and nothing is said to be omitted', async () => {
  const [cluster, first] = setup();
  await stored(cluster.run(first, put('cart', 'v')));
  const answer = await gotten(cluster.run(first, get('cart', { dots: ['00000000000000ff:9'] })));
  assert.deepEqual([answer.siblings, answer.omitted], [[], []]);
});

test('five siblings of 1 MiB come in answers that fit a message', async () => {
  const [cluster, first] = setup();
  for (let i = 0; i < 5; i++) await stored(cluster.run(first, put('cart', Buffer.alloc(1024 * 1024, i), { w: 3 })));
  const answer = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual([answer.siblings.length, answer.omitted.length], [3, 2]);
});

test('P7: where R replicas do not cover the session the others are asked before it is answered', async () => {
  const [cluster, first, , third] = setup();
  const { context } = await putOnly(cluster, [third], 'mine');
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), [], 'without a session R are enough');
  const { certificate, ...answer } = await gotten(cluster.run(first, get('cart', { sessionContext: context })));
  assert.deepEqual([certificate?.coversSession, certificate?.replicasAnswered], [true, 3]);
  assert.deepEqual(valuesOf(answer), ['mine']);
});

test('P7: where nobody in reach covers the session the certificate says so, and the context goes on from it', async () => {
  for (const away of ['no', 'never'] as const) {
    const [cluster, first, second, third] = setup();
    const { context } = await putOnly(cluster, [third], 'mine');
    third.answers = away;
    const answering = gotten(cluster.run(first, get('cart', { sessionContext: context })));
    await turns();
    cluster.clock.advance(1_100);
    const stale = await answering;
    assert.deepEqual([stale.certificate?.coversSession, stale.certificate?.replicasAnswered], [false, 2]);
    assert.deepEqual(valuesOf(stale), []);
    third.answers = 'yes';
    // The stale answer's context still has what the session had seen.
    await stored(cluster.run(first, put('cart', 'next', { context: stale.context, w: 3 })));
    assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart', { r: 3 })))), ['next']);
  }
});
