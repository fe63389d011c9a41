/** What a change costs those that take replicas over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costOf, type NodeMeans, shortOfRoom } from '../../services/core/membership/change-cost.ts';
import { addNodes } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { changeClaim } from '../../services/core/ring/claim-change.ts';
import { type Plan, planOf } from '../../services/core/ring/plan.ts';
import { createRing } from '../../services/core/ring/ring.ts';

const mib = 1024 * 1024;
const pace = { limits: { partitionsInFlight: 64, partitionsPerNode: 16 }, stepsMs: 1_500 };
const member = (i: number) => ({ id: `n${i}`, address: `n${i}:1`, host: `h${i}`, zone: `z${i}` });

/** A fifth node joins four that own 64 partitions of a MiB each. */
function joinPlan(): Plan {
  const nodes = [0, 1, 2, 3].map((index) => ({ index, ...member(index), status: 'UP' as const }));
  const owners = firstClaim({ nodes, partitions: 64, replicas: 3 });
  const version = { term: 1n, sequence: 1n };
  const ring = addNodes(createRing({ version, partitions: 64, replicas: 3, nodes, owners, pending: new Map() }), [
    member(4),
  ]);
  return planOf(ring, changeClaim({ ...ring, wanted: [0, 1, 2, 3, 4] }).owners, () => mib);
}

const means = (more: Partial<NodeMeans>) => () => ({ freeBytes: 1_000 * mib, bytesPerSecond: mib, ...more });

test('who takes over wants its bytes and a quarter more, and is short where its disk has less', () => {
  const plan = joinPlan();
  const { takings } = costOf(plan, means({ freeBytes: 48 * mib }), pace);
  assert.deepEqual(takings, [
    { node: 4, replicas: plan.moves.length, bytes: plan.bytes, wantedBytes: plan.bytes * 1.25, freeBytes: 48 * mib },
  ]);
  assert.ok(plan.bytes < 48 * mib && plan.bytes * 1.25 <= 48 * mib);
  assert.deepEqual(shortOfRoom(costOf(plan, means({ freeBytes: plan.bytes * 1.25 }), pace)), []);
  assert.equal(shortOfRoom(costOf(plan, means({ freeBytes: plan.bytes * 1.25 - 1 }), pace)).length, 1);
});

test('nothing is refused, and no time is told, for a node that does not say what it has', () => {
  const cost = costOf(joinPlan(), () => ({ freeBytes: undefined, bytesPerSecond: undefined }), pace);
  assert.deepEqual(shortOfRoom(cost), []);
  assert.equal(cost.etaMs, undefined);
});

test('it takes as long as the bytes of the slowest, or the steps of the claimant', () => {
  const plan = joinPlan();
  assert.equal(costOf(plan, means({}), pace).etaMs, plan.moves.length * 1_000);
  const flights = Math.ceil(plan.moves.length / pace.limits.partitionsPerNode);
  assert.equal(costOf(plan, means({ bytesPerSecond: 1e12 }), pace).etaMs, flights * pace.stepsMs);
});
