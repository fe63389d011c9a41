/** Placement requirements of puts: OK only where enough disks, hosts and zones have it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Durability } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { createCluster, type TestNode } from './cluster.ts';
import { failureOf, put, stored } from './requests.ts';

const none = { durable: 0, hosts: 0, zones: 0 };

function setup(nodes = 3) {
  const cluster = createCluster({ nodes });
  return { cluster, homes: cluster.homes('cart') as [TestNode, TestNode, TestNode] };
}

test('a put that wants three zones is answered when three zones have it, though W is one', async () => {
  const { cluster, homes } = setup();
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { w: 1, require: { ...none, zones: 3 } })));
  assert.equal(new Set(receipt?.acks.map(({ zone }) => zone)).size, 3);
});

test('a put that wants two disks has two, whatever else its durability is', async () => {
  const { cluster, homes } = setup();
  for (const durability of [Durability.BUFFERED, Durability.ONE_DURABLE] as const) {
    const operation = put('cart', 'v', { w: 1, durability, require: { ...none, durable: 2 } });
    const { receipt } = await stored(cluster.run(homes[0], operation));
    assert.ok((receipt?.acks.filter(({ durable }) => durable).length ?? 0) >= 2, `durability ${durability}`);
  }
});

test('what a key’s replicas or the cluster’s nodes can never meet is refused before anything is written', async () => {
  const { cluster, homes } = setup();
  for (const require of [
    { ...none, zones: 4 },
    { ...none, hosts: 4 },
    { ...none, durable: 4 },
  ]) {
    const failure = await failureOf(cluster.run(homes[0], put('cart', 'v', { require })));
    assert.deepEqual([failure.reason, failure.outcome], ['PLACEMENT_IMPOSSIBLE', 'NOT_APPLIED']);
  }
  assert.equal(await cluster.held(homes[0], 'cart'), undefined);
});

test('what the nodes in reach cannot meet now is refused before anything is written, with the numbers', async () => {
  const { cluster, homes } = setup();
  cluster.setReachable(homes[2], false);
  const failure = await failureOf(cluster.run(homes[0], put('cart', 'v', { require: { ...none, zones: 3 } })));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
  assert.match(failure.message, /3 zones are wanted, .* 2 zones are there/);
  assert.equal(await cluster.held(homes[0], 'cart'), undefined);
});

test('a put that reached W but not what it wants has an unknown outcome, and its receipt says what it reached', async () => {
  const { cluster, homes } = setup();
  homes[2].answers = 'no';
  const failure = await failureOf(cluster.run(homes[0], put('cart', 'v', { require: { ...none, zones: 3 } })));
  assert.deepEqual([failure.reason, failure.outcome], ['PLACEMENT_UNMET', 'UNKNOWN']);
  assert.equal(failure.details.receipt?.acks.length, 2);
  assert.match(failure.message, /3 zones are wanted, .* 2 zones are there/);
});

test('a fallback in another zone meets it for a home that is away', async () => {
  const { cluster, homes } = setup(5);
  cluster.setReachable(homes[2], false);
  const { receipt } = await stored(cluster.run(homes[0], put('cart', 'v', { require: { ...none, zones: 3 } })));
  assert.equal(new Set(receipt?.acks.map(({ zone }) => zone)).size, 3);
});

test('a fallback that takes the place of a replica asked to sync syncs', async () => {
  const { cluster, homes } = setup(5);
  homes[1].answers = 'no';
  const operation = put('cart', 'v', { durability: Durability.BUFFERED, require: { ...none, durable: 2 } });
  const { receipt } = await stored(cluster.run(homes[0], operation));
  assert.deepEqual(
    receipt?.acks
      .filter(({ durable }) => durable)
      .map(({ hintedFor }) => hintedFor)
      .sort(),
    ['', homes[1].id],
  );
});

/** Zones of the nodes in the preference list of the key, in order. */
function inZones(zones: readonly string[]) {
  const first = Number(createCluster({ nodes: zones.length }).homes('cart')[0]?.id.slice(1));
  const zoneOf = (index: number) => zones[(index - first + zones.length) % zones.length] as string;
  const cluster = createCluster({ nodes: zones.length, zoneOf });
  const preference = zones.map((_, i) => cluster.node((first + i) % zones.length));
  return { cluster, preference };
}

test('where the first N in reach are in too few zones, the next fallback in another one is asked besides', async () => {
  const { cluster, preference } = inZones(['a', 'b', 'c', 'a', 'a', 'a', 'b', 'c']);
  const [home, second, third] = preference as [TestNode, TestNode, TestNode];
  for (const away of [second, third]) cluster.setReachable(away, false);
  const { receipt } = await stored(cluster.run(home, put('cart', 'v', { require: { ...none, zones: 2 } })));
  assert.deepEqual([...new Set(receipt?.acks.map(({ zone }) => zone))].sort(), ['a', 'b']);
  const fallback = preference[6] as TestNode;
  const ack = receipt?.acks.find(({ nodeId }) => nodeId === fallback.id);
  assert.ok([second.id, third.id].includes(ack?.hintedFor ?? ''), 'it is owed to a home, and so given up in time');
  assert.deepEqual(fallback.node.hints.nodes(), [ack?.hintedFor]);
  assert.deepEqual(preference[5]?.calls, [], 'who brings no zone is not asked');
});

test('a replica that fails is replaced by the fallback that brings its zone, not by the next one', async () => {
  const { cluster, preference } = inZones(['a', 'b', 'c', 'a', 'b', 'c']);
  const [home, , third] = preference as [TestNode, TestNode, TestNode];
  third.answers = 'no';
  const { receipt } = await stored(cluster.run(home, put('cart', 'v', { require: { ...none, zones: 3 } })));
  assert.deepEqual(
    receipt?.acks.map(({ nodeId }) => nodeId).sort(),
    [home.id, preference[1]?.id, preference[5]?.id].sort(),
  );
  assert.deepEqual([preference[3]?.calls, preference[4]?.calls], [[], []]);
});

test('one fallback after the other is tried for a zone, and with none left the put says what it reached', async () => {
  const { cluster, preference } = inZones(['a', 'b', 'c', 'a', 'c', 'c']);
  const home = preference[0] as TestNode;
  for (const i of [2, 4, 5]) (preference[i] as TestNode).answers = 'no';
  const failure = await failureOf(cluster.run(home, put('cart', 'v', { require: { ...none, zones: 3 } })));
  assert.equal(failure.reason, 'PLACEMENT_UNMET');
  for (const i of [2, 4, 5]) assert.ok(preference[i]?.calls.includes('write'), String(i));
  (preference[5] as TestNode).answers = 'yes';
  await stored(cluster.run(home, put('cart', 'w', { require: { ...none, zones: 3 } })));
});
