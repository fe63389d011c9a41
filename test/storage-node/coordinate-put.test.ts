/** Puts and deletes over three assembled nodes: P1 to P5, P8, and what each failure says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyContext, printDot } from '../../services/core/versioning/causal-context.ts';
import { merge, replicaEntriesMax } from '../../services/core/versioning/record.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { turns } from './time.ts';

/** A cluster and the homes of `cart`; the first one coordinates. */
function setup(options: Parameters<typeof createCluster>[0] = {}): [Cluster, TestNode, TestNode, TestNode] {
  const cluster = createCluster(options);
  const [first, second, third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  return [cluster, first, second, third];
}

async function heldValues(cluster: Cluster, at: TestNode): Promise<string[]> {
  const record = await cluster.held(at, 'cart');
  return (record?.siblings ?? []).map(({ value }) => Buffer.from(value).toString()).sort();
}

test('a put is on all three homes, and its receipt names who had it on disk at the answer', async () => {
  const [cluster, first, second, third] = setup();
  const { receipt, siblings } = await stored(cluster.run(first, put('cart', 'apples')));
  assert.equal(siblings, 1);
  assert.deepEqual(receipt?.ring, { term: 1n, sequence: 4n });
  const acks = receipt?.acks ?? [];
  assert.ok(acks.length >= 2 && acks.every(({ durable, hintedFor }) => durable && hintedFor === ''));
  assert.ok(acks.every(({ nodeId, zone }) => zone === `z${nodeId.slice(1)}`));
  await turns();
  for (const home of [first, second, third]) {
    assert.deepEqual(await heldValues(cluster, home), ['apples']);
    const record = await cluster.held(home, 'cart');
    assert.equal(record?.siblings[0] && printDot(record.siblings[0].dot), receipt?.dot);
  }
});

test('P1: an acknowledged put survives the power loss of every node', async () => {
  const [cluster, first] = setup();
  const { receipt } = await stored(cluster.run(first, put('cart', 'apples')));
  for (const { nodeId } of receipt?.acks ?? []) {
    const acked = cluster.nodes.find(({ id }) => id === nodeId) as TestNode;
    assert.equal(acked.disk.uncertainWrites, 0);
  }
});

for (const w of [1, 2, 3]) {
  test(`w = ${w}: the answer comes with ${w} acknowledgements, not before and not much later`, async () => {
    const [cluster, first, second, third] = setup();
    // Those beyond w are silent; with w of them it is answered all the same.
    for (const home of [first, second, third].slice(w)) home.answers = 'never';
    const { receipt } = await stored(cluster.run(first, put('cart', 'v', { w })));
    assert.equal(receipt?.acks.length, w);
    // With one less it is not.
    (w === 1 ? first : ([first, second, third][w - 1] as TestNode)).answers = 'never';
    if (w === 1) first.stalledDisk = [];
    const late = failureOf(cluster.run(first, put('cart', 'v', { w })));
    await turns();
    cluster.clock.advance(1_100);
    assert.equal((await late).reason, 'DEADLINE');
  });
}

test('P8: with one home known to be down a put goes on with the other two, and does not ask it', async () => {
  const [cluster, first, second] = setup();
  second.reachable = false;
  await stored(cluster.run(first, put('cart', 'v')));
  assert.deepEqual(second.calls, []);
});

test('a put that not enough homes can take is refused before it is written, with both numbers', async () => {
  const [cluster, first, second, third] = setup();
  second.reachable = false;
  third.reachable = false;
  const failure = await failureOf(cluster.run(first, put('cart', 'v')));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
  assert.match(failure.message, /2 of 3 replicas wanted, 1 reached/);
  assert.equal(failure.details.receipt, undefined);
  assert.equal(await cluster.held(first, 'cart'), undefined);
  await stored(cluster.run(first, put('cart', 'v', { w: 1 })));
});

test('a put whose other homes fail it has an unknown outcome, and says what it had reached', async () => {
  const [cluster, first, second, third] = setup();
  second.answers = 'no';
  third.answers = 'no';
  const failure = await failureOf(cluster.run(first, put('cart', 'v')));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'UNKNOWN']);
  assert.match(failure.message, /2 of 3 replicas wanted, [01] reached/);
  assert.ok(failure.details.receipt !== undefined);
  await turns();
  assert.deepEqual(await heldValues(cluster, first), ['v'], 'and indeed it is there');
});

test('a put whose deadline has passed is refused before anything is written', async () => {
  const [cluster, first] = setup();
  const failure = await failureOf(cluster.run(first, put('cart', 'v'), { timeoutMs: 0 }));
  assert.deepEqual([failure.reason, failure.outcome], ['DEADLINE', 'NOT_APPLIED']);
  assert.equal(await cluster.held(first, 'cart'), undefined);
});

