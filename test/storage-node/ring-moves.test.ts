/** What storage nodes do while a partition moves (docs/ring-changes.md): fences, pending owners, pulls, hand-backs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PutRequest, PutResponse, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { ExchangeRequest } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import type { ScanPage } from '../../services/core/ports.ts';
import { RingMoved } from '../../services/core/quorum/peers.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing, epochOf, type Ring } from '../../services/core/ring/ring.ts';
import { printDot } from '../../services/core/versioning/causal-context.ts';
import { listKeys } from '../../services/storage-node/list-keys.ts';
import { pageRecordsMax } from '../../services/storage-node/record-store.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf } from './requests.ts';
import { pass } from './time.ts';
import { fill } from './whole-scans.ts';

const key = 'cart';

/** The first home of `key` is replaced by a node that is none of them. */
interface Move {
  readonly cluster: Cluster;
  readonly leaving: TestNode;
  readonly staying: readonly TestNode[];
  readonly entering: TestNode;
  /** A node that has no part in it. */
  readonly other: TestNode;
  readonly staged: Ring;
  readonly flipped: Ring;
  readonly settled: Ring;
}

function createMove(partitions?: number): Move {
  const cluster = createCluster({ nodes: 5, ...(partitions !== undefined && { partitions }) });
  const [leaving, ...staying] = cluster.homes(key) as [TestNode, TestNode, TestNode];
  const [entering, other] = cluster.nodes.filter((node) => !cluster.homes(key).includes(node)) as [TestNode, TestNode];
  const { ring } = cluster;
  const partition = partitionOfStorageKey(cluster.storageKey(key), ring.partitions);
  const indexOf = (node: TestNode) => cluster.nodes.indexOf(node);
  const version = (sequence: bigint) => ({ term: 1n, sequence: ring.version.sequence + sequence });
  const row = ring.owners.slice();
  row[partition * ring.replicas] = indexOf(entering);
  const ringOf = (sequence: bigint, owners: Uint16Array, pending: readonly TestNode[]) =>
    createRing({
      ...ring,
      version: version(sequence),
      owners,
      pending: new Map(pending.map((node) => [partition, [indexOf(node)]])),
    });
  return {
    ...{ cluster, leaving, staying, entering, other },
    staged: ringOf(1n, ring.owners, [entering]),
    flipped: ringOf(2n, row, [leaving]),
    settled: ringOf(3n, row, []),
  };
}

const put = (more: Partial<PutRequest> = {}) => ({
  put: {
    ...{
      namespace: '',
      key: Buffer.from(key),
      value: Buffer.from('v'),
      context: Buffer.alloc(0),
      durability: 0 as const,
    },
    ...{ w: 2, requestId: Buffer.alloc(0), attempt: 0, ttl: undefined, require: undefined },
    ...more,
  },
});

async function stored(result: Promise<Omit<Result, 'id'>>): Promise<PutResponse> {
  const { put: response } = await result;
  assert.ok(response);
  return response;
}

const valuesAt = async ({ cluster }: Move, node: TestNode) =>
  ((await cluster.held(node, key))?.siblings ?? []).map(({ value }) => Buffer.from(value).toString()).sort();

test('a write goes to the pending owner too, and its receipt says so', async () => {
  const move = createMove();
  move.cluster.goOver(move.cluster.nodes, move.staged);
  const { receipt } = await stored(move.cluster.run(move.leaving, put({ w: 3 })));
  assert.equal(receipt?.acks.filter(({ pending }) => !pending).length, 3);
  assert.deepEqual(
    receipt?.acks.filter(({ pending }) => pending).map(({ nodeId }) => nodeId),
    [move.entering.id],
  );
  assert.deepEqual(receipt?.pendingMissed, []);
  assert.deepEqual(await valuesAt(move, move.entering), ['v']);
});

