/** Namespaces as values: which of two is the newer one, the codec, what an operator may ask for, and how they spread. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NamespaceSettings } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import {
  GossipRequest,
  GossipResponse,
  Namespace as NamespaceMessage,
} from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import { Failure, type ReasonName } from '../../services/core/failure.ts';
import { ask, GossipRefused, respond, take } from '../../services/core/membership/exchange.ts';
import { createMembership, learnNamespaces, type Membership } from '../../services/core/membership/membership.ts';
import { decodeNamespace, encodeNamespace, encodeNamespaceDigest } from '../../services/core/namespaces/codec.ts';
import {
  builtInNamespace,
  compareClaims,
  findNamespace,
  listNamespaces,
  mergeNamespaces,
  type Namespace,
  namespacesMax,
  sameSettings,
} from '../../services/core/namespaces/namespace.ts';
import { alteredNamespace, createdNamespace } from '../../services/core/namespaces/settings.ts';

const anyNamespace: fc.Arbitrary<Namespace> = fc.record(
  {
    name: fc.constantFrom('a', 'b', 'c.d-e_f', 'n'.repeat(63)),
    version: fc.integer({ min: 1, max: 3 }),
    r: fc.integer({ min: 0, max: 3 }),
    w: fc.integer({ min: 0, max: 3 }),
    durability: fc.constantFrom('DURABLE', 'ONE_DURABLE', 'BUFFERED'),
    resolution: fc.constantFrom('SIBLINGS', 'LAST_WRITER_WINS'),
    ttlMs: fc.constantFrom(0, 1, 1_500, 86_400_000),
    strict: fc.boolean(),
    readAllProbability: fc.constantFrom(0, 0.1, 1),
    losersKeptMs: fc.constantFrom(0, 1, 86_400_000),
  },
  { noNullPrototype: true },
);
const carts = createdNamespace('carts', undefined, 3);

const settings = (changes: Partial<NamespaceSettings>): NamespaceSettings =>
  NamespaceSettings.fromPartial(changes as Parameters<typeof NamespaceSettings.fromPartial>[0]);

test('merge is commutative, associative and idempotent', () => {
  const ofOneName = anyNamespace.map((namespace) => ({ ...namespace, name: 'a' }));
  fc.assert(
    fc.property(ofOneName, ofOneName, ofOneName, (a, b, c) => {
      assert.deepEqual(mergeNamespaces(a, b), mergeNamespaces(b, a));
      assert.deepEqual(mergeNamespaces(mergeNamespaces(a, b), c), mergeNamespaces(a, mergeNamespaces(b, c)));
      assert.equal(mergeNamespaces(a, a), a);
    }),
  );
});

test('the higher version wins; of one version the digest tells which one does', () => {
  const newer = { ...carts, version: 2, r: 1 };
  assert.equal(mergeNamespaces(carts, newer), newer);
  const twin = { ...newer, r: 3 };
  const order = compareClaims(encodeNamespaceDigest(newer), encodeNamespaceDigest(twin));
  assert.notEqual(order, 0);
  assert.equal(mergeNamespaces(newer, twin), order > 0 ? newer : twin);
});

test('every setting counts for whether two are the same', () => {
  const others: Partial<Namespace>[] = [
    { r: 1 },
    { w: 1 },
    { durability: 'BUFFERED' },
    { resolution: 'LAST_WRITER_WINS' },
    { ttlMs: 1 },
    { strict: true },
    { readAllProbability: 0.5 },
    { losersKeptMs: 1 },
  ];
  for (const other of others) {
    assert.ok(!sameSettings(carts, { ...carts, ...other }), JSON.stringify(other));
    assert.notEqual(compareClaims(encodeNamespaceDigest(carts), encodeNamespaceDigest({ ...carts, ...other })), 0);
  }
  assert.ok(sameSettings(carts, { ...carts, version: 9 }));
});

test('a namespace is the same after the wire', () => {
  fc.assert(
    fc.property(anyNamespace, (namespace) => {
      const bytes = NamespaceMessage.encode(encodeNamespace(namespace)).finish();
      assert.deepEqual(decodeNamespace(NamespaceMessage.decode(bytes)), namespace);
    }),
  );
});

test('a namespace from the wire that breaks a rule is refused', () => {
  const message = encodeNamespace(carts);
  const broken: Partial<NamespaceMessage>[] = [
    { name: '' },
    { name: 'No' },
    { name: 'n'.repeat(64) },
    { version: 0 },
    { version: 2 ** 31 + 1 },
    { r: 17 },
    { w: 17 },
    { durability: 0 },
    { durability: 4 as never },
    { resolution: 0 },
    { resolution: 3 as never },
    { readAllProbability: 1.1 },
    { readAllProbability: Number.NaN },
    { ttl: { seconds: -1n, nanos: 0 } },
    { ttl: { seconds: 1n << 40n, nanos: 0 } },
    { losersKept: { seconds: 0n, nanos: -1 } },
  ];
  for (const change of broken) {
    assert.throws(() => decodeNamespace({ ...message, ...change }), Error, String(Object.entries(change)));
    const request = { ...ask(createMembership(nothing, undefined)), namespaces: [{ ...message, ...change }] };
    assert.throws(() => respond(createMembership(nothing, undefined), request, 0), GossipRefused);
  }
});

test('what is built in is there without being created, and can be altered', () => {
  assert.equal(findNamespace(new Map(), 'default'), builtInNamespace);
  assert.equal(findNamespace(new Map(), 'carts'), undefined);
  const altered = alteredNamespace(builtInNamespace, settings({ w: 3 }), 3);
  assert.deepEqual([altered.version, altered.w, altered.r], [1, 3, 0]);
  const known = new Map([
    ['default', altered],
    ['carts', carts],
  ]);
  assert.equal(findNamespace(known, 'default'), altered);
  assert.deepEqual(listNamespaces(known), [carts, altered]);
  assert.deepEqual(listNamespaces(new Map()), [builtInNamespace]);
});

test('settings that are not given have their default in a create, and stay in an alter', () => {
  const created = createdNamespace('sessions', settings({ r: 1, strict: true, readAllProbability: 0.25 }), 3);
  assert.deepEqual(created, {
    ...builtInNamespace,
    name: 'sessions',
    version: 1,
    r: 1,
    strict: true,
    readAllProbability: 0.25,
  });
  const altered = alteredNamespace(created, settings({ strict: false, w: 2 }), 3);
  assert.deepEqual(altered, { ...created, version: 2, strict: false, w: 2 });
  assert.deepEqual(alteredNamespace(created, undefined, 3), { ...created, version: 2 });
});

const refused: readonly [what: string, asked: Partial<NamespaceSettings>, reason: ReasonName, field: string][] = [
  ['r above N', { r: 4 }, 'QUORUM_INVALID', 'settings.r'],
  ['w above N', { w: 4_294_967_295 }, 'QUORUM_INVALID', 'settings.w'],
  ['an unknown durability', { durability: 7 as never }, 'DURABILITY_INVALID', 'settings.durability'],
  ['an unknown resolution', { resolution: 7 as never }, 'NAMESPACE_INVALID', 'settings.resolution'],
  ['a negative ttl', { ttl: { seconds: -1n, nanos: 0 } }, 'TTL_INVALID', 'settings.ttl'],
  ['a ttl of centuries', { ttl: { seconds: 1n << 40n, nanos: 0 } }, 'TTL_INVALID', 'settings.ttl'],
  [
    'losers kept for less than nothing',
    { losersKept: { seconds: 0n, nanos: -1 } },
    'TTL_INVALID',
    'settings.losers_kept',
  ],
  ['a probability of 2', { readAllProbability: 2 }, 'NAMESPACE_INVALID', 'settings.read_all_probability'],
  [
    'a probability that is none',
    { readAllProbability: Number.NaN },
    'NAMESPACE_INVALID',
    'settings.read_all_probability',
  ],
];
for (const [what, asked, reason, field] of refused) {
  test(`${reason}: ${what}, in a create and an alter`, () => {
    for (const change of [
      () => createdNamespace('x', settings(asked), 3),
      () => alteredNamespace(carts, settings(asked), 3),
    ]) {
      assert.throws(change, (error: unknown) => {
        assert.ok(error instanceof Failure, `${error}`);
        assert.deepEqual([error.reason, error.details.field], [reason, field]);
        return true;
      });
    }
  });
}

test('names that are none cannot be created', () => {
  for (const name of ['', 'Carts', '-x', 'a b', 'ä', 'n'.repeat(64)]) {
    assert.throws(() => createdNamespace(name, undefined, 3), { reason: 'NAMESPACE_INVALID' });
  }
});

test('the resolution of a namespace is chosen once', () => {
  const latest = { ...carts, resolution: 'LAST_WRITER_WINS' as const };
  assert.throws(() => alteredNamespace(latest, settings({ resolution: 1 }), 3), { reason: 'NAMESPACE_INVALID' });
  assert.equal(alteredNamespace(carts, settings({ resolution: 1 }), 3).resolution, 'SIBLINGS');
});

const nothing = { clusterId: '', members: [], ring: undefined, namespaces: [] };
const knowing = (namespaces: readonly Namespace[]) => learnNamespaces(createMembership(nothing, undefined), namespaces);
const sorted = ({ namespaces }: Membership) => [...namespaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

/** One round, over real bytes. */
function exchange(caller: Membership, responder: Membership): [Membership, Membership] {
  const wire = (request: GossipRequest) => GossipRequest.decode(GossipRequest.encode(request).finish());
  const back = (response: GossipResponse) => GossipResponse.decode(GossipResponse.encode(response).finish());
  const [asked, answer] = respond(responder, wire(ask(caller)), 0);
  const [told, push] = take(caller, back(answer), 0);
  if (push === undefined) return [told, asked];
  const [pushed, thanks] = respond(asked, wire(push), 0);
  return [take(told, back(thanks), 0)[0], pushed];
}

