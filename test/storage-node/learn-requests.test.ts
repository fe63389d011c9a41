/** What a node learns of the requests that others remember, and what that costs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import type { RememberedRequest } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { hashOfStorageKey } from '../../services/core/ring/storage-key.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { encodeRequest } from '../../services/storage-node/beside-records.ts';
import { keysOfHashes, learnRequests } from '../../services/storage-node/learn-requests.ts';
import { prefixOfHash } from '../../services/storage-node/request-table.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, remove, removed, stored } from './requests.ts';

const keyNames = Array.from({ length: 40 }, (_, i) => `key ${i}`);

/** Each key is written twice under a request at one node, which alone remembers them; all three have the records. */
async function remembered(): Promise<{ cluster: Cluster; told: RememberedRequest[]; learner: TestNode }> {
  const cluster = createCluster();
  const [teller, learner, third] = cluster.nodes as [TestNode, TestNode, TestNode];
  for (const node of [learner, third]) node.answers = 'no';
  for (const name of keyNames) {
    for (const i of [1, 2]) {
      const { context } = await gotten(cluster.run(teller, get(name, { r: 1 })));
      await stored(cluster.run(teller, put(name, `v${i}`, { context, requestId: Buffer.from(`${name} ${i}`), w: 1 })));
    }
  }
  // What is on its way to them still is not to come.
  for (let i = 0; i < 10; i++) await turn();
  for (const node of [learner, third]) node.answers = 'yes';
  const { requests } = await teller.node.requests.list({ start: Buffer.alloc(8), end: undefined }, undefined);
  return { cluster, told: requests.map(encodeRequest), learner };
}

async function giveRecords(cluster: Cluster, to: TestNode, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const key = cluster.storageKey(name);
    const record = (await cluster.node(0).node.store.read(key)) as Uint8Array;
    await to.node.replica.write({ key, record, era: 0, sync: true, hintedFor: '', deadline: 1_000_000 });
  }
}

/** What was asked to be admitted. */
function counted(): { readonly admitted: number[]; admit(requests: number): Promise<void> } {
  const admitted: number[] = [];
  return { admitted, admit: async (requests) => void admitted.push(requests) };
}

test('what is known already is neither paid for, nor looked for, nor written', async () => {
  const { cluster, told, learner } = await remembered();
  assert.equal(told.length, 80);
  await giveRecords(cluster, learner, keyNames);
  const first = counted();
  const all = [...told.keys()];
  assert.deepEqual(await learnRequests(learner.node, told, first.admit), all);
  assert.deepEqual(first.admitted, [80]);
  const { requests, store } = learner.node;
  const unused = {
    ...learner.node,
    requests: { ...requests, remember: () => assert.fail('it is remembered once more') },
    store: { ...store, scan: () => assert.fail('its record is looked for') },
  };
  const second = counted();
  assert.deepEqual(await learnRequests(unused, told, second.admit), all);
  assert.deepEqual(second.admitted, []);
  assert.equal(learner.metrics.valueOf('cartwheel_requests_remembered'), 80);
});

test('only what the record here has is learned, and what is settled', async () => {
  const { cluster, told, learner } = await remembered();
  await giveRecords(cluster, learner, keyNames.slice(0, 10));
  const settled = told.map((one, i) => ({ ...one, settled: i % 3 === 0 }));
  const learned = await learnRequests(learner.node, settled, counted().admit);
  const here = new Set(keyNames.slice(0, 10).map((name) => hashOfStorageKey(cluster.storageKey(name))));
  assert.deepEqual(
    learned,
    settled.flatMap((one, i) => (one.settled || here.has(one.hash) ? [i] : [])),
  );
  for (const [i, { hash, id }] of settled.entries()) {
    const found = await learner.node.requests.find(prefixOfHash(hash), id);
    assert.equal(found !== undefined, learned.includes(i));
    if (found !== undefined) assert.equal(found.isSettled, i % 3 === 0);
  }
});

test('what was learned is on the disk', async () => {
  const { cluster, told, learner } = await remembered();
  await giveRecords(cluster, learner, keyNames);
  await learnRequests(learner.node, told, counted().admit);
  learner.disk.crash();
  const engine = openMemoryEngine(learner.disk, { random: { u64: () => 1n, below: () => 0 } });
  const { entries } = await engine.scan('requests', new Uint8Array(0), undefined, 1_000);
  assert.equal(entries.length, 80);
});

test('a request is learned once the record has come that its write made', async () => {
  const { cluster, told, learner } = await remembered();
  assert.deepEqual(await learnRequests(learner.node, told, counted().admit), []);
  await giveRecords(cluster, learner, keyNames);
  assert.equal((await learnRequests(learner.node, told, counted().admit)).length, 80);
});

