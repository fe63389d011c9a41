/** Listing keys over assembled nodes that do not all hold the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListKeysRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { listKeys } from '../../services/storage-node/list-keys.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, get, gotten, put, remove, removed, stored } from './requests.ts';
import { turns } from './time.ts';

const all: ListKeysRequest = { namespace: '', prefix: Buffer.alloc(0), pageToken: Buffer.alloc(0), pageSize: 0 };

async function pagesOf(
  at: TestNode,
  request: Partial<ListKeysRequest> = {},
): Promise<{ keys: string[]; token: Buffer }[]> {
  const pages: { keys: string[]; token: Buffer }[] = [];
  for await (const { entries, pageToken } of listKeys(at.node, { ...all, ...request })) {
    pages.push({ keys: entries.map(({ key }) => key.toString()), token: pageToken });
  }
  return pages;
}

async function keysOf(at: TestNode, request: Partial<ListKeysRequest> = {}): Promise<string[]> {
  return (await pagesOf(at, request)).flatMap(({ keys }) => keys);
}

/** `count` keys on all homes. */
async function filled(count: number, options: Parameters<typeof createCluster>[0] = {}): Promise<[Cluster, string[]]> {
  const cluster = createCluster(options);
  const keys = Array.from({ length: count }, (_, i) => `${i % 2 === 0 ? 'even' : 'odd'}/${i}`);
  await Promise.all(keys.map((key) => stored(cluster.run(cluster.homes(key)[0] as TestNode, put(key, 'v')))));
  await turns();
  return [cluster, keys];
}

async function drop(cluster: Cluster, key: string): Promise<void> {
  const coordinator = cluster.homes(key)[0] as TestNode;
  const { context } = await gotten(cluster.run(coordinator, get(key)));
  await removed(cluster.run(coordinator, remove(key, context)));
}

test('every key is listed once, in the order of the hashes, by every node alike, home or not', async () => {
  const [cluster, keys] = await filled(300, { nodes: 5, partitions: 16 });
  const listed = await keysOf(cluster.node(0));
  assert.deepEqual(listed.toSorted(), keys.toSorted());
  const order = listed.map((key) => Buffer.from(cluster.storageKey(key)).toString('hex'));
  assert.deepEqual(order, order.toSorted());
  for (const node of cluster.nodes) assert.deepEqual(await keysOf(node), listed);
});

test('an empty cluster lists nothing, without a page', async () => {
  assert.deepEqual(await pagesOf(createCluster().node(0)), []);
});

test('only keys that begin with the prefix are listed, bytes for bytes', async () => {
  const [cluster, keys] = await filled(60);
  assert.deepEqual(
    (await keysOf(cluster.node(1), { prefix: Buffer.from('even/') })).sort(),
    keys.filter((key) => key.startsWith('even/')).sort(),
  );
  assert.deepEqual(await keysOf(cluster.node(1), { prefix: Buffer.from('even/12345') }), []);
});

test('a page has as many keys as were asked for, and its token goes on behind it, at any node', async () => {
  const [cluster, keys] = await filled(100);
  const pages = await pagesOf(cluster.node(0), { pageSize: 7 });
  assert.deepEqual(
    pages.map((page) => page.keys.length),
    [...Array(14).fill(7), 2],
  );
  const whole = pages.flatMap((page) => page.keys);
  assert.deepEqual(whole.toSorted(), keys.toSorted());
  for (const [i, { token }] of pages.entries()) {
    const rest = await keysOf(cluster.node(i % 3), { pageToken: token });
    assert.deepEqual(rest, whole.slice((i + 1) * 7));
  }
});

test('keys written or deleted while a listing is between pages neither hide nor repeat others', async () => {
  const [cluster, keys] = await filled(80);
  const [first] = await pagesOf(cluster.node(0), { pageSize: 30 });
  const seen = first?.keys as string[];
  await drop(cluster, seen[29] as string);
  const gone = keys.find((key) => !seen.includes(key)) as string;
  await drop(cluster, gone);
  const rest = await keysOf(cluster.node(1), { pageToken: first?.token ?? Buffer.alloc(0) });
  assert.deepEqual([...seen, ...rest, gone].sort(), keys.toSorted());
});

