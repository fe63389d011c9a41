import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../services/core/failure.ts';
import { type ChangeRequest, planChange } from '../../services/core/membership/change-request.ts';
import { advance, type Report } from '../../services/core/membership/rebalance.ts';
import { decodeRing, encodeRing } from '../../services/core/ring/codec.ts';
import { createRing, epochOf, nodeById, type Ring, ringsEqual } from '../../services/core/ring/ring.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { ModelCluster, member, ringOf } from './rebalance-model.ts';

const LIMITS = { partitionsInFlight: 8, partitionsPerNode: 4 };
const NOTHING: ChangeRequest = { join: [], leave: [], down: [] };
const joins = (...indexes: number[]) => ({ join: indexes.map(member) });

const anyAction = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('learn' as const), node: fc.nat() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('pull' as const), node: fc.nat() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('report' as const), node: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('handBack' as const), node: fc.nat() }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('step' as const), late: fc.array(fc.nat(), { maxLength: 12 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pause' as const), paused: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rollBack' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('join' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), node: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), node: fc.nat() }) },
);

/** What a random request asks for need not be possible. */
function commitIfPossible(cluster: ModelCluster, request: Partial<ChangeRequest>): void {
  try {
    cluster.commit(request);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

/** Whoever comes first in them. */
function rowsOf(owners: Uint16Array): number[][] {
  return Array.from({ length: owners.length / 3 }, (_, p) => [...owners.subarray(p * 3, p * 3 + 3)].sort());
}

test('whatever is late, lost, paused, rolled back or asked for besides, the ring goes through sound rings to its goal', () => {
  fc.assert(
    fc.property(
      fc.record({
        size: fc.integer({ min: 4, max: 8 }),
        inFlight: fc.integer({ min: 1, max: 16 }),
        perNode: fc.integer({ min: 1, max: 6 }),
        first: fc.integer({ min: 1, max: 2 }),
        actions: fc.array(anyAction, { minLength: 40, maxLength: 200 }),
      }),
      ({ size, inFlight, perNode, first, actions }) => {
        const cluster = new ModelCluster(ringOf(size, 16), {
          partitionsInFlight: inFlight,
          partitionsPerNode: perNode,
        });
        let next = size;
        let lost = 0;
        cluster.commit({ join: Array.from({ length: first }, () => member(next++)) });
        const ids = () => [...cluster.nodes.keys()];
        const pick = (node: number) => ids()[node % ids().length] as string;
        for (const action of actions) {
          if (action.kind === 'learn') cluster.learn(pick(action.node));
          else if (action.kind === 'report') cluster.report(pick(action.node));
          else if (action.kind === 'handBack') cluster.handBack(pick(action.node));
          else if (action.kind === 'pull')
            for (const p of cluster.ring.pending.keys()) cluster.pull(pick(action.node), p);
          else if (action.kind === 'pause') cluster.pause(action.paused);
          else if (action.kind === 'rollBack') cluster.rollBack();
          else if (action.kind === 'join' && next < size + 4) commitIfPossible(cluster, { join: [member(next++)] });
          else if (action.kind === 'step') {
            const reports = new Map<string, Report>();
            for (const [i, [id, { reports: given }]] of [...cluster.nodes].entries()) {
              const report = given.at(-1 - ((action.late[i] ?? 0) % 3));
              if (report !== undefined) reports.set(id, report);
            }
            cluster.step(reports);
          } else if (action.kind === 'leave' || (action.kind === 'lose' && lost === 0)) {
            const id = pick(action.node);
            const staying = cluster.ring.nodes.filter(
              (node) => node.status === 'UP' && node.id !== id && cluster.goal?.leaving.includes(node.id) !== true,
            );
            const status = nodeById(cluster.ring, id)?.status;
            if (staying.length < 4 || status === 'LEFT' || status === undefined) continue;
            if (action.kind === 'lose') lost += 1;
            commitIfPossible(cluster, action.kind === 'lose' ? { leave: [id], down: [id] } : { leave: [id] });
          }
        }
        cluster.pause(false);
        cluster.toTheEnd();
      },
    ),
    { numRuns: 150 },
  );
});

test('two nodes join, and each step of a partition waits for what it needs', () => {
  const cluster = new ModelCluster(ringOf(5, 16), LIMITS);
  cluster.commit(joins(5, 6));
  assert.ok(cluster.step(new Map()));
  assert.ok(cluster.ring.pending.size > 0, 'staged at once');
  assert.equal(cluster.step(new Map()), false, 'and nothing more without a report');
  assert.match(cluster.waitingFor, /node-5:7411.* to say that the present ring is known there/);
  for (const id of ['node-5', 'node-6']) {
    cluster.learn(id);
    cluster.report(id);
  }
  assert.equal(cluster.step(cluster.latestReports()), false, 'not flipped before it is pulled');
  assert.match(cluster.waitingFor, /node-5:7411 to pull \d partitions/);
  cluster.toTheEnd();
  assert.deepEqual(
    cluster.ring.nodes.map(({ status }) => status),
    Array.from({ length: 7 }, () => 'UP'),
  );
});

test('a ring says since which version a partition is pending as it is, whatever else has changed since', () => {
  const first = ringOf(5, 16);
  const { goal } = planChange(first, undefined, { ...NOTHING, ...joins(5) }, () => 1, xxh64);
  const next = (ring: Ring, reports: Map<string, Report>) => {
    const issued = advance(ring, goal, reports, LIMITS).ring;
    assert.ok(issued);
    assert.ok(ringsEqual(decodeRing(encodeRing(issued)), issued), 'it goes over the wire with it');
    return issued;
  };
  const sinceIn = (ring: Ring) => [...ring.pending.keys()].map((partition) => ring.pendingSince.get(partition));
  const staged = next(first, new Map());
  assert.deepEqual(new Set(sinceIn(staged)), new Set([epochOf(staged.version)]));
  const [one, ...others] = [...staged.pending.keys()] as [number, ...number[]];
  // One is flipped, and with it others may be staged.
  const flipped = next(staged, new Map([['node-5', { version: staged.version, pulled: new Set([one]), owes: 0 }]]));
  assert.equal(flipped.pendingSince.get(one), epochOf(flipped.version));
  for (const partition of others) assert.equal(flipped.pendingSince.get(partition), epochOf(staged.version));
  assert.throws(
    () => createRing({ ...flipped, pendingSince: new Map([[one, epochOf(flipped.version) + 1]]) }),
    /is pending since a version later than the ring's/,
  );
});

test('what was pulled by an earlier staging counts for nothing', () => {
  const ring = ringOf(5, 16);
  const { goal } = planChange(ring, undefined, { ...NOTHING, ...joins(5) }, () => 1, xxh64);
  const staged = advance(ring, goal, new Map(), LIMITS).ring;
  assert.ok(staged);
  const pulled = new Set(staged.pending.keys());
  const reportAt = (sequence: bigint) => new Map([['node-5', { version: { term: 1n, sequence }, pulled, owes: 0 }]]);
  assert.equal(advance(staged, goal, reportAt(1n), LIMITS).ring, undefined);
  assert.notEqual(advance(staged, goal, reportAt(2n), LIMITS).ring, undefined);
});

test('a node that leaves is LEFT only when it owes nothing, and one that is down is not waited for', () => {
  const cluster = new ModelCluster(ringOf(6, 16), LIMITS);
  cluster.commit({ leave: ['node-2'] });
  for (let round = 0; round < 100; round++) {
    for (const id of cluster.nodes.keys()) {
      cluster.learn(id);
      for (const p of cluster.ring.pending.keys()) cluster.pull(id, p);
      cluster.report(id);
    }
    cluster.step(cluster.latestReports());
  }
  assert.equal(nodeById(cluster.ring, 'node-2')?.status, 'LEAVING');
  assert.match(cluster.waitingFor, /^node-2:7411 to hand over what it still has \(\d+\)$/);
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-2')?.status, 'LEFT');
  cluster.commit({ leave: ['node-4'], down: ['node-4'] });
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-4')?.status, 'LEFT');
  assert.equal(cluster.nodes.get('node-4')?.has.size !== 0, true, 'it took with it what it had');
});

test('a silent node that leaves holds the change up, until it is marked down', () => {
  const cluster = new ModelCluster(ringOf(6, 16), LIMITS);
  cluster.commit({ leave: ['node-2'] });
  (cluster.nodes.get('node-2') as { isDead: boolean }).isDead = true;
  assert.throws(() => cluster.toTheEnd(), /waits for node-2:7411 to say that the present ring is known there/);
  cluster.commit({ down: ['node-2'] });
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-2')?.status, 'LEFT');
});

test('a node that was down and owns nothing is taken back, and takes over what is its share in the same change', () => {
  const ring = ringOf(4, 64);
  const away = { index: 4, ...member(4), status: 'DOWN' as const };
  const cluster = new ModelCluster(createRing({ ...ring, nodes: [...ring.nodes, away] }), LIMITS);
  cluster.commit(joins(4));
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-4')?.status, 'UP');
  assert.ok(cluster.ring.owners.includes(4));
});

test('a change ends though a node that it lets join is marked down meanwhile', () => {
  const cluster = new ModelCluster(ringOf(3, 1), LIMITS);
  cluster.commit(joins(3, 4));
  cluster.step(new Map());
  assert.ok(!cluster.ring.owners.includes(3));
  cluster.commit({ down: ['node-3'] });
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-3')?.status, 'DOWN');
});

test('paused, it ends what is staged and stages no more', () => {
  const cluster = new ModelCluster(ringOf(5, 64), LIMITS);
  cluster.commit(joins(5));
  cluster.step(new Map());
  cluster.pause(true);
  assert.throws(() => cluster.toTheEnd(), /waits for somebody to resume it/);
  assert.equal(cluster.ring.pending.size, 0);
  assert.ok(cluster.ring.owners.includes(5));
  cluster.pause(false);
  cluster.toTheEnd();
});

test('rolled back, what is staged goes back at once, and what was flipped stays', () => {
  const cluster = new ModelCluster(ringOf(5, 64), LIMITS);
  const before = cluster.ring.owners;
  cluster.commit({ ...joins(5), leave: ['node-0'] });
  cluster.step(new Map());
  cluster.rollBack();
  assert.ok(cluster.step(new Map()), 'it waits for nobody');
  assert.equal(cluster.ring.pending.size, 0);
  assert.deepEqual(rowsOf(cluster.ring.owners), rowsOf(before));
  cluster.toTheEnd();
  assert.deepEqual(
    cluster.ring.nodes.map(({ status }) => status),
    ['UP', 'UP', 'UP', 'UP', 'UP', 'JOINING'],
  );
  cluster.commit(joins(5));
  cluster.toTheEnd();
  assert.equal(cluster.ring.nodes[5]?.status, 'UP');
});

test('a partition that is to go back to who has just given it up is settled first, and pulled again', () => {
  const cluster = new ModelCluster(ringOf(3, 16), LIMITS);
  cluster.commit(joins(3));
  cluster.step(new Map());
  for (const id of cluster.nodes.keys()) {
    cluster.learn(id);
    for (const p of cluster.ring.pending.keys()) cluster.pull(id, p);
    cluster.report(id);
  }
  cluster.step(cluster.latestReports());
  const flipped = [...cluster.ring.pending].filter(([, nodes]) => !nodes.includes(3)).map(([p]) => p);
  assert.ok(flipped.length > 0);
  cluster.commit({ leave: ['node-3'] });
  assert.deepEqual(cluster.goal?.flipped, flipped);
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-3')?.status, 'LEFT');
});

test('a goal that is lost half way is planned again from the ring alone', () => {
  const cluster = new ModelCluster(ringOf(6, 64), LIMITS);
  cluster.commit({ ...joins(6), leave: ['node-1'] });
  for (let i = 0; i < 5; i++) {
    for (const id of cluster.nodes.keys()) {
      cluster.learn(id);
      for (const p of cluster.ring.pending.keys()) cluster.pull(id, p);
      cluster.report(id);
    }
    cluster.step(cluster.latestReports());
  }
  assert.ok(cluster.ring.pending.size > 0);
  cluster.goal = undefined;
  cluster.commit({});
  cluster.toTheEnd();
  assert.equal(nodeById(cluster.ring, 'node-1')?.status, 'LEFT');
  assert.equal(cluster.ring.pending.size, 0);
});

test('a replacement moves what the one owned to the other, and nothing else', () => {
  const ring = ringOf(6, 64);
  const { plan } = planChange(ring, undefined, { ...NOTHING, ...joins(8), leave: ['node-2'] }, () => 1, xxh64);
  assert.deepEqual(
    plan.pairs.map(({ from, to }) => [from, to]),
    [[2, 6]],
  );
  assert.equal(plan.moves.length, plan.before.loads[2]);
});

test('one plan has one id, and another request or ring another', () => {
  const ring = ringOf(6, 16);
  const idOf = (...[on, request]: [typeof ring, Partial<ChangeRequest>]) =>
    planChange(on, undefined, { ...NOTHING, ...request }, () => 1, xxh64).goal.id;
  assert.equal(idOf(ring, joins(6)), idOf(ring, joins(6)));
  assert.notEqual(idOf(ring, joins(6)), idOf(ring, joins(7)));
  assert.notEqual(idOf(ring, joins(6)), idOf({ ...ring, version: { term: 1n, sequence: 2n } }, joins(6)));
});

test('a change that cannot be is refused with what there is', () => {
  const cluster = new ModelCluster(ringOf(5, 16), LIMITS);
  const plan = (request: object) => () =>
    planChange(cluster.ring, cluster.goal, { ...NOTHING, ...request }, () => 1, xxh64);
  assert.throws(plan({ leave: ['node-0', 'node-1', 'node-2'] }), /3 replicas need as many nodes, and 2 would be left/);
  assert.throws(plan({ leave: ['node-9'] }), /node node-9 is not in the ring/);
  assert.throws(plan(joins(3)), /node-3:7411 is in the ring already/);
  assert.throws(plan({ ...joins(5), leave: ['node-5'] }), /node-5:7411 cannot join, and leave or be down at once/);
  const even = ringOf(4, 16);
  assert.throws(() => planChange(even, undefined, NOTHING, () => 1, xxh64), /there is nothing to change/);
  assert.throws(
    plan({ leave: ['node-4'], down: ['node-1'] }),
    /node-1:7411 is down, and would have to take over \d+ partitions/,
  );
  cluster.commit({ ...joins(5), leave: ['node-0'] });
  cluster.toTheEnd();
  assert.throws(plan(joins(0)), /node-0:7411 has left, and cannot join again/);
  assert.throws(plan({ leave: ['node-0'] }), /node-0:7411 has left already/);
});

test('what only nodes that are down have is counted', () => {
  const ring = ringOf(7, 16);
  const down = ['node-0', 'node-1', 'node-2'];
  const { withoutSource, plan } = planChange(ring, undefined, { ...NOTHING, leave: down, down }, () => 1, xxh64);
  const lost = plan.moves.filter(({ sources }) => sources.every((node) => node < 3)).map(({ partition }) => partition);
  assert.deepEqual(withoutSource, [...new Set(lost)]);
});

test('a node that waits outside the ring can leave, dead or alive: it is LEFT, and nothing moves', () => {
  for (const down of [[], [member(9).id]]) {
    const cluster = new ModelCluster(ringOf(5, 16), LIMITS);
    const { owners } = cluster.ring;
    cluster.commit({ leave: [member(9).id], down, outside: [member(9)] });
    cluster.toTheEnd();
    assert.equal(nodeById(cluster.ring, member(9).id)?.status, 'LEFT');
    assert.deepEqual(cluster.ring.owners, owners);
  }
});
