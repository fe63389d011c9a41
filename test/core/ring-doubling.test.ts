import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Failure } from '../../services/core/failure.ts';
import { planChange } from '../../services/core/membership/change-request.ts';
import { planDoubling } from '../../services/core/membership/doubling.ts';
import { advance, type Goal, partitionsLeft, rolledBack } from '../../services/core/membership/rebalance.ts';
import { stage } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { doubled } from '../../services/core/ring/doubling.ts';
import { createFences } from '../../services/core/ring/fences.ts';
import { partitionOf, partitionsSharing, rangeOfPartition } from '../../services/core/ring/partition.ts';
import { rowOf } from '../../services/core/ring/plan.ts';
import { preferenceList } from '../../services/core/ring/preference-list.ts';
import { createRing, epochOf, PARTITIONS_MAX, type Ring } from '../../services/core/ring/ring.ts';
import { decodeCourse, encodeCourse } from '../../services/membership/course-file.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { member, ringOf } from './rebalance-model.ts';

const LIMITS = { partitionsInFlight: 8, partitionsPerNode: 4 };
const nothing = { join: [], leave: [], down: [] };
const noReports = new Map();
const keyIn = (hash: bigint) => {
  const key = Buffer.alloc(12);
  key.writeBigUInt64BE(hash);
  return key;
};

/** The next ring, in which a node that did not own the partition takes the place of its first owner. */
function withOtherOwner(ring: Ring, partition: number): Ring {
  const row = rowOf(ring.owners, partition, ring.replicas);
  const owners = ring.owners.slice();
  owners[partition * ring.replicas] = ring.nodes.findIndex(({ index }) => !row.includes(index));
  return createRing({ ...ring, owners, version: { ...ring.version, sequence: ring.version.sequence + 1n } });
}

function refused(run: () => unknown, reason: string, message: RegExp): void {
  assert.throws(run, (error) => error instanceof Failure && error.reason === reason && message.test(error.message));
}

test('whatever the ring, a doubling leaves each key with its homes and its whole preference list', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 12 }),
      fc.integer({ min: 0, max: 7 }),
      fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 20, maxLength: 20 }),
      (size, bits, hashes) => {
        const before = ringOf(size, 2 ** bits);
        const after = doubled(before);
        assert.equal(after.partitions, 2 * before.partitions);
        for (const hash of hashes) {
          const [p, q] = [partitionOf(hash, before), partitionOf(hash, after)];
          assert.equal(q >> 1, p);
          assert.deepEqual(preferenceList(after, q), preferenceList(before, p));
        }
      },
    ),
  );
});

test('a doubling is the next version, and not beyond what is supported, nor with partitions on their way', () => {
  const ring = ringOf(4, 16);
  assert.deepEqual(doubled(ring).version, { term: 1n, sequence: 2n });
  const most = { ...ringOf(3, 1), partitions: PARTITIONS_MAX };
  assert.throws(() => doubled(most), /at most 65536 partitions/);
  refused(() => planDoubling(most, undefined, xxh64), 'CHANGE_IMPOSSIBLE', /has 65536 partitions, .* at most 65536/);
  const staged = stage(ring, withOtherOwner(ring, 3).owners, LIMITS);
  assert.throws(() => doubled(staged), /1 partitions are on their way/);
});

test('partitions of two numbers share keys where their ranges overlap, whichever number is larger', () => {
  const overlap = (p: number, of: number, q: number, among: number) => {
    const [a, b] = [rangeOfPartition(p, of), rangeOfPartition(q, among)];
    const isBefore = (x: Uint8Array, end: Uint8Array | undefined) => end === undefined || Buffer.compare(x, end) < 0;
    return isBefore(a.start, b.end) && isBefore(b.start, a.end);
  };
  for (const [from, to] of [
    [4, 16],
    [16, 4],
    [8, 8],
    [1, 2],
  ] as const) {
    for (let p = 0; p < from; p++) {
      const wanted = Array.from({ length: to }, (_, q) => q).filter((q) => overlap(p, from, q, to));
      assert.deepEqual(partitionsSharing(p, from, to), wanted);
    }
  }
});

test('a doubling moves no fence, and halves keep that of the whole', () => {
  const first = ringOf(5, 4);
  const moved = withOtherOwner(first, 2);
  const fences = createFences();
  for (const ring of [first, moved, doubled(moved)]) fences.follow(ring);
  const [old, moving] = [epochOf(first.version), epochOf(moved.version)];
  assert.deepEqual(
    Array.from({ length: 8 }, (_, p) => fences.of(p)),
    [old, old, old, old, moving, moving, old, old],
  );
  assert.equal(fences.ofKey(keyIn(0xa000_0000_0000_0000n)), moving, 'the key is in 2 of 4, and in 5 of 8');
});