test('a record that is gone by the time is no reason to remember its request', async () => {
  const { cluster, told, learner } = await remembered();
  await giveRecords(cluster, learner, keyNames);
  const [name = ''] = keyNames;
  const hash = hashOfStorageKey(cluster.storageKey(name));
  const drop = async () => {
    const { committed } = await learner.node.store.change(
      cluster.storageKey(name),
      (held) => ({ copy: { ...held, bytes: undefined, record: { ...held.record, clock: [], siblings: [] } } }),
      true,
    );
    await committed;
  };
  // After the look that finds its key.
  const scan: typeof learner.node.store.scan = async (...asked) => {
    const page = await learner.node.store.scan(...asked);
    await drop();
    return page;
  };
  const learned = await learnRequests(
    { ...learner.node, store: { ...learner.node.store, scan } },
    told,
    counted().admit,
  );
  assert.deepEqual(
    learned.map((i) => told[i]?.hash === hash),
    Array.from({ length: 78 }, () => false),
  );
});

test('the keys of hashes are found whatever lies between, each once, as by a look for each', async () => {
  const scenario = fc.record({
    // 0 to 3 records a hash, some hashes wanted; runs of hashes, so that pages grow and shrink.
    records: fc.array(fc.nat({ max: 3 }), { maxLength: 600 }),
    wanted: fc.func<[number], number>(fc.double({ min: 0, max: 1, noNaN: true })),
    share: fc.constantFrom(0.005, 0.1, 0.5, 1),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ records, wanted, share }) => {
      const engine = openMemoryEngine(createMemoryDisk(), { random: { u64: () => 1n, below: () => 0 } });
      const keys = records.flatMap((count, hash) =>
        Array.from({ length: count }, (_, i) => Buffer.concat([prefixOfHash(BigInt(hash)), Buffer.from(`ns\0${i}`)])),
      );
      await engine.write(
        keys.map((key) => ({ space: 'records', key, value: Buffer.from('v') })),
        true,
      );
      const hashes = records.flatMap((_, hash) => (wanted(hash) <= share ? [BigInt(hash)] : []));
      let scans = 0;
      const scan = (start: Uint8Array, end: Uint8Array | undefined, limit: number) => {
        scans++;
        assert.ok(Number.isInteger(limit), `a page of ${limit}`);
        return engine.scan('records', start, end, limit);
      };
      const found: string[] = [];
      for await (const page of keysOfHashes({ scan }, hashes))
        found.push(...page.map((key) => Buffer.from(key).toString('latin1')));
      const expected = keys
        .filter((key) => hashes.includes(hashOfStorageKey(key)))
        .map((key) => key.toString('latin1'));
      assert.deepEqual(found, expected);
      assert.ok(scans <= hashes.length, `${scans} looks for ${hashes.length} hashes`);
    }),
    { numRuns: 150 },
  );
});

test('dense hashes are found by few looks', async () => {
  const hashes = Array.from({ length: 2_000 }, (_, hash) => BigInt(hash));
  const engine = openMemoryEngine(createMemoryDisk(), { random: { u64: () => 1n, below: () => 0 } });
  const keys = hashes.map((hash) => Buffer.concat([prefixOfHash(hash), Buffer.from('ns\0key')]));
  await engine.write(
    keys.map((key) => ({ space: 'records', key, value: Buffer.from('v') })),
    true,
  );
  const pages: number[] = [];
  const scan = (start: Uint8Array, end: Uint8Array | undefined, limit: number) =>
    engine.scan('records', start, end, limit);
  for await (const page of keysOfHashes({ scan }, hashes)) pages.push(page.length);
  assert.deepEqual(pages, [256, 256, 256, 256, 256, 256, 256, 208]);
});

test('a deleted key whose tombstone is here is a record that tells', async () => {
  const cluster = createCluster();
  const [teller, learner] = cluster.nodes as [TestNode, TestNode, TestNode];
  const requestId = Buffer.from('request');
  for (const node of cluster.nodes) if (node !== teller) node.answers = 'no';
  await stored(cluster.run(teller, put('cart', 'v', { requestId, w: 1 })));
  for (const node of cluster.nodes) node.answers = 'yes';
  const { context } = await gotten(cluster.run(teller, get('cart', { r: 1 })));
  await removed(cluster.run(teller, remove('cart', context, { w: 3 })));
  const { requests } = await teller.node.requests.list({ start: Buffer.alloc(8), end: undefined }, undefined);
  assert.deepEqual(await learnRequests(learner.node, requests.map(encodeRequest), counted().admit), [0]);
});

test('where the record here is an older one, only what it has is learned', async () => {
  const cluster = createCluster();
  const [teller, learner, third] = cluster.nodes as [TestNode, TestNode, TestNode];
  for (const node of [learner, third]) node.answers = 'no';
  for (const i of [1, 2]) {
    const { context } = await gotten(cluster.run(teller, get('cart', { r: 1 })));
    await stored(cluster.run(teller, put('cart', `v${i}`, { context, requestId: Buffer.from(`${i}`), w: 1 })));
    if (i === 1) await giveRecords(cluster, learner, ['cart']);
  }
  const { requests } = await teller.node.requests.list({ start: Buffer.alloc(8), end: undefined }, undefined);
  const ids = requests.map(({ id }) => Buffer.from(id).toString());
  assert.deepEqual(ids, ['1', '2']);
  assert.deepEqual(await learnRequests(learner.node, requests.map(encodeRequest), counted().admit), [0]);
});
