import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import {
  addNodes,
  flip,
  remaining,
  rollBack,
  setStatus,
  settle,
  stage,
  turnRows,
} from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { changeClaim } from '../../services/core/ring/claim-change.ts';
import { decodeRing, encodeRing } from '../../services/core/ring/codec.ts';
import { planOf } from '../../services/core/ring/plan.ts';
import { createRing, type Ring, ringsEqual } from '../../services/core/ring/ring.ts';

const member = (i: number) => ({
  id: `node-${i}`,
  address: `node-${i}:7411`,
  host: `host-${i}`,
  zone: `zone-${i % 3}`,
});

function ringOf(size: number, partitions = 64): Ring {
  const nodes = Array.from({ length: size }, (_, index) => ({ index, ...member(index), status: 'UP' as const }));
  return createRing({
    version: { term: 1n, sequence: 1n },
    partitions,
    replicas: 3,
    nodes,
    owners: firstClaim({ nodes, partitions, replicas: 3 }),
    pending: new Map(),
  });
}

/** The ring with the joining nodes in it, and the owners it is to come to. */
function changed(ring: Ring, joins: number, leaves: readonly number[]): { ring: Ring; owners: Uint16Array } {
  const joining = Array.from({ length: joins }, (_, i) => member(ring.nodes.length + i));
  const grown = addNodes(ring, joining);
  const wanted = grown.nodes.map((node) => node.index).filter((index) => !leaves.includes(index));
  return { ring: grown, owners: changeClaim({ ...grown, wanted }).owners };
}

function busiest(ring: Ring, owners: Uint16Array): number {
  const busy = new Map<number, number>();
  for (const move of planOf(ring, owners, () => 1).moves) {
    if (!ring.pending.has(move.partition)) continue;
    for (const node of [move.from, move.to]) busy.set(node, (busy.get(node) ?? 0) + 1);
  }
  return Math.max(0, ...busy.values());
}

function rowOf({ owners }: Pick<Ring, 'owners'>, partition: number): number[] {
  return [...owners.subarray(partition * 3, partition * 3 + 3)];
}

test('a change walked in any order of flips and rollbacks ends with the new owners, through sound rings alone', () => {
  fc.assert(
    fc.property(
      fc.record({
        size: fc.integer({ min: 5, max: 12 }),
        joins: fc.integer({ min: 0, max: 3 }),
        leaves: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 2 }),
        inFlight: fc.integer({ min: 1, max: 9 }),
        perNode: fc.integer({ min: 1, max: 4 }),
        choices: fc.array(fc.nat(), { minLength: 1, maxLength: 30 }),
      }),
      ({ size, joins, leaves, inFlight, perNode, choices }) => {
        const start = changed(ringOf(size), joins, leaves);
        const { owners } = start;
        let ring = turnRows(start.ring, owners);
        for (let step = 0; remaining(ring, owners) > 0; step++) {
          assert.ok(step < 2000, 'the walk does not end');
          const staged = stage(ring, owners, { partitionsInFlight: inFlight, partitionsPerNode: perNode });
          assert.ok(staged.pending.size >= 1 && staged.pending.size <= inFlight);
          assert.ok(busiest(staged, owners) <= perNode);
          const received = decodeRing(RingMessage.decode(RingMessage.encode(encodeRing(staged)).finish()));
          assert.ok(ringsEqual(received, staged));
          const choice = choices[step % choices.length] as number;
          const partition = [...staged.pending.keys()][choice % staged.pending.size] as number;
          const isFlipped = rowOf(staged, partition).join() === rowOf({ ...staged, owners }, partition).join();
          const before = staged.version.sequence;
          if (isFlipped) ring = settle(staged, [partition]);
          else if (step < 30 && choice % 4 === 0) ring = rollBack(staged, [partition]);
          else ring = flip(staged, owners, [partition]);
          assert.equal(ring.version.sequence, before + 1n);
        }
        assert.equal(ring.pending.size, 0);
        assert.deepEqual(ring.owners, owners);
      },
    ),
    { numRuns: 40 },
  );
});