test('a put whose homes are silent has an unknown outcome at its deadline, with the count of those that were not', async () => {
  const [cluster, first, second, third] = setup();
  second.answers = 'never';
  third.answers = 'never';
  const failing = failureOf(cluster.run(first, put('cart', 'v')));
  await turns();
  cluster.clock.advance(1_100);
  const failure = await failing;
  assert.deepEqual([failure.reason, failure.outcome], ['DEADLINE', 'UNKNOWN']);
  assert.match(failure.message, /1 of 2 replicas had acknowledged/);
  assert.deepEqual(
    failure.details.receipt?.acks.map(({ nodeId }) => nodeId),
    [first.id],
  );
});

test('a put that still waits for its own record at its deadline is answered then, and is never applied after', async () => {
  const [cluster, first, second, third] = setup();
  first.stalledDisk = [];
  const failing = failureOf(cluster.run(first, put('cart', 'v')));
  await turns();
  cluster.clock.advance(1_100);
  const failure = await failing;
  assert.deepEqual([failure.reason, failure.outcome], ['DEADLINE', 'NOT_APPLIED']);
  const stalled = first.stalledDisk;
  first.stalledDisk = undefined;
  for (const run of stalled) run();
  await turns();
  for (const home of [first, second, third]) assert.equal(await cluster.held(home, 'cart'), undefined);
});

test('a peer that left the ring in the meantime counts as one that failed, and the others still acknowledge', async () => {
  const [cluster, first, second] = setup();
  const { peers } = first.node;
  const { replica } = peers;
  Object.assign(peers, {
    replica(nodeId: string) {
      if (nodeId === second.id) throw new Error(`node ${nodeId} is not in the ring`);
      return replica(nodeId);
    },
  });
  const { receipt } = await stored(cluster.run(first, put('cart', 'v')));
  assert.equal(receipt?.acks.length, 2);
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['v']);
});

test('P3: two puts from one context become siblings, and a put from both contexts joined replaces both', async () => {
  const [cluster, first, second] = setup();
  const { context } = await stored(cluster.run(first, put('cart', 'base')));
  await stored(cluster.run(first, put('cart', 'a', { context })));
  const { siblings } = await stored(cluster.run(second, put('cart', 'b', { context })));
  assert.equal(siblings, 2);
  const read = await gotten(cluster.run(first, get('cart')));
  assert.deepEqual(valuesOf(read), ['a', 'b']);
  const after = await stored(cluster.run(second, put('cart', 'a+b', { context: read.context })));
  assert.equal(after.siblings, 1);
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['a+b']);
});

test('the context that a put answers with covers no sibling that its client has not seen', async () => {
  const [cluster, first] = setup();
  await stored(cluster.run(first, put('cart', 'theirs')));
  const mine = await stored(cluster.run(first, put('cart', 'mine')));
  await stored(cluster.run(first, put('cart', 'mine, again', { context: mine.context })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['mine, again', 'theirs']);
});

test('P2: a delete removes what its context covers, leaves what it does not, and says how many those are', async () => {
  const [cluster, first, second] = setup();
  const seen = await stored(cluster.run(first, put('cart', 'seen')));
  await stored(cluster.run(second, put('cart', 'unseen')));
  const { siblings, context } = await removed(cluster.run(first, remove('cart', seen.context)));
  assert.equal(siblings, 1);
  assert.ok(context.length > 0);
  assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart')))), ['unseen']);
  const read = await gotten(cluster.run(first, get('cart')));
  assert.equal((await removed(cluster.run(second, remove('cart', read.context)))).siblings, 0);
  await turns();
  for (const home of cluster.homes('cart')) assert.deepEqual(await heldValues(cluster, home), []);
});

test('P4: a replica message that arrives after the delete does not bring the value back', async () => {
  const [cluster, first, second] = setup();
  await stored(cluster.run(first, put('cart', 'v')));
  await turns();
  const late = await first.node.replica.read({ key: cluster.storageKey('cart'), deadline: 10_000 });
  const read = await gotten(cluster.run(first, get('cart')));
  await removed(cluster.run(first, remove('cart', read.context)));
  await turns();
  const message = {
    key: cluster.storageKey('cart'),
    record: late as Uint8Array,
    sync: true,
    era: 0,
    hintedFor: '',
    deadline: 10_000,
  };
  await second.node.replica.write(message);
  assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart', { r: 3 })))), []);
});

test('P5: a retry with the same request id at the same coordinator makes no second sibling', async () => {
  const [cluster, first] = setup();
  const requestId = Buffer.from('id');
  const one = await stored(cluster.run(first, put('cart', 'v', { requestId })));
  const two = await stored(cluster.run(first, put('cart', 'v', { requestId, attempt: 1 })));
  assert.equal(two.receipt?.dot, one.receipt?.dot);
  assert.equal(two.siblings, 1);
  assert.deepEqual(two.context, one.context);
  assert.equal((await cluster.held(first, 'cart'))?.siblings.length, 1);
});

test('P5: a retry completes a write that had reached only its coordinator', async () => {
  const [cluster, first, second, third] = setup();
  const requestId = Buffer.from('id');
  second.answers = 'no';
  third.answers = 'no';
  await failureOf(cluster.run(first, put('cart', 'v', { requestId })));
  second.answers = 'yes';
  third.answers = 'yes';
  await stored(cluster.run(first, put('cart', 'v', { requestId, attempt: 1, w: 3 })));
  for (const home of [first, second, third]) assert.deepEqual(await heldValues(cluster, home), ['v']);
});

test('P5: two attempts that met two coordinators are one value to every reader', async () => {
  const [cluster, first, second] = setup();
  const requestId = Buffer.from('id');
  second.answers = 'no';
  await stored(cluster.run(first, put('cart', 'v', { requestId })));
  second.answers = 'yes';
  await stored(cluster.run(second, put('cart', 'v', { requestId, attempt: 1 })));
  await turns();
  const read = await gotten(cluster.run(first, get('cart', { r: 3 })));
  assert.deepEqual(valuesOf(read), ['v']);
  await stored(cluster.run(first, put('cart', 'w', { context: read.context })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(second, get('cart', { r: 3 })))), ['w']);
});

