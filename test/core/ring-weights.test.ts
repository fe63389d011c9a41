/** Nodes of different weights: what each owns, and what a change of weights moves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { changeClaim } from '../../services/core/ring/claim-change.ts';
import { decodeRing, encodeRing } from '../../services/core/ring/codec.ts';
import { rowOf } from '../../services/core/ring/plan.ts';
import { createRing, ringsEqual, WEIGHT_MAX, weightOf } from '../../services/core/ring/ring.ts';

const replicas = 3;
const nodesOf = (weights: readonly number[]) =>
  weights.map((weight, i) => ({ id: `n${i}`, host: `h${i}`, zone: `z${i}`, weight }));

function loadsOf(owners: Uint16Array, nodes: number): number[] {
  const loads = new Array<number>(nodes).fill(0);
  for (const node of owners) loads[node] = (loads[node] as number) + 1;
  return loads;
}

function primariesOf(owners: Uint16Array, nodes: number): number[] {
  return loadsOf(
    owners.filter((_, at) => at % replicas === 0),
    nodes,
  );
}

/** All have what one level gives them, or what the next one does: within one partition by unit of weight. */
function assertLevel(loads: readonly number[], weights: readonly number[], partitions: number): void {
  const heldAt = (level: number) => weights.map((weight) => Math.min(level * weight, partitions));
  for (let level = 0; level <= partitions; level++) {
    const [low, high] = [heldAt(level), heldAt(level + 1)];
    if (loads.every((load, i) => load >= (low[i] as number) && load <= (high[i] as number))) return;
  }
  assert.fail(`loads ${loads} of ${weights} are of no one level`);
}

test('a node of twice the weight owns twice as many partitions, and is first in twice as many', () => {
  const partitions = 1_024;
  const owners = firstClaim({ nodes: nodesOf([2, 1, 1, 1, 1]), partitions, replicas });
  assert.deepEqual(loadsOf(owners, 5), [1_024, 512, 512, 512, 512]);
  const [first, ...others] = primariesOf(owners, 5) as [number, ...number[]];
  for (const count of others) assert.ok(Math.abs(first - 2 * count) <= 3, `${first} beside ${count}`);
});

test('loads are within one partition by unit of weight, whatever the weights', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 3, maxLength: 20 }),
      fc.integer({ min: 4, max: 8 }),
      (weights, bits) => {
        const partitions = 2 ** bits;
        const owners = firstClaim({ nodes: nodesOf(weights), partitions, replicas });
        assertLevel(loadsOf(owners, weights.length), weights, partitions);
        for (let p = 0; p < partitions; p++) assert.equal(new Set(rowOf(owners, p, replicas)).size, replicas);
      },
    ),
    { numRuns: 60 },
  );
});

test('a node that is given another weight takes over what it lacks, and nothing else moves', () => {
  const partitions = 256;
  const weights = [1, 1, 1, 1, 1, 1];
  const owners = firstClaim({ nodes: nodesOf(weights), partitions, replicas });
  const heavier = [2, 1, 1, 1, 1, 1];
  const wanted = weights.map((_, i) => i);
  const change = changeClaim({ nodes: nodesOf(heavier), partitions, replicas, owners, wanted });
  assertLevel(loadsOf(change.owners, 6), heavier, partitions);
  assert.equal(change.moved, change.minimum);
  assert.ok(change.moved > 80 && change.moved < 100, `${change.moved} of 768`);
});

test('a weight goes over the wire, one that nobody gave is 1, and more than the most is refused', () => {
  const nodes = nodesOf([2, 1, 1]).map((node, index) => ({ ...node, index, address: 'h:1', status: 'UP' as const }));
  const owners = firstClaim({ nodes, partitions: 8, replicas });
  const version = { term: 1n, sequence: 1n };
  const ring = createRing({ version, partitions: 8, replicas, nodes, owners, pending: new Map() });
  const message = encodeRing(ring);
  assert.ok(ringsEqual(decodeRing(message), ring));
  for (const node of message.nodes) node.weight = 0; // as a claimant says it that knows no weights
  assert.deepEqual(decodeRing(message).nodes.map(weightOf), [1, 1, 1]);
  assert.ok(!ringsEqual(decodeRing(message), ring));
  for (const node of message.nodes) node.weight = WEIGHT_MAX + 1;
  assert.throws(() => decodeRing(message), /the weight of node 0 of the ring is 101, and at most 100 is allowed/);
});