test('a node that passed over a doubling moves the fences of those that are served by others now, and no others', () => {
  const first = ringOf(5, 4);
  const last = withOtherOwner(doubled(first), 5);
  const fences = createFences();
  fences.follow(first);
  fences.follow(last);
  const moved = Array.from({ length: 8 }, (_, p) => fences.of(p) === epochOf(last.version));
  assert.deepEqual(moved, [false, false, false, false, false, true, false, false]);
  assert.equal(fences.of(0), epochOf(first.version));
});

test('a ring with fewer partitions again has the highest fence of the parts', () => {
  const four = ringOf(5, 4);
  const eight = doubled(four);
  const moved = withOtherOwner(eight, 5);
  const fences = createFences();
  for (const ring of [four, eight, moved]) fences.follow(ring);
  const version = { term: 2n, sequence: moved.version.sequence + 1n };
  fences.follow(createRing({ ...four, version }));
  assert.deepEqual(
    [0, 1, 2, 3].map((p) => fences.of(p)),
    [epochOf(four.version), epochOf(four.version), epochOf(version), epochOf(four.version)],
    'partition 2 is served by others than the half of it was',
  );
});

test('a doubling is one ring, and a claimant that dies after any step of it ends it, once', () => {
  const ring = ringOf(5, 16);
  const { goal, after } = planDoubling(ring, undefined, xxh64);
  assert.equal(planDoubling(ring, goal, xxh64).goal.id, goal.id, 'planned again while it is under way it is the same');
  const kept = () => decodeCourse(encodeCourse({ goal, ended: [] })).goal as Goal;
  assert.equal(partitionsLeft(ring, kept()), 16);
  const issued = advance(ring, kept(), noReports, LIMITS);
  assert.deepEqual([issued.ring, issued.done], [after, false]);
  const ended = advance(after, kept(), noReports, LIMITS);
  assert.deepEqual([ended.ring, ended.done, partitionsLeft(after, kept())], [undefined, true, 0]);
});

test('while partitions move they are not doubled, and while they double nothing else is planned', () => {
  const ring = ringOf(5, 16);
  const move = planChange(ring, undefined, { ...nothing, join: [member(5)] }, () => 1, xxh64).goal;
  refused(() => planDoubling(ring, move, xxh64), 'CHANGE_CONFLICT', new RegExp(`the change ${move.id} is under way`));
  const staged = advance(ring, move, noReports, LIMITS).ring as Ring;
  refused(() => planDoubling(staged, undefined, xxh64), 'CHANGE_CONFLICT', /on their way, and the goal is not known/);
  const { goal } = planDoubling(ring, undefined, xxh64);
  const join = () => planChange(ring, goal, { ...nothing, join: [member(5)] }, () => 1, xxh64);
  refused(join, 'CHANGE_CONFLICT', /being doubled, from 16/);
});

test('a doubling that is paused waits, and one that is rolled back before its ring is issued leaves the ring as it is', () => {
  const ring = ringOf(5, 16);
  const { goal } = planDoubling(ring, undefined, xxh64);
  const paused = advance(ring, { ...goal, paused: true }, noReports, LIMITS);
  assert.deepEqual([paused.ring, paused.done, paused.waitingFor], [undefined, false, 'somebody to resume it']);
  const back = advance(ring, rolledBack(ring, goal), noReports, LIMITS);
  assert.deepEqual([back.ring, back.done], [undefined, true]);
});

test('a goal from before a doubling, that a claimant finds in an old directory, is given up', () => {
  const ring = ringOf(5, 16);
  const { goal } = planChange(ring, undefined, { ...nothing, join: [member(5)] }, () => 1, xxh64);
  const found = advance(doubled(ring), goal, noReports, LIMITS);
  assert.deepEqual([found.ring, found.done, partitionsLeft(doubled(ring), goal)], [undefined, true, 0]);
});

for (const [size, doublings] of [
  [5, 1],
  [7, 3],
  [12, 2],
] as const) {
  test(`after ${doublings} doublings of ${size} nodes a join moves hardly more than it must`, () => {
    let ring = ringOf(size, 64);
    const nodes = ring.nodes.map((node) => ({ ...node, zone: node.host }));
    ring = createRing({ ...ring, nodes, owners: firstClaim({ nodes, partitions: 64, replicas: 3 }) });
    for (let i = 0; i < doublings; i++) ring = doubled(ring);
    const join = [{ ...member(size), zone: 'another' }];
    const { plan } = planChange(ring, undefined, { ...nothing, join }, () => 1, xxh64);
    const must = Math.floor(ring.owners.length / (size + 1));
    assert.ok(plan.moves.length <= 1.1 * must + size, `${plan.moves.length} moves, ${must} must move`);
    const { loads } = plan.after;
    assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, `loads ${loads}`);
  });
}