test('REQUEST_ID_REUSED: a request id that lives with another value is refused, and nothing is written', async () => {
  const [cluster, first] = setup();
  const requestId = Buffer.from('id');
  await stored(cluster.run(first, put('cart', 'one', { requestId })));
  const failure = await failureOf(cluster.run(first, put('cart', 'three', { requestId })));
  assert.deepEqual(
    [failure.reason, failure.outcome, failure.details.field],
    ['REQUEST_ID_REUSED', 'NOT_APPLIED', 'request_id'],
  );
  assert.deepEqual(await heldValues(cluster, first), ['one']);
});

test('siblings that nobody resolves stop growing at the size of a record, and can always be replaced', async () => {
  const [cluster, first] = setup();
  const megabyte = Buffer.alloc(1024 * 1024, 1);
  let failure: Awaited<ReturnType<typeof failureOf>> | undefined;
  let count = 0;
  for (; failure === undefined && count < 20; count++) {
    await cluster.run(first, put('cart', megabyte, { w: 1 })).catch((error) => {
      failure = error;
    });
  }
  assert.deepEqual([failure?.reason, failure?.outcome], ['VALUE_TOO_LARGE', 'NOT_APPLIED']);
  assert.match(failure?.message ?? '', /16777216/);
  assert.equal(count, 16);
  const read = await gotten(cluster.run(first, get('cart')));
  await stored(cluster.run(first, put('cart', 'all in one', { context: read.context })));
  assert.deepEqual(valuesOf(await gotten(cluster.run(first, get('cart')))), ['all in one']);
});

for (const [what, wallNow] of [
  ['before 1970', () => -86_399_999],
  ['with fractions of milliseconds', () => 1_700_000_000_000.5],
  ['far in the future', () => 8.64e15],
  ['that is broken', () => Number.NaN],
] as const) {
  test(`P11: a coordinator with a wall clock ${what} writes records that can be read`, async () => {
    const [cluster, first, , third] = setup({ wallNow });
    await stored(cluster.run(first, put('cart', 'v', { w: 3 })));
    const { siblings } = await gotten(cluster.run(third, get('cart', { r: 3 })));
    assert.deepEqual(
      siblings.map(({ value }) => value.toString()),
      ['v'],
    );
    assert.ok((siblings[0]?.writtenAtMs ?? -1n) >= 0n);
  });
}

test('a coordinator whose disk has just failed acknowledges no more, though two others would', async () => {
  const [cluster, first] = setup();
  await stored(cluster.run(first, put('cart', 'v')));
  first.disk.failWrites(new Error('EIO'));
  await cluster.run(first, put('cart', 'w')).catch(() => {});
  const failure = await failureOf(cluster.run(first, put('cart', 'x')));
  assert.equal(failure.reason, 'STORAGE_FAILED');
});

