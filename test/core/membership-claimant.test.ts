import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planChange } from '../../services/core/membership/change-request.ts';
import {
  type ClaimantState,
  claimantStep,
  createClaimant,
  HEARD_RECENTLY_MS,
} from '../../services/core/membership/claimant.ts';
import type { Course } from '../../services/core/membership/course.ts';
import type { Member } from '../../services/core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  hear,
  learnMembers,
  type Membership,
} from '../../services/core/membership/membership.ts';
import type { Goal, Reports } from '../../services/core/membership/rebalance.ts';
import { epochOf, type Ring, weightOf } from '../../services/core/ring/ring.ts';
import { xxh64 } from '../../services/platform/hash.ts';

const NOBODY = { clusterId: '', members: [], ring: undefined, namespaces: [] };
const SHAPE = { expectedNodes: 3, partitions: 16, replicas: 3 };

const to = (goal: Goal): Course => ({ goal, ended: [] });

function member(id: string, changes: Partial<Member> = {}): Member {
  return {
    id,
    incarnation: 1n,
    status: 'JOINING',
    address: `${id}:7411`,
    host: `host-${id}`,
    zone: `zone-${id}`,
    ...changes,
  };
}

/** What a process knows that has just spoken to each of the members; `at` is when. */
function knowing(members: readonly Member[], at = 0, knowsRing = false): Membership {
  let state = learnMembers(createMembership(NOBODY, undefined), members);
  for (const { id } of members) state = hear(state, id, knowsRing, at);
  return state;
}

/** Carries the effects out, as the service does. */
function step(
  state: ClaimantState,
  known: Membership,
  now = 0,
  reports = reportsOf(known.ring),
): [ClaimantState, Membership, Ring | undefined] {
  const [next, effects] = claimantStep(state, known, 'fresh', now, reports);
  const issued = effects.filter((effect) => effect.kind === 'issue');
  assert.ok(issued.length <= 1);
  const [effect] = issued;
  if (effect === undefined) return [next, known, undefined];
  return [next, adoptRing(adoptClusterId(known, effect.clusterId), effect.ring), effect.ring];
}

/** All nodes of the ring, or those named, say that they know it, and have pulled all that is pending for them. */
function reportsOf(ring: Ring | undefined, ids = ring?.nodes.map(({ id }) => id) ?? []): Reports {
  if (ring === undefined) return new Map();
  return new Map(ids.map((id) => [id, { version: ring.version, pulled: new Set(ring.pending.keys()), owes: 0 }]));
}

/** Six nodes with a ring, and the goal that another one joins. */
function growing(): { known: Membership; goal: Goal; ring: Ring } {
  const members = ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => member(id));
  const [, known, ring] = step(createClaimant({ ...SHAPE, expectedNodes: 6 }), knowing(members));
  assert.ok(ring);
  const { id, address, host, zone } = member('g');
  const request = { join: [{ id, address, host, zone }], leave: [], down: [] };
  return { known, ring, goal: planChange(ring, undefined, request, () => 1, xxh64).goal };
}

test('the first ring forms when the expected nodes have joined, and not before', () => {
  const [waiting, , none] = step(createClaimant(SHAPE), knowing([member('b'), member('a')]));
  assert.equal(none, undefined);
  assert.equal(waiting.waitingFor, '2 of 3 storage nodes have joined');
  const [formed, known, ring] = step(waiting, knowing([member('b'), member('c'), member('a')]));
  assert.deepEqual(ring?.version, { term: 1n, sequence: 1n });
  assert.deepEqual(
    ring?.nodes.map(({ index, id, status }) => [index, id, status]),
    [
      [0, 'a', 'UP'],
      [1, 'b', 'UP'],
      [2, 'c', 'UP'],
    ],
  );
  assert.equal(known.clusterId, 'fresh');
  assert.equal(formed.waitingFor, '');
  assert.equal(step(formed, known)[2], undefined);
});

test('nodes beyond the expected number stay outside the ring', () => {
  const [state, known, ring] = step(createClaimant(SHAPE), knowing(['d', 'c', 'b', 'a'].map((id) => member(id))));
  assert.deepEqual(
    ring?.nodes.map((node) => node.id),
    ['a', 'b', 'c'],
  );
  assert.equal(step(state, learnMembers(known, [member('e')]))[2], undefined);
});

test('a node known only by hearsay is not counted', () => {
  const known = learnMembers(knowing([member('a'), member('b')]), [member('c')]);
  const [state, , ring] = step(createClaimant(SHAPE), known);
  assert.equal(ring, undefined);
  assert.equal(state.joinedNodes, 2);
});

test('a node that has fallen silent is not counted', () => {
  const known = knowing(['a', 'b', 'c'].map((id) => member(id)));
  assert.equal(step(createClaimant(SHAPE), known, HEARD_RECENTLY_MS + 1)[2], undefined);
  assert.notEqual(step(createClaimant(SHAPE), known, HEARD_RECENTLY_MS)[2], undefined);
});

