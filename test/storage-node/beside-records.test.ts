/** What moves with a partition beside its records: the requests that its owners remember (P5), and their losers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtInNamespace } from '../../services/core/namespaces/namespace.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { printDot } from '../../services/core/versioning/causal-context.ts';
import { listLosers } from '../../services/storage-node/losers.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { get, gotten, put, remove, removed, stored, valuesOf } from './requests.ts';
import { pass } from './time.ts';

type Three = readonly [TestNode, TestNode, TestNode];

/** All owners of `cart` are replaced by nodes that are none of them. */
interface Move {
  readonly cluster: Cluster;
  readonly before: Three;
  readonly after: Three;
  /** Pulled, flipped and settled, `away` back at the end; those before cannot be reached any more. */
  carryOut(away?: TestNode): Promise<void>;
  /** The same up to the flip: those before are gone the moment that they own it no more. */
  carryOutAlone(): Promise<void>;
}

function createMove(): Move {
  const cluster = createCluster({ nodes: 7, wallNow: () => 1_700_000_000_000 });
  const { ring, nodes } = cluster;
  const before = cluster.homes('cart') as unknown as Three;
  const after = nodes.filter((node) => !before.includes(node)).slice(0, 3) as unknown as Three;
  const partition = partitionOfStorageKey(cluster.storageKey('cart'), ring.partitions);
  const indexesOf = (some: Three) => some.map((node) => nodes.indexOf(node));
  const owners = ring.owners.slice();
  owners.set(indexesOf(after), partition * ring.replicas);
  let sequence = ring.version.sequence;
  const goOver = (targets: readonly TestNode[], change: Partial<Ring>) => {
    sequence += 1n;
    const next = createRing({ ...ring, ...change, version: { term: 1n, sequence } });
    cluster.goOver(targets, next);
    return next;
  };
  async function pullAll(here: readonly TestNode[], change: Partial<Ring>): Promise<void> {
    for (const { node } of nodes) node.transfers.start();
    goOver(here, { ...change, pending: new Map([[partition, indexesOf(after)]]) });
    await pass(cluster, 3_000);
    for (const { node } of after) assert.deepEqual(node.transfers.pulled(), [partition]);
  }
  const loseOthers = () => {
    for (const node of nodes) if (!after.includes(node)) cluster.setReachable(node, false);
  };
  return {
    cluster,
    before,
    after,
    async carryOutAlone() {
      await pullAll(nodes, {});
      goOver(after, { owners });
      loseOthers();
    },
    async carryOut(away) {
      const here = nodes.filter((node) => node !== away);
      const down = ring.nodes.map((node) => (node.id === away?.id ? { ...node, status: 'DOWN' as const } : node));
      if (away !== undefined) cluster.setReachable(away, false);
      await pullAll(here, { nodes: down });
      const leaving = indexesOf(before).filter((index) => nodes[index] !== away);
      goOver(here, { nodes: down, owners, pending: new Map([[partition, leaving]]) });
      const settled = goOver(here, { nodes: down, owners });
      if (away !== undefined) {
        cluster.goOver([away], settled);
        cluster.setReachable(away, true);
      }
      await pass(cluster, 3_000);
      for (const node of before) assert.equal(await cluster.held(node, 'cart'), undefined);
      loseOthers();
    },
  };
}

test('P5: a second attempt that comes after the partition has moved, and its value was replaced, does not bring it back', async () => {
  const { cluster, before, after, carryOut } = createMove();
  const requestId = Buffer.from('request 1');
  const first = await stored(cluster.run(before[0], put('cart', 'old', { requestId, w: 3 })));
  const { context } = await gotten(cluster.run(before[0], get('cart')));
  await stored(cluster.run(before[0], put('cart', 'new', { context, w: 3 })));
  await carryOut();
  const second = await stored(cluster.run(after[1], put('cart', 'old', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, first.receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(after[0], get('cart', { r: 3 })))), ['new']);
});

test('P5: nor does one that comes before the old owners have handed anything back', async () => {
  const { cluster, before, after, carryOutAlone } = createMove();
  const requestId = Buffer.from('request 1');
  const first = await stored(cluster.run(before[0], put('cart', 'old', { requestId, w: 3 })));
  const { context } = await gotten(cluster.run(before[0], get('cart')));
  await stored(cluster.run(before[0], put('cart', 'new', { context, w: 3 })));
  await carryOutAlone();
  const second = await stored(cluster.run(after[1], put('cart', 'old', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, first.receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(after[0], get('cart', { r: 3 })))), ['new']);
});

