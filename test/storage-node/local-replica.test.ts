/** What a node does for coordinators with its own copy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../services/core/codec/bytes.ts';
import { recordChecksum } from '../../services/core/codec/record.ts';
import { emptyRecord, merge } from '../../services/core/versioning/record.ts';
import { run, steps } from '../core/versioning-model.ts';
import { createCluster } from './cluster.ts';
import { failureOf, put, stored } from './requests.ts';

const key = createCluster().storageKey('cart');
const deadline = 1_000;

test('records of a history, in any order and as often as they come, leave what their merge is', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.array(fc.nat(), { minLength: 1, maxLength: 12 }), async (history, picks) => {
      const { states } = run(history, 10);
      const [{ node }] = createCluster().nodes as [ReturnType<typeof createCluster>['nodes'][0]];
      const sent = picks.map((i) => states[i % states.length] ?? emptyRecord);
      await Promise.all(
        sent.map((record) =>
          node.replica.write({ key, record: node.records.encode(record), era: 0, sync: true, hintedFor: '', deadline }),
        ),
      );
      const bytes = await node.replica.read({ key, deadline });
      const wanted = sent.reduce(merge);
      if (wanted.clock.length === 0) return;
      assert.deepEqual(Buffer.from(bytes as Uint8Array), Buffer.from(node.records.encode(wanted)));
    }),
    { numRuns: 60 },
  );
});

test('a record that brings nothing new is acknowledged and not written again', async () => {
  const cluster = createCluster();
  const { node, metrics } = cluster.node(0);
  await stored(cluster.run(cluster.node(0), put('cart', 'v', { w: 3 })));
  const record = (await node.replica.read({ key, deadline })) as Uint8Array;
  const before = metrics.valueOf('cartwheel_commit_records_total');
  await node.replica.write({ key, record: Uint8Array.from(record), era: 0, sync: true, hintedFor: '', deadline });
  assert.equal(metrics.valueOf('cartwheel_commit_records_total'), before);
});

test('a replica keeps its own birth when it takes the records of others', async () => {
  const cluster = createCluster();
  const [first, second] = cluster.nodes as [ReturnType<typeof cluster.node>, ReturnType<typeof cluster.node>];
  const one = await stored(cluster.run(first, put('cart', 'a', { w: 3 })));
  await stored(cluster.run(second, put('cart', 'b', { w: 3 })));
  const three = await stored(cluster.run(first, put('cart', 'c', { w: 3 })));
  const [actor] = (one.receipt?.dot ?? '').split(':');
  assert.equal(three.receipt?.dot, `${actor}:2`);
});

test('a record that comes after its deadline is refused, and not merged', async () => {
  const { node } = createCluster().node(0);
  const failure = await failureOf(
    node.replica.write({
      key,
      record: node.records.encode(emptyRecord),
      era: 0,
      sync: true,
      hintedFor: '',
      deadline: 0,
    }),
  );
  assert.equal(failure.reason, 'DEADLINE');
});

test('P12: a record of a peer that is damaged or cut short is refused, and what is kept stays', async () => {
  const cluster = createCluster();
  const { node } = cluster.node(0);
  await stored(cluster.run(cluster.node(0), put('cart', 'v', { w: 3 })));
  const record = Buffer.from((await node.replica.read({ key, deadline })) as Uint8Array);
  for (const damaged of [
    record.subarray(0, -1),
    record.subarray(0, 3),
    Buffer.alloc(0),
    Buffer.concat([record, record]),
  ]) {
    await assert.rejects(
      node.replica.write({ key, record: damaged, era: 0, sync: true, hintedFor: '', deadline }),
      Malformed,
    );
  }
  assert.deepEqual(Buffer.from((await node.replica.read({ key, deadline })) as Uint8Array), record);
});

test('a scan gives keys of the namespace and prefix with checksum and count of values, a page at a time', async () => {
  const cluster = createCluster();
  const { node } = cluster.node(0);
  for (const name of ['a/1', 'a/2', 'a/2', 'b/1']) await stored(cluster.run(cluster.node(0), put(name, 'v', { w: 3 })));
  const range = {
    start: new Uint8Array(8),
    end: undefined,
    namespace: 'default',
    prefix: Buffer.from('a/'),
    limit: 100,
  };
  const { keys, next } = await node.replica.scan(range);
  assert.equal(next, undefined);
  assert.deepEqual(
    keys.map(({ key: name, siblings }) => [Buffer.from(name).subarray(-3).toString(), siblings]).sort(),
    [
      ['a/1', 1],
      ['a/2', 2],
    ],
  );
  for (const { key: name, checksum } of keys) {
    assert.equal(checksum, recordChecksum((await node.replica.read({ key: name, deadline })) as Uint8Array));
  }
  assert.deepEqual((await node.replica.scan({ ...range, namespace: 'other' })).keys, []);
  let found = 0;
  let start: Uint8Array | undefined = range.start;
  while (start !== undefined) {
    const page = await node.replica.scan({ ...range, start, limit: 1 });
    found += page.keys.length;
    start = page.next;
  }
  assert.equal(found, 2);
});