test('a pending owner that cannot be reached does not hold a write up; the receipt names it, and it is owed', async () => {
  const move = createMove();
  move.cluster.goOver(move.cluster.nodes, move.staged);
  move.cluster.setReachable(move.entering, false);
  const { receipt } = await stored(move.cluster.run(move.leaving, put({ w: 3 })));
  assert.deepEqual(receipt?.pendingMissed, [move.entering.id]);
  await pass(move.cluster, 100);
  assert.deepEqual(move.leaving.node.hints.nodes(), [move.entering.id]);
  move.cluster.setReachable(move.entering, true);
  await pass(move.cluster, 1_000);
  assert.deepEqual(await valuesAt(move, move.entering), ['v']);
});

test('what is placed by an older ring is refused, and done by the newer one under the same dot', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  cluster.goOver([...staying, entering], move.staged);
  const { receipt, siblings } = await stored(cluster.run(leaving, put({ w: 3 })));
  assert.equal(siblings, 1);
  assert.deepEqual(receipt?.ring, move.staged.version);
  assert.equal(leaving.ring, move.staged);
  assert.deepEqual(await valuesAt(move, entering), ['v']);
  const dots = new Set<string>();
  for (const node of [leaving, ...staying, entering]) {
    for (const { dot } of (await cluster.held(node, key))?.siblings ?? []) dots.add(`${dot.actor}:${dot.counter}`);
  }
  assert.equal(dots.size, 1);
});

test('a read by an older ring is done again by the newer one', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  await stored(cluster.run(leaving, put({ w: 3 })));
  cluster.goOver([...staying, entering], move.flipped);
  await assert.rejects(
    (staying[0] as TestNode).node.replica.read({
      key: cluster.storageKey(key),
      deadline: 1e9,
      epoch: epochOf(cluster.ring.version),
    }),
    RingMoved,
  );
  const get = { namespace: '', key: Buffer.from(key), r: 3, sessionContext: Buffer.alloc(0), maxBytes: 0, dots: [] };
  const answer = await cluster.run(leaving, { get }, { forwarded: true });
  assert.deepEqual(answer.get?.certificate?.ring, move.flipped.version);
});

test('a listing by an older ring reads by the newer one a key of which homes hold different things', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  const [behind] = staying as [TestNode, TestNode];
  cluster.goOver(cluster.nodes, move.staged);
  await stored(cluster.run(leaving, put({ w: 3 })));
  behind.answers = 'no';
  await stored(cluster.run(leaving, put({ value: Buffer.from('other') })));
  behind.answers = 'yes';
  cluster.goOver([...staying, entering], move.flipped);
  const listed: string[] = [];
  const all = { namespace: '', prefix: Buffer.alloc(0), pageToken: Buffer.alloc(0), pageSize: 0 };
  for await (const { entries } of listKeys(leaving.node, all))
    listed.push(...entries.map((each) => each.key.toString()));
  assert.deepEqual(listed, [key]);
  assert.equal(leaving.ring, move.flipped);
});

test('a pending owner pulls from every owner what any of them has, tombstones too, and not by an older ring', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  // One owner alone has the value, another alone the tombstone of another key of the partition.
  for (const node of staying) cluster.setReachable(node, false);
  await stored(cluster.run(leaving, put({ w: 1 })));
  for (const node of staying) node.answers = 'no';
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver([leaving, entering], move.staged);
  await pass(cluster, 3_000);
  const { transfers } = entering.node;
  assert.deepEqual(transfers.pulled(), [], 'two owners do not know the ring');
  assert.deepEqual([...transfers.pulling().values()], [1 / 1.5], 'that of the first owner is most of it');
  assert.deepEqual(await valuesAt(move, entering), ['v']);
  for (const node of staying) {
    node.answers = 'yes';
    cluster.setReachable(node, true);
  }
  await pass(cluster, 3_000);
  assert.deepEqual(entering.node.transfers.pulled(), [], 'they are reached, and know the older ring still');
  cluster.goOver(staying, move.staged);
  await pass(cluster, 3_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.equal(transfers.pulling().size, 0);
});