test('P5: nor does one whose value was deleted, and the tombstone let go, before the partition moved', async () => {
  const { cluster, before, after, carryOut } = createMove();
  for (const { node } of cluster.nodes) await node.open();
  const requestId = Buffer.from('request 1');
  const first = await stored(cluster.run(before[0], put('cart', 'old', { requestId, w: 3 })));
  const { context } = await gotten(cluster.run(before[0], get('cart', { r: 3 })));
  await removed(cluster.run(before[0], remove('cart', context, { w: 3 })));
  for (let i = 0; i < 3; i++) await before[0].node.collection.collectAll();
  for (const node of before) assert.equal(await cluster.held(node, 'cart'), undefined);
  await carryOut();
  const second = await stored(cluster.run(after[1], put('cart', 'old', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, first.receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(after[0], get('cart', { r: 3 })))), []);
});

test('what one owner alone remembers moves too, and is pulled once', async () => {
  const { cluster, before, after, carryOut } = createMove();
  const [alone, ...others] = before;
  for (let i = 0; i < 3; i++) {
    for (const node of others) node.answers = 'no';
    const requestId = Buffer.from(`request ${i}`);
    const { context } = await gotten(cluster.run(alone, get('cart', { r: 1 })));
    await stored(cluster.run(alone, put('cart', `v${i}`, { requestId, context, w: 1 })));
    for (const node of others) node.answers = 'yes';
  }
  await carryOut();
  for (const { node } of after) {
    const found = await Promise.all(
      [0, 1, 2].map((i) => node.requests.find(cluster.storageKey('cart'), Buffer.from(`request ${i}`))),
    );
    assert.deepEqual(
      found.map((one) => one?.dot.counter),
      [1, 2, 3],
    );
    assert.equal(
      found.every((one) => one !== undefined && printDot(one.dot).length > 0),
      true,
    );
  }
  for (const { metrics } of after) assert.equal(metrics.valueOf('cartwheel_requests_remembered'), 3);
});

/** Two writes, of which the second replaces the first, at a node that reaches no other one. */
async function writeAlone(cluster: Cluster, alone: TestNode, requestId: Buffer): Promise<string | undefined> {
  for (const node of cluster.nodes) if (node !== alone) cluster.setReachable(node, false);
  const { receipt } = await stored(cluster.run(alone, put('cart', 'old', { requestId, w: 1 })));
  const { context } = await gotten(cluster.run(alone, get('cart', { r: 1 })));
  await stored(cluster.run(alone, put('cart', 'new', { context, w: 1 })));
  for (const node of cluster.nodes) cluster.setReachable(node, true);
  return receipt?.dot;
}

test('P5: a second attempt of what only an owner knew that was down while its partition moved is no other write', async () => {
  const { cluster, before, after, carryOut } = createMove();
  const requestId = Buffer.from('request 1');
  const [alone] = before;
  // Nothing is delivered yet: no clock moves.
  const dot = await writeAlone(cluster, alone, requestId);
  await carryOut(alone);
  const second = await stored(cluster.run(after[1], put('cart', 'old', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(after[0], get('cart', { r: 3 })))), ['new']);
});

test('P5: a second attempt of what only a fallback knew that has left since is no other write', async () => {
  const cluster = createCluster({ nodes: 5, wallNow: () => 1_700_000_000_000 });
  const homes = cluster.homes('cart');
  const fallback = cluster.nodes.find((node) => !homes.includes(node)) as TestNode;
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 1_000);
  const requestId = Buffer.from('request 1');
  const dot = await writeAlone(cluster, fallback, requestId);
  await pass(cluster, 3_000);
  assert.equal(await cluster.held(fallback, 'cart'), undefined, 'handed over');
  const { ring } = cluster;
  const nodes = ring.nodes.map((node) => (node.id === fallback.id ? { ...node, status: 'LEAVING' as const } : node));
  cluster.goOver(cluster.nodes, createRing({ ...ring, nodes, version: { term: 1n, sequence: 5n } }));
  await pass(cluster, 3_000);
  cluster.setReachable(fallback, false);
  fallback.answers = 'no';
  const second = await stored(cluster.run(homes[1] as TestNode, put('cart', 'old', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(homes[0] as TestNode, get('cart', { r: 3 })))), ['new']);
});

