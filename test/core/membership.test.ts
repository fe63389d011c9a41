import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GossipRequest, GossipResponse } from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import { ask, GossipRefused, respond, take } from '../../services/core/membership/exchange.ts';
import { MEMBERS_MAX, type Member, mergeMembers, nextIncarnation } from '../../services/core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  learnMembers,
  type Membership,
  ownEntry,
} from '../../services/core/membership/membership.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { encodeRing } from '../../services/core/ring/codec.ts';
import { createRing, type NodeStatusName, type Ring } from '../../services/core/ring/ring.ts';

const STATUSES: readonly NodeStatusName[] = ['JOINING', 'UP', 'LEAVING', 'LEFT', 'DOWN'];
const NOBODY = { clusterId: '', members: [], ring: undefined, namespaces: [] };

function member(id: string, changes: Partial<Member> = {}): Member {
  return { id, incarnation: 1n, status: 'JOINING', address: `${id}:7411`, host: `host-${id}`, zone: 'z', ...changes };
}

function ringOf(term: bigint, sequence: bigint, ids: readonly string[], changes: Partial<Ring> = {}): Ring {
  const nodes = ids.map((id, index) => {
    const { address, host, zone } = member(id);
    return { index, id, address, host, zone, status: 'UP' as const };
  });
  const shape = { partitions: 8, replicas: 1 };
  const owners = firstClaim({ nodes, ...shape });
  return createRing({ version: { term, sequence }, ...shape, nodes, owners, pending: new Map(), ...changes });
}

/** Two processes talk, over real bytes, until neither has anything new for the other. */
function exchange(caller: Membership, responder: Membership, now = 0): [Membership, Membership] {
  const wire = (request: GossipRequest) => GossipRequest.decode(GossipRequest.encode(request).finish());
  const back = (response: GossipResponse) => GossipResponse.decode(GossipResponse.encode(response).finish());
  const [asked, answer] = respond(responder, wire(ask(caller)), now);
  const [told, push] = take(caller, back(answer), now);
  if (push === undefined) return [told, asked];
  const [pushed, thanks] = respond(asked, wire(push), now);
  return [take(told, back(thanks), now)[0], pushed];
}

const anyEntry = fc.record(
  {
    id: fc.constantFrom('a', 'b', 'c'),
    incarnation: fc.bigInt({ min: 1n, max: 3n }),
    status: fc.constantFrom(...STATUSES),
    address: fc.constantFrom('x:1', 'y:1'),
    host: fc.constantFrom('h1', 'h2'),
    zone: fc.constantFrom('z1', 'z2'),
  },
  { noNullPrototype: true },
);

test('merging entries is commutative, associative and idempotent', () => {
  const ofOneNode = anyEntry.map((entry) => ({ ...entry, id: 'a' }));
  fc.assert(
    fc.property(ofOneNode, ofOneNode, ofOneNode, (a, b, c) => {
      assert.deepEqual(mergeMembers(a, b), mergeMembers(b, a));
      assert.deepEqual(mergeMembers(mergeMembers(a, b), c), mergeMembers(a, mergeMembers(b, c)));
      assert.deepEqual(mergeMembers(a, a), a);
    }),
  );
});

test('a higher incarnation wins over any status, and within one the status only rises', () => {
  const down = member('a', { incarnation: 4n, status: 'DOWN' });
  assert.equal(mergeMembers(down, member('a', { incarnation: 5n })).status, 'JOINING');
  assert.equal(mergeMembers(down, member('a', { incarnation: 4n, status: 'UP' })), down);
});

test('the order in which entries arrive does not matter', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 12 }), fc.integer({ min: 0, max: 12 }), (entries, cut) => {
      const table = (list: Member[]) =>
        new Map([...learnMembers(createMembership(NOBODY, undefined), list).members].sort());
      const shuffled = [...entries.slice(cut), ...entries.slice(0, cut).reverse(), ...entries];
      assert.deepEqual(table(shuffled), table(entries));
    }),
  );
});

test('after one round both ends know the same members', () => {
  fc.assert(
    fc.property(fc.array(anyEntry), fc.array(anyEntry), (left, right) => {
      const [a, b] = exchange(
        learnMembers(createMembership(NOBODY, undefined), left),
        learnMembers(createMembership(NOBODY, undefined), right),
      );
      // Digests hold (incarnation, status) only: what differs beyond them cannot be told apart.
      const claims = (state: Membership) =>
        [...state.members.values()].map(({ id, incarnation, status }) => `${id} ${incarnation} ${status}`).sort();
      assert.deepEqual(claims(a), claims(b));
    }),
  );
});

