/** The digest tree compared with the data: what is wrong is found and set right, what is right is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leafOf } from '../../services/core/merkle/digest-tree.ts';
import { exchange } from '../../services/storage-node/exchange.ts';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { failureOf, put, stored } from './requests.ts';
import { turns } from './time.ts';

const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`);
const partitions = 4;

async function setup(cacheBytesMax = 100_000): Promise<{ cluster: Cluster; at: TestNode }> {
  const cluster = createCluster({ partitions, cacheBytesMax });
  for (const { node } of cluster.nodes) await node.open();
  await turns();
  const at = cluster.node(0);
  for (const key of keys) await stored(cluster.run(at, put(key, 'v', { w: 3 })));
  await turns();
  return { cluster, at };
}

/** Lets time pass while the node verifies: it may have to wait for the governor. */
async function verified(cluster: Cluster, { node }: TestNode): Promise<number> {
  const verifying = node.verification.verifyAll();
  let over = false;
  void verifying.finally(() => {
    over = true;
  });
  while (!over) {
    await turns(2);
    cluster.clock.advance(10);
  }
  return verifying;
}

const leavesOf = ({ node }: TestNode) => [...node.digests.tree.leaves()];

test('a tree that is right is left as it is', async () => {
  const { cluster, at } = await setup();
  const before = leavesOf(at);
  assert.equal(await verified(cluster, at), 0);
  assert.deepEqual(leavesOf(at), before);
  assert.equal(at.metrics.valueOf('cartwheel_verified_records_total'), keys.length);
});

test('leaves that are wrong are counted and set right', async () => {
  const { cluster, at } = await setup();
  const right = leavesOf(at);
  const { tree } = at.node.digests;
  const [[first]] = right as [[number, bigint]];
  const empty = Array.from({ length: 2 ** tree.depth }, (_, i) => i).find(
    (leaf) => tree.digest(tree.depth, leaf) === 0n,
  );
  tree.restore(first, 1n);
  tree.restore(empty as number, 2n);
  assert.equal(await verified(cluster, at), 2);
  assert.deepEqual(leavesOf(at), right);
  assert.equal(at.metrics.valueOf('cartwheel_digests_wrong_total'), 2);
});

test('P12: a bit that turned on the disk is found without a read, and the exchanges of its partition say so', async () => {
  const { cluster, at } = await setup(0);
  const key = cluster.storageKey('key 7');
  const [whole] = await at.engine.getMany('records', [key]);
  const turned = Uint8Array.from(whole as Uint8Array);
  turned[turned.length - 6] = (turned[turned.length - 6] as number) ^ 4;
  await at.engine.write([{ space: 'records', key, value: turned }], true);
  const compare = () => {
    const partition = leafOf(key, Math.log2(partitions));
    return exchange(at.node, 'n1', partition, partitions, { admit: async () => {}, reached() {} });
  };
  assert.equal((await compare()).keysListed, 0, 'nothing is known of it yet');
  cluster.node(2).answers = 'no'; // so that it is not repaired
  assert.equal(await verified(cluster, at), 1);
  assert.equal((await failureOf(compare())).reason, 'STORAGE_FAILED');
});

test('a change while a block is read is neither taken for a mistake nor lost', async () => {
  const { cluster, at } = await setup();
  for (let round = 0; round < 10; round++) {
    const stalled: (() => void)[] = [];
    at.stalledDisk = stalled;
    const verifying = at.node.verification.verifyAll();
    await turns(3);
    // The first block has been asked for, and is read before the disk gets this.
    for (const key of keys) {
      const { committed } = await at.node.store.change(
        cluster.storageKey(key),
        (held) => {
          const siblings = held.record.siblings.map((sibling) => ({ ...sibling, expiresAtMs: round + 1 }));
          const record = { ...held.record, siblings };
          return { copy: { ...held, record, bytes: at.node.records.encode(record) } };
        },
        true,
      );
      committed.catch(() => {});
    }
    const after = leavesOf(at);
    at.stalledDisk = undefined;
    for (const run of stalled) run();
    let over = false;
    void verifying.finally(() => {
      over = true;
    });
    while (!over) {
      await turns(2);
      cluster.clock.advance(10);
    }
    assert.equal(await verifying, 0, `round ${round}`);
    assert.deepEqual(leavesOf(at), after);
  }
});

test('it goes on by itself, a block after the other, until it is stopped', async () => {
  const { cluster, at } = await setup();
  at.node.verification.start();
  for (let i = 0; i < 80; i++) {
    cluster.clock.advance(1_000);
    await turns(4);
  }
  const once = at.metrics.valueOf('cartwheel_verified_records_total');
  assert.ok(once >= keys.length && once <= 2 * keys.length, `${once} records in 80 s, a round takes 60 s`);
  at.node.verification.stop();
  for (let i = 0; i < 80; i++) {
    cluster.clock.advance(1_000);
    await turns(2);
  }
  assert.equal(at.metrics.valueOf('cartwheel_verified_records_total'), once);
});