test('moves turn the old rows into the new ones, and pairs add up to them', () => {
  const { ring, owners } = changed(ringOf(7), 2, [1]);
  const plan = planOf(ring, owners, (partition) => 100 + partition);
  for (let p = 0; p < ring.partitions; p++) {
    const row = new Set(ring.owners.subarray(p * 3, p * 3 + 3));
    for (const move of plan.moves.filter(({ partition }) => partition === p)) {
      assert.equal(move.sources[0], move.from);
      assert.deepEqual([...move.sources].sort(), [...ring.owners.subarray(p * 3, p * 3 + 3)].sort());
      assert.ok(row.delete(move.from), 'from an owner');
      row.add(move.to);
    }
    assert.deepEqual([...row].sort(), [...owners.subarray(p * 3, p * 3 + 3)].sort());
  }
  const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
  assert.equal(sum(plan.pairs.map((pair) => pair.replicas)), plan.moves.length);
  assert.equal(sum(plan.pairs.map((pair) => pair.bytes)), plan.bytes);
  assert.equal(sum(plan.after.loads), 64 * 3);
  assert.equal(plan.after.loads[1], 0);
  assert.equal(plan.before.loads[8], 0);
});

test('a plan counts partitions on fewer zones or hosts than there could be', () => {
  const ring = ringOf(6);
  const owners = ring.owners.slice();
  owners.set([0, 3, 1], 0); // 0 and 3 are both of zone 0
  const plan = planOf(ring, owners, () => 0);
  assert.deepEqual([plan.before.unsafeZones, plan.after.unsafeZones, plan.after.unsafeHosts], [0, 1, 0]);
});

test('with more zones than replicas no first claim is counted as unsafe', () => {
  const nodes = ringOf(10).nodes.map((node) => ({ ...node, zone: `zone-${node.index % 5}` }));
  const owners = firstClaim({ nodes, partitions: 64, replicas: 3 });
  const { before } = planOf(createRing({ ...ringOf(10), nodes, owners }), owners, () => 0);
  assert.deepEqual([before.unsafeHosts, before.unsafeZones], [0, 0]);
});

test('a partition that is not pending cannot be flipped, nor one that is pending for others', () => {
  const { ring, owners } = changed(ringOf(5), 2, []);
  const { partition } = planOf(ring, owners, () => 0).moves[0] as { partition: number };
  assert.throws(() => flip(ring, owners, [partition]), /are to enter, and it is pending for \[\]/);
  const row = rowOf(ring, partition);
  const stranger = ring.nodes.find(
    ({ index }) => !row.includes(index) && !rowOf({ owners }, partition).includes(index),
  );
  const other = createRing({ ...ring, pending: new Map([[partition, [stranger?.index as number]]]) });
  assert.throws(() => flip(other, owners, [partition]), /cannot be flipped/);
});

test('an owner of a partition cannot be pending for it', () => {
  const ring = ringOf(5);
  const pending = new Map([[7, [ring.owners[7 * 3 + 1] as number]]]);
  assert.throws(() => createRing({ ...ring, pending }), /partition 7 is pending for node \d, which owns it/);
});

test('flipped partitions are pending for those that left, but for nodes that are down', () => {
  const { ring, owners } = changed(ringOf(5), 0, [2]);
  const all = { partitionsInFlight: 100, partitionsPerNode: 100 };
  const leaving = flip(stage(ring, owners, all), owners, [...stage(ring, owners, all).pending.keys()]);
  assert.deepEqual(new Set([...leaving.pending.values()].flat()), new Set([2]));
  assert.deepEqual(leaving.owners.includes(2), false);
  assert.equal(settle(leaving, [...leaving.pending.keys()]).pending.size, 0);
  const staged = stage(setStatus(ring, 2, 'DOWN'), owners, all);
  assert.equal(flip(staged, owners, [...staged.pending.keys()]).pending.size, 0);
});

test('a node goes from JOINING to UP, and from LEAVING to LEFT when it owns nothing', () => {
  let { ring, owners } = changed(ringOf(5), 1, [2]);
  ring = setStatus(setStatus(ring, 5, 'UP'), 2, 'LEAVING');
  assert.throws(() => setStatus(ring, 2, 'LEFT'), /node 2 cannot have left/);
  ring = turnRows(ring, owners);
  while (remaining(ring, owners) > 0) {
    ring = stage(ring, owners, { partitionsInFlight: 4, partitionsPerNode: 4 });
    const staged = [...ring.pending.keys()];
    ring = settle(flip(ring, owners, staged), staged);
  }
  ring = setStatus(ring, 2, 'LEFT');
  assert.throws(() => setStatus(ring, 2, 'UP'), /node 2 is LEFT, and cannot become UP/);
  assert.equal(ring.nodes[5]?.status, 'UP');
});