test('one round of a newcomer makes both ends know both, and the newcomer the ring and the cluster', () => {
  const old = createMembership(
    { clusterId: 'c1', members: [], ring: ringOf(1n, 1n, ['a', 'b']), namespaces: [] },
    member('a'),
  );
  const [newcomer, afterwards] = exchange(createMembership(NOBODY, member('n')), old);
  assert.deepEqual([...newcomer.members.keys()].sort(), ['a', 'n']);
  assert.deepEqual([...afterwards.members.keys()].sort(), ['a', 'n']);
  assert.equal(newcomer.clusterId, 'c1');
  assert.deepEqual(newcomer.ring, old.ring);
});

test('a caller with a newer ring brings it in the second call', () => {
  const caller = createMembership(
    { clusterId: 'c1', members: [], ring: ringOf(1n, 2n, ['a', 'b']), namespaces: [] },
    member('a'),
  );
  const older = createMembership(
    { clusterId: 'c1', members: [], ring: ringOf(1n, 1n, ['a', 'b']), namespaces: [] },
    member('b'),
  );
  const [, responder] = exchange(caller, older);
  assert.deepEqual(responder.ring, caller.ring);
});

test('an observer learns everything and is in nobody’s table', () => {
  const [observer, node] = exchange(createMembership(NOBODY, undefined), createMembership(NOBODY, member('a')));
  assert.deepEqual([...observer.members.keys()], ['a']);
  assert.deepEqual([...node.members.keys()], ['a']);
});

test('nothing more is said once both know the same', () => {
  const [a, b] = exchange(createMembership(NOBODY, member('a')), createMembership(NOBODY, member('b')));
  const [, answer] = respond(b, ask(a), 0);
  assert.deepEqual([answer.members, answer.wanted, answer.ring], [[], [], undefined]);
  assert.equal(take(a, answer, 0)[1], undefined);
});

test('the ring of the higher term, then sequence, wins; a lower one is counted and ignored', () => {
  const rings = [ringOf(1n, 5n, ['a']), ringOf(2n, 1n, ['a']), ringOf(2n, 2n, ['a'])];
  let state = createMembership(NOBODY, undefined);
  for (const ring of rings) state = adoptRing(state, ring);
  assert.equal(state.ring, rings[2]);
  for (const ring of rings) state = adoptRing(state, ring);
  assert.equal(state.ring, rings[2]);
  assert.equal(state.counts.ringsOlder, 2);
  assert.equal(state.counts.ringConflicts, 0);
});

test('a ring of the same version with other content is an alarm and is not applied', () => {
  const known = ringOf(1n, 1n, ['a', 'b']);
  const state = adoptRing(adoptRing(createMembership(NOBODY, undefined), known), ringOf(1n, 1n, ['b', 'a']));
  assert.equal(state.ring, known);
  assert.equal(state.counts.ringConflicts, 1);
  assert.equal(adoptRing(state, ringOf(1n, 1n, ['a', 'b'])).counts.ringConflicts, 1);
});

test('a node that the ring has is UP in its own entry, at once after a restart too', () => {
  const ring = ringOf(1n, 1n, ['a']);
  const joined = adoptRing(createMembership(NOBODY, member('a')), ring);
  assert.equal(ownEntry(joined)?.status, 'UP');
  assert.equal(ownEntry(createMembership({ ...NOBODY, ring }, member('a')))?.status, 'UP');
  assert.equal(ownEntry(adoptRing(createMembership(NOBODY, member('late')), ring))?.status, 'JOINING');
});

test('a cluster id is adopted once, and a process of another cluster is refused with both names', () => {
  const ours = adoptClusterId(createMembership(NOBODY, undefined), 'ours');
  const theirs = adoptClusterId(createMembership(NOBODY, member('x')), 'theirs');
  const [, answer] = respond(adoptClusterId(createMembership(NOBODY, undefined), 'theirs'), ask(theirs), 0);
  for (const attempt of [() => respond(ours, ask(theirs), 0), () => take(ours, answer, 0)]) {
    assert.throws(attempt, (error) => {
      assert.ok(error instanceof GossipRefused);
      assert.equal(error.code, 'FAILED_PRECONDITION');
      assert.match(error.message, /theirs/);
      assert.match(error.message, /ours/);
      return true;
    });
  }
});