test('of two nodes with one address, as after a lost disk, only the one heard last is counted', () => {
  const ghost = hear(knowing([member('old', { address: 'x:1' })]), 'old', false, 0);
  let known = learnMembers(ghost, [member('new', { address: 'x:1' }), member('b')]);
  known = hear(hear(known, 'new', false, 5), 'b', false, 5);
  assert.equal(step(createClaimant(SHAPE), known, 5)[0].joinedNodes, 2);
  known = hear(learnMembers(known, [member('c')]), 'c', false, 5);
  assert.deepEqual(
    step(createClaimant(SHAPE), known, 5)[2]?.nodes.map((node) => node.id),
    ['b', 'c', 'new'],
  );
});

test('a claimant that has lost its memory never forms a ring beside one that a node knows', () => {
  let known = knowing(['a', 'b', 'c'].map((id) => member(id)));
  known = hear(learnMembers(known, [member('d', { status: 'UP' })]), 'd', true, 0);
  const [state, , ring] = step(createClaimant(SHAPE), known);
  assert.equal(ring, undefined);
  assert.equal(state.waitingFor, 'the ring that d:7411 knows');
});

test('a claimant that knows a cluster but no ring waits for the ring', () => {
  const known = adoptClusterId(knowing(['a', 'b', 'c'].map((id) => member(id))), 'c9');
  const [state, , ring] = step(createClaimant(SHAPE), known);
  assert.equal(ring, undefined);
  assert.equal(state.waitingFor, 'the ring of cluster c9');
});

test('a node that comes back at another address gets a new ring with the same indexes and owners', () => {
  const [formed, known, first] = step(createClaimant(SHAPE), knowing(['a', 'b', 'c'].map((id) => member(id))));
  const moved = learnMembers(known, [member('b', { incarnation: 2n, address: 'b2:7411', zone: 'zone-x' })]);
  const [state, afterwards, ring] = step(formed, moved);
  assert.deepEqual(ring?.version, { term: 1n, sequence: 2n });
  assert.deepEqual(
    ring?.nodes.map(({ address, zone, status }) => `${address} ${zone} ${status}`),
    ['a:7411 zone-a UP', 'b2:7411 zone-x UP', 'c:7411 zone-c UP'],
  );
  assert.deepEqual(ring?.owners, first?.owners);
  assert.equal(step(state, afterwards)[2], undefined);
});

test('each life of a claimant issues under a term of its own', () => {
  const [, known] = step(createClaimant(SHAPE), knowing(['a', 'b', 'c'].map((id) => member(id))));
  const move = (state: Membership, n: bigint) =>
    learnMembers(state, [member('a', { incarnation: n, address: `a${n}:1` })]);
  const [second, later, ring] = step(createClaimant(SHAPE), move(known, 2n));
  assert.deepEqual(ring?.version, { term: 2n, sequence: 2n });
  assert.deepEqual(step(second, move(later, 3n))[2]?.version, { term: 2n, sequence: 3n });
});

test('a claimant that sees the ring of a later claimant issues nothing any more', () => {
  const [old, known] = step(createClaimant(SHAPE), knowing(['a', 'b', 'c'].map((id) => member(id))));
  const [, taken] = step(
    createClaimant(SHAPE),
    learnMembers(known, [member('a', { incarnation: 2n, address: 'a2:1' })]),
  );
  const [state, , ring] = step(old, learnMembers(taken, [member('b', { incarnation: 2n, address: 'b2:1' })]));
  assert.equal(ring, undefined);
  assert.match(state.waitingFor, /another claimant has issued ring 2\.2/);
});

test('more replicas than expected nodes are refused with both numbers', () => {
  assert.throws(() => createClaimant({ ...SHAPE, expectedNodes: 2 }), /3 replicas .* 2 are expected/);
});

test('a claimant walks the ring to its goal, and forgets the goal when it is there', () => {
  const { known, goal } = growing();
  let state = createClaimant(SHAPE, to(goal));
  let now = known;
  for (let i = 0; state.goal !== undefined; i++) {
    assert.ok(i < 100, state.waitingFor);
    [state, now] = step(state, now);
  }
  assert.deepEqual(now.ring?.owners, goal.owners);
  assert.equal(now.ring?.version.term, 2n);
  assert.equal(state.needsReports, false);
  const [, effects] = claimantStep(createClaimant(SHAPE, to(goal)), now, 'fresh', 0, reportsOf(now.ring));
  assert.deepEqual(effects, [{ kind: 'keepCourse', goal: undefined, ended: [{ id: goal.id, end: 'DONE' }] }]);
});