test('after one round of gossip both ends know the same namespaces, and say nothing more', () => {
  fc.assert(
    fc.property(fc.array(anyNamespace), fc.array(anyNamespace), (left, right) => {
      const [a, b] = exchange(knowing(left), knowing(right));
      assert.deepEqual(sorted(a), sorted(b));
      assert.deepEqual(sorted(a), sorted(knowing([...right, ...left])));
      const [, answer] = respond(b, ask(a), 0);
      assert.deepEqual([answer.namespaces, answer.wantedNamespaces], [[], []]);
    }),
  );
});

test('there are at most so many namespaces; what is more is counted, and not asked for again', () => {
  const many = Array.from({ length: namespacesMax }, (_, i) => ({ ...carts, name: `n${i}` }));
  const full = knowing(many);
  const more = learnNamespaces(full, [
    { ...carts, name: 'one-more' },
    { ...carts, name: 'n7', version: 5 },
  ]);
  assert.equal(more.namespaces.size, namespacesMax);
  assert.equal(more.counts.namespacesRefused, 1);
  assert.equal(more.namespaces.get('n7')?.version, 5);
  const [, answer] = respond(full, ask(knowing([{ ...carts, name: 'one-more' }])), 0);
  assert.deepEqual(answer.wantedNamespaces, []);
  const tooMany = { ...ask(createMembership(nothing, undefined)), namespaces: [...many, carts].map(encodeNamespace) };
  assert.throws(() => respond(full, tooMany, 0), GossipRefused);
});
