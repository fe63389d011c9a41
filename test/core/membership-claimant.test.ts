import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClaimantState,
  claimantStep,
  createClaimant,
  HEARD_RECENTLY_MS,
} from '../../services/core/membership/claimant.ts';
import type { Member } from '../../services/core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  hear,
  learnMembers,
  type Membership,
} from '../../services/core/membership/membership.ts';
import type { Ring } from '../../services/core/ring/ring.ts';

const NOBODY = { clusterId: '', members: [], ring: undefined, namespaces: [] };
const SHAPE = { expectedNodes: 3, partitions: 16, replicas: 3 };

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
function step(state: ClaimantState, known: Membership, now = 0): [ClaimantState, Membership, Ring | undefined] {
  const [next, effects] = claimantStep(state, known, 'fresh', now);
  assert.ok(effects.length <= 1);
  const [effect] = effects;
  if (effect === undefined) return [next, known, undefined];
  return [next, adoptRing(adoptClusterId(known, effect.clusterId), effect.ring), effect.ring];
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
  assert.equal(state.waitingFor, 'the ring that node d knows');
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