test('the first change of a life waits until every node that is not down has said which ring it knows', () => {
  const { known, goal } = growing();
  const [waiting, , none] = step(
    createClaimant(SHAPE, to(goal)),
    known,
    0,
    reportsOf(known.ring, ['a', 'b', 'c', 'd']),
  );
  assert.equal(none, undefined);
  assert.equal(waiting.waitingFor, 'e:7411, f:7411 to say which ring is known there');
  const down = { ...goal, down: ['e', 'f'] };
  assert.notEqual(
    step(createClaimant(SHAPE, to(down)), known, 0, reportsOf(known.ring, ['a', 'b', 'c', 'd']))[2],
    undefined,
  );
  const [heard, after] = step(waiting, known);
  assert.notEqual(
    step(heard, after, 0, reportsOf(after.ring, ['g']))[2],
    undefined,
    'later ones wait for whom they need',
  );
});

test('a node that says another weight has it in the ring, and nothing moves for it until that is planned', () => {
  const { known, ring } = growing();
  const heavier = learnMembers(known, [member('a', { incarnation: 2n, weight: 2 })]);
  const [, , issued] = step(createClaimant(SHAPE), heavier);
  assert.deepEqual(issued?.nodes.map(weightOf), [2, 1, 1, 1, 1, 1]);
  assert.deepEqual(issued.owners, ring.owners);
  const { plan } = planChange(issued, undefined, { join: [], leave: [], down: [] }, () => 1, xxh64);
  assert.ok(plan.moves.length > 0 && plan.moves.every(({ to }) => to === 0));
});

test('what two claimants stage from one ring is not pending since the same version', () => {
  const { known, goal } = growing();
  const [, after, first] = step(createClaimant(SHAPE, to(goal)), known);
  const [, , second] = step(createClaimant(SHAPE, to(goal), 7n), known);
  for (const ring of [first, second]) {
    assert.ok(ring && ring.pending.size > 0);
    assert.deepEqual(new Set(ring.pendingSince.values()), new Set([epochOf(ring.version)]));
  }
  assert.notDeepEqual(first?.version, second?.version);
  // Nothing but an address changes: what is pending is so since the ring before.
  const moved = learnMembers(after, [member('a', { incarnation: 2n, address: 'a2:7411' })]);
  const [, , third] = step(createClaimant(SHAPE, undefined, 9n), moved);
  assert.equal(third?.version.term, 9n);
  assert.deepEqual(third.pendingSince, first?.pendingSince);
});

test('a claimant with an old directory waits for the newer ring that a node knows', () => {
  const { known, goal, ring } = growing();
  const newer = { ...ring, version: { term: 1n, sequence: 9n } };
  const reports = new Map([...reportsOf(ring), ...reportsOf(newer, ['c'])]);
  const [state, , none] = step(createClaimant(SHAPE, to(goal)), known, 0, reports);
  assert.equal(none, undefined);
  assert.equal(state.waitingFor, 'the ring 1.9 that c:7411 knows');
  const moved = learnMembers(known, [member('b', { incarnation: 2n, address: 'b2:7411' })]);
  assert.equal(step(createClaimant(SHAPE), moved, 0, reports)[2], undefined);
});

test('an address is followed with fewer than N nodes silent, and not with N', () => {
  const { known, ring } = growing();
  const moved = learnMembers(known, [member('b', { incarnation: 2n, address: 'b2:7411' })]);
  const [waiting, , none] = step(createClaimant(SHAPE), moved, 0, reportsOf(ring, ['a', 'b', 'c']));
  assert.equal(none, undefined);
  assert.ok(waiting.needsReports);
  assert.notEqual(step(waiting, moved, 0, reportsOf(ring, ['a', 'b', 'c', 'd']))[2], undefined);
});

test('a claimant whose goal was lost says that the change must be planned again', () => {
  const { known, goal } = growing();
  const [, staged] = step(createClaimant(SHAPE, to(goal)), known);
  const [state, , none] = step(createClaimant(SHAPE), staged);
  assert.equal(none, undefined);
  assert.match(state.waitingFor, /^somebody to plan again: \d+ partitions are on their way and 0 nodes are leaving/);
});

test('an elected claimant issues rings of the term that it was elected for, the first one too', () => {
  const members = ['a', 'b', 'c'].map((id) => member(id));
  const [, known, ring] = step(createClaimant(SHAPE, undefined, 4n), knowing(members));
  assert.deepEqual(ring?.version, { term: 4n, sequence: 1n });
  const moved = learnMembers(known, [member('b', { incarnation: 2n, address: 'elsewhere:1' })]);
  assert.deepEqual(step(createClaimant(SHAPE, undefined, 9n), moved)[2]?.version, { term: 9n, sequence: 2n });
});

test('an elected claimant whose term is not above that of the ring issues nothing', () => {
  const { known, goal } = growing();
  const [state, , ring] = step(createClaimant(SHAPE, to(goal), 1n), known);
  assert.equal(ring, undefined);
  assert.equal(state.isSuperseded, true);
  const [next, , issued] = step(createClaimant(SHAPE, to(goal), 2n), known);
  assert.equal(issued?.version.term, 2n);
  assert.equal(next.isSuperseded, false);
});
