/** What is left of a node's partitions when others cannot be reached. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRing } from '../../services/core/ring/ring.ts';
import { redundancyOf } from '../../services/storage-node/redundancy.ts';
import { createCluster } from './cluster.ts';

/** Four nodes; partition p belongs to p, p+1 and p+2 of them. */
function ringOf(replicas: number) {
  const nodes = ['a', 'b', 'c', 'd'].map((id, index) => {
    return { index, id, address: `${id}:1`, host: id, zone: id, status: 'UP' as const };
  });
  const owners = [0, 1, 2, 3].flatMap((p) => Array.from({ length: replicas }, (_, i) => (p + i) % 4));
  const version = { term: 1n, sequence: 1n };
  return createRing({ version, partitions: 4, replicas, nodes, owners: Uint16Array.from(owners), pending: new Map() });
}

const redundancy = (replicas: number, reached: string) =>
  redundancyOf(ringOf(replicas), 'a', (nodeId) => reached.includes(nodeId));

test('a node that reaches all others has lost nothing', () => {
  assert.deepEqual(redundancy(3, 'bcd'), { owned: 3, degraded: 0, alone: 0 });
});

test('a partition with a home out of reach is degraded, one with nobody else in reach is alone', () => {
  assert.deepEqual(redundancy(3, 'bd'), { owned: 3, degraded: 2, alone: 0 });
  assert.deepEqual(redundancy(3, 'd'), { owned: 3, degraded: 3, alone: 1 });
  assert.deepEqual(redundancy(3, ''), { owned: 3, degraded: 3, alone: 3 });
});

test('with one replica nothing can be lost to others', () => {
  assert.deepEqual(redundancy(1, ''), { owned: 1, degraded: 0, alone: 0 });
});

test('a node outside the ring owns nothing', () => {
  assert.deepEqual(
    redundancyOf(ringOf(3), 'stranger', () => true),
    { owned: 0, degraded: 0, alone: 0 },
  );
});

test('the gauges say it of the node as it runs', () => {
  const cluster = createCluster({ nodes: 3, partitions: 8 });
  const [first, second, third] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const gauges = () =>
    ['owned', 'degraded', 'alone'].map((name) => first.metrics.valueOf(`cartwheel_partitions_${name}`));
  assert.deepEqual(gauges(), [8, 0, 0]);
  cluster.setReachable(second, false);
  assert.deepEqual(gauges(), [8, 8, 0]);
  cluster.setReachable(third, false);
  assert.deepEqual(gauges(), [8, 8, 8]);
});