test('a partition that was given up and staged again is pulled again', async () => {
  const move = createMove();
  const { entering, cluster } = move;
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver(cluster.nodes, move.staged);
  await pass(cluster, 3_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  const again = createRing({ ...move.staged, version: { term: 1n, sequence: move.staged.version.sequence + 2n } });
  cluster.goOver([entering], again);
  assert.deepEqual(entering.node.transfers.pulled(), []);
  await pass(cluster, 3_000);
  assert.deepEqual(entering.node.transfers.pulled(), [], 'its owners do not know of it');
  cluster.goOver(
    cluster.nodes.filter((node) => node !== entering),
    again,
  );
  await pass(cluster, 3_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
});

test('a node that passed over a version goes on where it was, unless the partition was given up and begun again', async () => {
  const move = createMove();
  const { entering, cluster } = move;
  const [partition] = [...move.staged.pending.keys()] as [number];
  const sequence = (more: bigint) => ({ term: 1n, sequence: move.staged.version.sequence + more });
  const stagedIn = (more: bigint, since: bigint) =>
    createRing({
      ...move.staged,
      version: sequence(more),
      pendingSince: new Map([[partition, epochOf(sequence(since))]]),
    });
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver(cluster.nodes, stagedIn(0n, 0n));
  await pass(cluster, 3_000);
  assert.deepEqual(entering.node.transfers.pulled(), [partition]);
  cluster.goOver([entering], stagedIn(3n, 0n));
  assert.deepEqual(entering.node.transfers.pulled(), [partition]);
  assert.equal(entering.node.fences.of(partition), epochOf(sequence(0n)), 'no operation is refused for it');
  cluster.goOver([entering], stagedIn(6n, 5n));
  assert.deepEqual(entering.node.transfers.pulled(), []);
  cluster.goOver(cluster.nodes, stagedIn(7n, 5n));
  await pass(cluster, 3_000);
  assert.deepEqual(entering.node.transfers.pulled(), [partition]);
});

test('what a node is just giving up it does not count as pulled when it comes to take the partition over', async () => {
  const move = createMove();
  const { leaving, entering, cluster } = move;
  for (const { node } of cluster.nodes) node.transfers.start();
  await stored(cluster.run(leaving, put({ w: 3 })));
  await pass(cluster, 3_000);
  const record = (await leaving.node.store.read(cluster.storageKey(key))) as Uint8Array;
  const write = { key: cluster.storageKey(key), record, era: 0, sync: true, deadline: 1e9 };
  cluster.setReachable(leaving, false);
  await entering.node.replica.write({ ...write, hintedFor: leaving.id });
  const { promise: stalled, resolve: goOn } = Promise.withResolvers<void>();
  const { write: toDisk } = entering.engine;
  entering.engine.write = async (...batch) => {
    await stalled;
    return toDisk(...batch);
  };
  cluster.setReachable(leaving, true);
  await pass(cluster, 500);
  assert.equal(await cluster.held(entering, key), undefined, 'its hint is delivered');
  cluster.goOver(cluster.nodes, move.staged);
  await pass(cluster, 3_000);
  assert.deepEqual(entering.node.transfers.pulled(), [], 'on its disk the record is there still, and about to go');
  goOn();
  await pass(cluster, 3_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.deepEqual(await valuesAt(move, entering), ['v']);
});

test('a record that is listed and does not come, because it is not whole by then, is waited for', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  for (const node of staying) cluster.setReachable(node, false);
  await stored(cluster.run(leaving, put({ w: 1 })));
  for (const node of staying) cluster.setReachable(node, true);
  const { exchange } = leaving.node.replica;
  let isDamaged = true;
  Object.assign(leaving.node.replica, {
    async exchange(request: ExchangeRequest) {
      const answer = await exchange(request);
      return request.fetch !== undefined && isDamaged ? { ...answer, records: [Buffer.alloc(0)] } : answer;
    },
  });
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver(cluster.nodes, move.staged);
  await pass(cluster, 5_000);
  assert.deepEqual(entering.node.transfers.pulled(), []);
  isDamaged = false;
  await pass(cluster, 5_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.deepEqual(await valuesAt(move, entering), ['v']);
});

test('an old owner hands back what an owner lacks, and only then drops it', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  for (const node of staying) cluster.setReachable(node, false);
  await stored(cluster.run(leaving, put({ w: 1 })));
  for (const { node } of cluster.nodes) node.transfers.start();
  for (const node of cluster.nodes) cluster.setReachable(node, true);
  cluster.setReachable(entering, false);
  cluster.goOver(cluster.nodes, move.settled);
  await pass(cluster, 5_000);
  assert.deepEqual(await valuesAt(move, leaving), ['v'], 'an owner cannot be reached');
  cluster.setReachable(entering, true);
  await pass(cluster, 5_000);
  assert.equal(await cluster.held(leaving, key), undefined);
  for (const node of [entering, ...staying]) assert.deepEqual(await valuesAt(move, node), ['v']);
});

test('many records are pulled, and handed back, page by page, and all are where they belong afterwards', async () => {
  const move = createMove(1);
  const { leaving, staying, entering, cluster } = move;
  const count = 2 * pageRecordsMax + 50;
  await fill(leaving.node, count, 10);
  const asked = { listRecords: 0, fetch: 0, checkRecords: 0 };
  for (const { node } of [leaving, ...staying, entering]) {
    const { exchange } = node.replica;
    Object.assign(node.replica, {
      exchange(request: ExchangeRequest) {
        for (const kind of ['listRecords', 'fetch', 'checkRecords'] as const) if (request[kind]) asked[kind]++;
        return exchange(request);
      },
    });
  }
  const countAt = async ({ node }: TestNode) => {
    let records = 0;
    await node.store.flush();
    for (let from: Uint8Array | undefined = new Uint8Array(0); from !== undefined; ) {
      const page: ScanPage = await node.store.scan(from, undefined);
      records += page.entries.length;
      from = page.next;
    }
    return records;
  };
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver(cluster.nodes, move.staged);
  await pass(cluster, 5_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.equal(await countAt(entering), count);
  assert.deepEqual(asked, { listRecords: 3 + 2, fetch: 3, checkRecords: 0 }, 'one page of each owner that has nothing');
  cluster.goOver(cluster.nodes, move.flipped);
  cluster.goOver(cluster.nodes, move.settled);
  await pass(cluster, 10_000);
  assert.equal(await countAt(leaving), 0);
  for (const node of [entering, ...staying]) assert.equal(await countAt(node), count);
  assert.equal(asked.checkRecords, 3 * 3);
});

test('what comes to be taken over while much is handed back is pulled before the rest of that', async () => {
  const { cluster, entering, staged } = createMove();
  await fill(entering.node, 200, 10);
  const asked: string[] = [];
  for (const { node } of cluster.nodes.filter((node) => node !== entering)) {
    const { exchange } = node.replica;
    Object.assign(node.replica, {
      exchange(request: ExchangeRequest) {
        if (request.checkRecords !== undefined) asked.push('hand-back');
        if (request.listRecords !== undefined) asked.push('transfer');
        if (asked.length === 1) cluster.goOver(cluster.nodes, staged);
        return exchange(request);
      },
    });
  }
  entering.node.transfers.start();
  await pass(cluster, 20_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.equal(asked.indexOf('transfer'), 3, 'the owners of one partition are asked to take what is left of it');
  assert.ok(asked.lastIndexOf('hand-back') > asked.lastIndexOf('transfer'));
});

test('what is owed to a home that has left is handed back to those that own it now', async () => {
  const move = createMove();
  const { leaving, staying, entering, other, cluster } = move;
  for (const node of [leaving, ...staying]) cluster.setReachable(node, false);
  await stored(cluster.run(other, put({ w: 1 }), { forwarded: true }));
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 500);
  cluster.goOver(cluster.nodes, move.settled);
  for (const node of [leaving, ...staying]) cluster.setReachable(node, true);
  await pass(cluster, 6_000);
  for (const node of [entering, ...staying]) assert.deepEqual(await valuesAt(move, node), ['v'], node.id);
  assert.equal(await cluster.held(other, key), undefined);
  assert.equal(await cluster.held(leaving, key), undefined);
  assert.deepEqual(other.node.hints.nodes(), []);
});

test('a partition that the disk has not the room for is not pulled, and it is said why, until there is room', async () => {
  const move = createMove();
  const { leaving, entering, cluster } = move;
  await stored(cluster.run(leaving, put({ w: 3 })));
  const { stats } = entering.engine;
  let freeBytes = 3;
  entering.engine.stats = () => ({ ...stats(), freeBytes });
  for (const { node } of cluster.nodes) node.transfers.start();
  cluster.goOver(cluster.nodes, move.staged);
  await pass(cluster, 5_000);
  assert.deepEqual(entering.node.transfers.pulled(), []);
  assert.match(
    entering.node.transfers.waitsFor(),
    new RegExp(`^partition \\d takes \\d+ bytes more on the disk of node ${entering.id}, and 3 are free$`),
  );
  assert.equal(await cluster.held(entering, key), undefined);
  freeBytes = 1_000_000;
  await pass(cluster, 5_000);
  assert.equal(entering.node.transfers.pulled().length, 1);
  assert.equal(entering.node.transfers.waitsFor(), '');
  assert.deepEqual(await valuesAt(move, entering), ['v']);
});

test('in a strict namespace a coordinator that is no home any more does not count; a home completes the write', async () => {
  const move = createMove();
  const { leaving, staying, entering, cluster } = move;
  cluster.namespaces.set('default', { ...builtInNamespace, version: 1, strict: true });
  cluster.goOver([...staying, entering], move.flipped);
  (staying[0] as TestNode).calls.length = 0;
  const requestId = Buffer.from('a request');
  const failure = await failureOf(cluster.run(leaving, put({ requestId, w: 2 })));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'UNKNOWN']);
  const { receipt } = await stored(cluster.run(entering, put({ requestId, attempt: 1, w: 3 })));
  assert.ok(receipt?.acks.every(({ hintedFor }) => hintedFor === ''));
  const dots = new Set((await cluster.held(entering, key))?.siblings.map(({ dot }) => printDot(dot)));
  assert.deepEqual(dots, new Set([receipt?.dot]));
  assert.deepEqual(await valuesAt(move, leaving), ['v']);
});

test('a node that leaves and has nothing in hand any more takes nothing for others, and coordinates nothing', async () => {
  const cluster = createCluster({ nodes: 5 });
  const homes = cluster.homes(key);
  const fallback = cluster.nodes.find((node) => !homes.includes(node)) as TestNode;
  const index = cluster.nodes.indexOf(fallback);
  const others = cluster.nodes.map((_, i) => i).filter((i) => i !== index);
  const { ring } = cluster;
  const owners = ring.owners.slice();
  for (let partition = 0; partition < ring.partitions; partition++) {
    const row = owners.subarray(partition * 3, partition * 3 + 3);
    const instead = others.find((i) => !row.includes(i)) as number;
    row.forEach((owner, i) => {
      if (owner === index) row[i] = instead;
    });
  }
  const nodes = ring.nodes.map((node) => (node.index === index ? { ...node, status: 'LEAVING' as const } : node));
  const emptied = createRing({ ...ring, version: { term: 1n, sequence: 9n }, owners, nodes });
  const [home] = homes as [TestNode];
  await stored(cluster.run(home, put({ w: 3 })));
  const record = (await home.node.store.read(cluster.storageKey(key))) as Uint8Array;
  const write = { key: cluster.storageKey(key), record, era: 0, sync: true, hintedFor: home.id, deadline: 1e9 };

  // What it was asked before it knew the ring, and comes to only afterwards.
  fallback.stalledDisk = [];
  const coordinated = failureOf(cluster.run(fallback, put(), { forwarded: true }));
  const kept = failureOf(fallback.node.replica.write(write));
  cluster.goOver([fallback], emptied);
  const stalled = fallback.stalledDisk;
  fallback.stalledDisk = undefined;
  await new Promise(setImmediate);
  for (const run of stalled) run();
  assert.equal((await kept).reason, 'NOT_ENOUGH_REPLICAS');
  assert.equal((await coordinated).reason, 'NOT_ENOUGH_REPLICAS');
  assert.equal(await cluster.held(fallback, key), undefined);
});
