/** When exchanges begin by themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cluster, createCluster, type TestNode } from './cluster.ts';
import { put, stored } from './requests.ts';

async function pass({ clock }: Cluster, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.advance(50);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a partition that is marked is compared at once, although its home was never away', async () => {
  const cluster = createCluster({ partitions: 4, hintsPerNodeMax: 0, exchangeEveryMs: 3_600_000 });
  for (const { node } of cluster.nodes) await node.open();
  const [coordinator, , third] = cluster.homes('cart') as [TestNode, TestNode, TestNode];
  coordinator.node.exchanges.start();
  // Its random turns are all at the beginning: random.below gives 0 here.
  await pass(cluster, 1_000);
  const exchanges = () => third.calls.filter((call) => call === 'exchange').length;
  const before = exchanges();
  await pass(cluster, 20_000);
  assert.equal(exchanges(), before, 'nothing is due for an hour');
  third.answers = 'no';
  await stored(cluster.run(coordinator, put('cart', 'v', { w: 2 })));
  third.answers = 'yes';
  await pass(cluster, 3_000);
  assert.ok((await cluster.held(third, 'cart')) !== undefined);
  assert.deepEqual(coordinator.node.hints.marks(), []);
  const after = exchanges();
  await pass(cluster, 20_000);
  assert.equal(exchanges(), after, 'and then no more');
});