test('births: dots go on counting while the process lives, and begin anew when births are not trusted any more', async () => {
  const [cluster, first] = setup();
  const dots: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { receipt } = await stored(cluster.run(first, put('cart', `${i}`)));
    dots.push(receipt?.dot ?? '');
    if (i === 1) first.engine.renewLineage();
  }
  const [a, b, c] = dots.map((dot) => dot.split(':')) as [string[], string[], string[]];
  assert.deepEqual([a[0], a[1], b[1]], [b[0], '1', '2']);
  assert.notEqual(c[0], a[0]);
  assert.equal(c[1], '1');
});

test('a hundred writers at three coordinators at once lose nothing', async () => {
  const [cluster, ...homes] = setup();
  const values = Array.from({ length: 100 }, (_, i) => `value ${i}`);
  await Promise.all(values.map((value, i) => stored(cluster.run(homes[i % 3] as TestNode, put('cart', value)))));
  await turns();
  const records = await Promise.all(homes.map((home) => cluster.held(home, 'cart')));
  const merged = records.map((record) => record ?? { clock: emptyContext, siblings: [] }).reduce(merge);
  assert.deepEqual(merged.siblings.map(({ value }) => Buffer.from(value).toString()).sort(), values.toSorted());
});

/** Two siblings under a clock that is full, which the first home has missed: one on the second, one on the third. */
async function siblingsThatTheFirstMissed(key: string): Promise<[Cluster, TestNode, TestNode, TestNode]> {
  const cluster = createCluster();
  const [first, second, third] = cluster.homes(key) as [TestNode, TestNode, TestNode];
  first.reachable = false;
  let context = (await stored(cluster.run(second, put(key, 'old')))).context;
  for (let i = 0; i < 12; i++) {
    await turns();
    second.engine.renewLineage();
    context = (await stored(cluster.run(second, put(key, `old ${i}`, { context })))).context;
  }
  await turns();
  for (const [home, other, value] of [
    [second, third, 'left'],
    [third, second, 'right'],
  ] as const) {
    other.reachable = false;
    home.engine.renewLineage();
    await stored(cluster.run(home, put(key, value, { context, w: 1 })));
    other.reachable = true;
  }
  first.reachable = true;
  return [cluster, first, second, third];
}

test('P2: what a put covers stays away, though its coordinator has missed all of it and has to cut its clock', async () => {
  const comeBack: string[] = [];
  for (let i = 0; i < 40; i++) {
    const key = `cart ${i}`;
    const [cluster, first, second, third] = await siblingsThatTheFirstMissed(key);
    first.reachable = false;
    const read = await gotten(cluster.run(second, get(key)));
    assert.deepEqual(valuesOf(read), ['left', 'right']);
    // Nothing was mended yet, as where the reader's coordinator died.
    first.reachable = true;
    await stored(cluster.run(first, put(key, 'merged', { context: read.context })));
    await turns();
    for (const home of [first, second, third]) {
      const values = valuesOf(await gotten(cluster.run(home, get(key, { r: 3 }))));
      if (values.length !== 1) comeBack.push(`${key}: ${values}`);
    }
  }
  assert.deepEqual(comeBack, []);
});

test('P2: more siblings than a clock has entries are resolved at a home that had none of them', async () => {
  const [cluster, first, second, third] = setup();
  first.reachable = false;
  for (let i = 0; i < 16; i++) {
    second.engine.renewLineage();
    await stored(cluster.run(second, put('cart', `s${i}`)));
    await turns();
  }
  const { context } = await gotten(cluster.run(second, get('cart')));
  first.reachable = true;
  const { siblings } = await stored(cluster.run(first, put('cart', 'merged', { context })));
  assert.equal(siblings, 1);
  await turns();
  for (const home of [first, second, third]) {
    assert.deepEqual(valuesOf(await gotten(cluster.run(home, get('cart', { r: 3 })))), ['merged']);
  }
});

test('P14: clocks stay bounded on every home, though one home alone coordinates, under ever new births', async () => {
  const [cluster, first, second, third] = setup();
  for (let i = 0; i < 100; i++) {
    first.engine.renewLineage();
    // With what the others still remember of what the first has cut.
    const { context } = await gotten(cluster.run(first, get('cart', { r: 3 })));
    await stored(cluster.run(first, put('cart', `v${i}`, { context })));
    await turns();
  }
  for (const home of [first, second, third]) {
    const entries = (await cluster.held(home, 'cart'))?.clock.length ?? 0;
    assert.ok(entries <= replicaEntriesMax + 2, `${entries} entries`);
  }
});