test('a node refutes what others say of it by a higher incarnation, and stays as it is', () => {
  const rumours: Partial<Member>[] = [
    { status: 'DOWN' },
    { status: 'LEFT', incarnation: 9n },
    { incarnation: 7n, address: 'elsewhere:1' },
  ];
  for (const rumour of rumours) {
    const state = learnMembers(createMembership(NOBODY, member('a')), [member('a', rumour)]);
    const own = ownEntry(state);
    assert.equal(own?.incarnation, (rumour.incarnation ?? 1n) + 1n);
    assert.equal(own?.address, 'a:7411');
    assert.equal(own?.status, 'JOINING');
    assert.equal(state.counts.refutations, 1);
  }
});

test('what a node said itself in an earlier state is no rumour', () => {
  const said = createMembership(NOBODY, member('a'));
  const now = adoptRing(said, ringOf(1n, 1n, ['a']));
  const entry = ownEntry(said) as Member;
  assert.equal(learnMembers(now, [entry, member('a', { incarnation: 0n })]), now);
});

test('a node whose disk was restored from an image notices by what others know of it', () => {
  const image = { ...NOBODY, members: [member('a', { incarnation: 10n })] };
  const lost = createMembership(image, member('a', { incarnation: 25n }));
  const other = learnMembers(createMembership(NOBODY, member('b')), [ownEntry(lost) as Member]);
  // The next start from the same image may choose a lower or a higher incarnation than the life it forgot.
  for (const incarnation of [20n, 30n]) {
    const restored = createMembership(image, member('a', { incarnation }));
    assert.equal(restored.self?.isRestored, false);
    assert.equal(exchange(restored, other)[0].self?.isRestored, true);
    assert.equal(exchange(other, restored)[1].self?.isRestored, true);
  }
});

test('a node that starts again with its own memory does not believe itself restored', () => {
  const first = createMembership(NOBODY, member('a', { incarnation: 10n }));
  const [, other] = exchange(first, createMembership(NOBODY, member('b')));
  const again = createMembership(
    { ...NOBODY, members: [...first.members.values()] },
    member('a', { incarnation: nextIncarnation(10n, 0n) }),
  );
  const [afterwards, met] = exchange(again, other);
  assert.equal(afterwards.self?.isRestored, false);
  assert.equal(met.members.get('a')?.incarnation, nextIncarnation(10n, 0n));
  assert.equal(exchange(afterwards, met)[0].self?.isRestored, false);
});

test('a node does not believe itself restored by its own refutations', () => {
  let node = createMembership(NOBODY, member('a', { incarnation: 10n }));
  node = learnMembers(node, [member('a', { incarnation: 10n, status: 'DOWN' })]);
  node = learnMembers(node, [member('a', { incarnation: 11n, status: 'DOWN' })]);
  assert.equal(ownEntry(node)?.incarnation, 12n);
  assert.equal(node.self?.isRestored, false);
});

test('each start has a higher incarnation than every one before, whatever the random part', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 62n }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (previous, random) => {
        assert.ok(nextIncarnation(previous, random) > previous);
      },
    ),
  );
});

test('the table of members is bounded, and what is refused is counted', () => {
  const entries = Array.from({ length: MEMBERS_MAX + 3 }, (_, i) => member(`n${i}`));
  const state = learnMembers(createMembership(NOBODY, undefined), entries);
  assert.equal(state.members.size, MEMBERS_MAX);
  assert.equal(state.counts.membersRefused, 3);
});