test('a node that leaves does not wait for an owner that is DOWN to tell it what it remembers', async () => {
  const cluster = createCluster({ nodes: 5, wallNow: () => 1_700_000_000_000 });
  const [first, , down] = cluster.homes('cart') as unknown as Three;
  const leaving = cluster.nodes.find((node) => !cluster.homes('cart').includes(node)) as TestNode;
  for (const { node } of cluster.nodes) node.transfers.start();
  await pass(cluster, 1_000);
  const requestId = Buffer.from('request 1');
  await writeAlone(cluster, leaving, requestId);
  await pass(cluster, 3_000);
  cluster.setReachable(down, false);
  const { ring } = cluster;
  const statuses = new Map([
    [down.id, 'DOWN' as const],
    [leaving.id, 'LEAVING' as const],
  ]);
  const nodes = ring.nodes.map((node) => ({ ...node, status: statuses.get(node.id) ?? node.status }));
  const here = cluster.nodes.filter((node) => node !== down);
  cluster.goOver(here, createRing({ ...ring, nodes, version: { term: 1n, sequence: 5n } }));
  assert.ok(leaving.node.leftovers.size > 0);
  await pass(cluster, 5_000);
  assert.equal(leaving.node.leftovers.size, 0);
  assert.ok((await first.node.requests.find(cluster.storageKey('cart'), requestId)) !== undefined);
});

test('P5: a request whose write was deleted and let go moves too, though there is no record that tells of it', async () => {
  const { cluster, before, after, carryOut } = createMove();
  const requestId = Buffer.from('request 1');
  const first = await stored(cluster.run(before[0], put('cart', 'v', { requestId, w: 3 })));
  const { context } = await gotten(cluster.run(before[0], get('cart', { r: 3 })));
  await removed(cluster.run(before[0], remove('cart', context, { w: 3 })));
  const { collection } = before[0].node;
  assert.equal((await collection.collectAll()) + (await collection.collectAll()), 1);
  await carryOut();
  const second = await stored(cluster.run(after[1], put('cart', 'v', { requestId, attempt: 1 })));
  assert.equal(second.receipt?.dot, first.receipt?.dot);
  assert.deepEqual(valuesOf(await gotten(cluster.run(after[0], get('cart', { r: 3 })))), []);
});

test('what was given to the owners is not given again, and is remembered here all the same', async () => {
  const { cluster, before, carryOut } = createMove();
  const requestId = Buffer.from('request 1');
  await writeAlone(cluster, before[0], requestId);
  await carryOut(before[0]);
  const { requests } = before[0].node;
  const { requests: kept } = await requests.list({ start: Buffer.alloc(8), end: undefined }, undefined);
  assert.deepEqual(
    kept.map(({ id, isGiven }) => [Buffer.from(id).toString(), isGiven]),
    [['request 1', true]],
  );
});

test('values that lost move with the partition, each once', async () => {
  const { cluster, before, after, carryOut } = createMove();
  cluster.namespaces.set('default', {
    ...{ ...builtInNamespace, version: 1, resolution: 'LAST_WRITER_WINS' as const, losersKeptMs: 3_600_000 },
  });
  const [a, ...others] = before;
  for (const node of others) node.answers = 'no';
  await stored(cluster.run(a, put('cart', 'beaten', { w: 1 })));
  a.answers = 'no';
  for (const node of others) node.answers = 'yes';
  await stored(cluster.run(others[0] as TestNode, put('cart', 'latest', { w: 1 })));
  a.answers = 'yes';
  await gotten(cluster.run(a, get('cart', { r: 3 })));
  await pass(cluster, 200);
  // Resolved, so that no record shows any more what has lost.
  await stored(cluster.run(a, put('cart', 'newest', { w: 3 })));
  const losersAt = async ({ node }: TestNode) => {
    const { losers } = await listLosers(node, { namespace: '', key: Buffer.alloc(0), pageToken: Buffer.alloc(0) });
    return losers.map(({ value }) => Buffer.from(value).toString());
  };
  for (const node of before) assert.equal((await losersAt(node)).length, 1, node.id);
  const lost = await losersAt(a);
  await carryOut();
  for (const node of after) assert.deepEqual(await losersAt(node), lost, node.id);
});