test('PAGE_TOKEN_INVALID: a forged token, one of another prefix and a context are refused', async () => {
  const [cluster] = await filled(20);
  const node = cluster.node(0);
  const [page] = await pagesOf(node, { pageSize: 5, prefix: Buffer.from('even/') });
  const token = page?.token as Buffer;
  const flipped = Buffer.from(token);
  flipped[5] = (flipped[5] as number) ^ 1;
  const { context } = await gotten(cluster.run(cluster.homes('even/0')[0] as TestNode, get('even/0')));
  const wrong: [Buffer, string][] = [
    [flipped, 'even/'],
    [token.subarray(0, -1), 'even/'],
    [Buffer.from('nonsense'), 'even/'],
    [token, 'odd/'],
    [token, ''],
    [context, 'even/0'],
  ];
  for (const [pageToken, prefix] of wrong) {
    const failure = await failureOf(keysOf(node, { pageToken, prefix: Buffer.from(prefix) }));
    assert.deepEqual([failure.reason, failure.details.field], ['PAGE_TOKEN_INVALID', 'page_token']);
  }
});

test('a namespace that is none or not here yet is refused', async () => {
  const { nodes } = createCluster();
  const node = nodes[0] as TestNode;
  assert.equal((await failureOf(keysOf(node, { namespace: 'Upper' }))).reason, 'NAMESPACE_INVALID');
  assert.equal((await failureOf(keysOf(node, { namespace: 'carts' }))).reason, 'NAMESPACE_UNKNOWN');
  assert.deepEqual(await keysOf(node, { namespace: 'default' }), []);
});

test('a key that a majority has is listed though one home has never heard of it, and one that was deleted is not', async () => {
  const [cluster, keys] = await filled(40);
  for (const missing of cluster.nodes) {
    missing.reachable = false;
    const name = `late/${missing.id}`;
    const coordinator = cluster.homes(name).find((home) => home !== missing) as TestNode;
    await stored(cluster.run(coordinator, put(name, 'v')));
    await turns();
    missing.reachable = true;
  }
  const away = cluster.node(2);
  away.reachable = false;
  const deleted = keys[3] as string;
  const coordinator = cluster.homes(deleted).find((home) => home !== away) as TestNode;
  const { context } = await gotten(cluster.run(coordinator, get(deleted)));
  await removed(cluster.run(coordinator, remove(deleted, context)));
  await turns();
  away.reachable = true;
  assert.equal((await cluster.held(away, deleted))?.siblings.length, 1, 'it still has what was deleted');
  const wanted = [...keys.filter((key) => key !== deleted), 'late/n0', 'late/n1', 'late/n2'].sort();
  for (const node of cluster.nodes) assert.deepEqual((await keysOf(node)).sort(), wanted);
});

test('a key is listed where a quorum read finds a value of it: one that a single home has, where that home is read', async () => {
  const cluster = createCluster();
  const [home, ...others] = cluster.homes('lonely') as [TestNode, TestNode, TestNode];
  for (const other of others) other.answers = 'no';
  await stored(cluster.run(home, put('lonely', 'v', { w: 1 })));
  await turns();
  for (const other of others) other.answers = 'yes';
  assert.deepEqual(await keysOf(home), ['lonely']);
});

test('siblings of a key are one key', async () => {
  const cluster = createCluster();
  for (const home of cluster.homes('cart')) await stored(cluster.run(home, put('cart', home.id)));
  await turns();
  assert.deepEqual(await keysOf(cluster.node(0)), ['cart']);
});

test('with one node down all is listed, with two the listing fails with both numbers', async () => {
  const [cluster, keys] = await filled(50);
  cluster.node(1).reachable = false;
  assert.deepEqual((await keysOf(cluster.node(0))).sort(), keys.toSorted());
  cluster.node(1).reachable = true;
  cluster.node(1).answers = 'no';
  assert.deepEqual((await keysOf(cluster.node(0))).sort(), keys.toSorted());
  cluster.node(2).reachable = false;
  const failure = await failureOf(keysOf(cluster.node(0)));
  assert.equal(failure.reason, 'NOT_ENOUGH_REPLICAS');
  assert.match(failure.message, /2 of 3 replicas wanted, 1 reached/);
});

test('more keys in a partition than one question to a home gives are all listed', async () => {
  const [cluster, keys] = await filled(1_400, { partitions: 1 });
  const pages = await pagesOf(cluster.node(0));
  assert.deepEqual(
    pages.map((page) => page.keys.length),
    [1_000, 400],
  );
  assert.deepEqual(pages.flatMap((page) => page.keys).sort(), keys.toSorted());
});

test('a home that fails in the middle of a listing is left out from then on, and nothing is missing', async () => {
  const [cluster, keys] = await filled(1_400, { partitions: 2 });
  const failing = cluster.node(1);
  const listed: string[] = [];
  for await (const { entries } of listKeys(cluster.node(0).node, { ...all, pageSize: 100 })) {
    listed.push(...entries.map(({ key }) => key.toString()));
    if (listed.length >= 300) failing.answers = 'no';
  }
  assert.deepEqual(listed.sort(), keys.toSorted());
});