const hostile: [string, (request: GossipRequest) => void, RegExp, GossipRefused['code']][] = [
  ['another wire version', (r) => Object.assign(r, { wireVersion: 2 }), /wire version 2 .* 1$/, 'FAILED_PRECONDITION'],
  [
    'a member without id',
    (r) => Object.assign(r, { members: [wireMember({ id: '' })] }),
    /id of a member is empty/,
    'INVALID_ARGUMENT',
  ],
  [
    'a member without port',
    (r) => Object.assign(r, { members: [wireMember({ address: 'x' })] }),
    /"x", and HOST:PORT/,
    'INVALID_ARGUMENT',
  ],
  [
    'a member of incarnation 0',
    (r) => Object.assign(r, { members: [wireMember({ incarnation: 0n })] }),
    /is 0, and 1 to/,
    'INVALID_ARGUMENT',
  ],
  [
    'the last incarnation',
    (r) => Object.assign(r, { members: [wireMember({ incarnation: 2n ** 64n - 1n })] }),
    /1 to/,
    'INVALID_ARGUMENT',
  ],
  [
    'a status that is none',
    (r) => Object.assign(r, { digests: [{ id: 'a', incarnation: 1n, status: 0 }] }),
    /status.*is 0/,
    'INVALID_ARGUMENT',
  ],
  [
    'too many digests',
    (r) => Object.assign(r, { digests: new Array(MEMBERS_MAX + 1).fill({ id: 'a', incarnation: 1n, status: 1 }) }),
    /4097 digests, and at most 4096/,
    'INVALID_ARGUMENT',
  ],
  [
    'a ring without cluster',
    (r) => Object.assign(r, { clusterId: '', ring: encodeRing(ringOf(1n, 1n, ['a'])) }),
    /without the id of its cluster/,
    'INVALID_ARGUMENT',
  ],
  [
    'a ring whose owners do not exist',
    (r) => {
      r.ring = encodeRing(ringOf(9n, 1n, ['a']));
      r.ring.owners[5]?.owners.splice(0, 1, 7);
    },
    /partition 5 is owned by node 7/,
    'INVALID_ARGUMENT',
  ],
];

function wireMember(changes: Partial<GossipRequest['members'][number]>): GossipRequest['members'][number] {
  return { id: 'm', incarnation: 1n, status: 1, address: 'm:1', host: '', zone: '', weight: 0, ...changes };
}

for (const [name, spoil, message, code] of hostile) {
  test(`gossip with ${name} is refused whole`, () => {
    const caller = createMembership({ ...NOBODY, clusterId: 'c1' }, member('caller'));
    const request = ask(caller);
    spoil(request);
    assert.throws(
      () => respond(createMembership({ ...NOBODY, clusterId: 'c1' }, member('a')), request, 0),
      (error) => error instanceof GossipRefused && error.code === code && message.test(error.message),
    );
  });
}

test('a status that goes back, as when a leave is taken back, reaches the others by a new incarnation of the node', () => {
  const a = createMembership(NOBODY, member('a', { incarnation: 5n }));
  const nodes = (status: NodeStatusName) => ringOf(1n, 1n, ['a']).nodes.map((node) => ({ ...node, status }));
  const leaving = adoptRing(adoptClusterId(a, 'c'), ringOf(1n, 1n, ['a'], { nodes: nodes('LEAVING') }));
  const other = exchange(leaving, createMembership(NOBODY, undefined))[1];
  assert.equal(other.members.get('a')?.status, 'LEAVING');
  const up = adoptRing(leaving, ringOf(1n, 2n, ['a']));
  const [, told] = exchange(up, other);
  assert.deepEqual([told.members.get('a')?.status, told.members.get('a')?.incarnation], ['UP', 6n]);
  assert.equal(learnMembers(up, [member('a', { incarnation: 6n })]).self?.isRestored, false);
});

test('a node that is dead is forgotten by the others when the ring says that it has left, and gossip does not bring it back', () => {
  const known = learnMembers(createMembership(NOBODY, member('a')), [member('b', { status: 'UP' })]);
  const nodes = ringOf(1n, 1n, ['a', 'b']).nodes.map(
    (node) => ({ ...node, status: node.id === 'b' ? 'LEFT' : 'UP' }) as const,
  );
  const left = adoptRing(adoptClusterId(known, 'c'), ringOf(1n, 1n, ['a', 'b'], { nodes }));
  assert.equal(left.members.has('b'), false);
  assert.equal(learnMembers(left, [member('b', { status: 'UP' })]), left);
});

test('a node that is replaced while it is DOWN is forgotten by everybody in the end, and no ghost', () => {
  let known = adoptClusterId(learnMembers(createMembership(NOBODY, member('a')), [member('b', { status: 'UP' })]), 'c');
  for (const [sequence, status, knownAs] of [
    [1n, 'DOWN', 'DOWN'],
    [2n, 'LEFT', undefined],
  ] as const) {
    const nodes = ringOf(1n, sequence, ['a', 'b']).nodes.map(
      (node) => ({ ...node, status: node.id === 'b' ? status : 'UP' }) as const,
    );
    known = adoptRing(known, ringOf(1n, sequence, ['a', 'b'], { nodes }));
    assert.equal(known.members.get('b')?.status, knownAs);
  }
  assert.equal(learnMembers(known, [member('b', { status: 'DOWN' })]), known);
});
