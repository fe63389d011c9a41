import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RingDelta } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { addNodes, flip, type NewNode, setStatus, settle, stage } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { changeClaim } from '../../services/core/ring/claim-change.ts';
import { applyDelta, deltaOf } from '../../services/core/ring/delta.ts';
import { createRing, type Ring, ringsEqual } from '../../services/core/ring/ring.ts';

const limits = { partitionsInFlight: 16, partitionsPerNode: 16 };

function newNode(index: number): NewNode {
  const name = `cartwheel-storage-${index}`;
  return {
    id: (0xfedc_ba98_7654_3210n - BigInt(index)).toString(16),
    address: `${name}.cartwheel-storage.production.svc.cluster.local:7411`,
    host: `host-${index}`,
    zone: `zone-${index % 3}`,
  };
}

function ringOf(nodes: number, partitions: number): Ring {
  const members = Array.from({ length: nodes }, (_, index) => ({ ...newNode(index), index, status: 'UP' as const }));
  const owners = firstClaim({ nodes: members, partitions, replicas: 3 });
  const version = { term: 2n, sequence: 9n };
  return createRing({ version, partitions, replicas: 3, nodes: members, owners, pending: new Map() });
}

/** The rings that one more node goes through. */
function join(ring: Ring): Ring[] {
  const joined = addNodes(ring, [newNode(ring.nodes.length)]);
  const { owners } = changeClaim({ ...joined, wanted: joined.nodes.map(({ index }) => index) });
  const staged = stage(joined, owners, limits);
  const partitions = [...staged.pending.keys()];
  const flipped = flip(staged, owners, partitions.slice(0, 2));
  const settled = settle(flipped, partitions.slice(0, 2));
  return [ring, joined, staged, flipped, settled, setStatus(settled, ring.nodes.length, 'UP')];
}

function overTheWire(delta: RingDelta | undefined): RingDelta {
  assert.ok(delta);
  return RingDelta.decode(RingDelta.encode(delta).finish());
}

test('I1: from any ring of a change to any later one, what differs makes the later one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 12 }),
      fc.integer({ min: 3, max: 6 }),
      fc.nat(5),
      fc.nat(5),
      (n, bits, a, b) => {
        const rings = join(ringOf(n, 2 ** bits));
        const [from, to] = [rings[Math.min(a, b)] as Ring, rings[Math.max(a, b)] as Ring];
        assert.ok(ringsEqual(applyDelta(from, overTheWire(deltaOf(from, to))), to));
      },
    ),
    { numRuns: 60 },
  );
});

test('the flip of one partition of 4,096 is less than 200 bytes', () => {
  const ring = ringOf(300, 4096);
  const joined = addNodes(ring, [newNode(300)]);
  const { owners } = changeClaim({ ...joined, wanted: joined.nodes.map(({ index }) => index) });
  const staged = stage(joined, owners, limits);
  const flipped = flip(staged, owners, [...staged.pending.keys()].slice(0, 1));
  const delta = deltaOf(staged, flipped);
  assert.ok(delta);
  assert.ok(RingDelta.encode(delta).finish().length < 200);
});

test('a change on top of another ring than the one that is known is refused', () => {
  const [ring, joined, staged] = join(ringOf(4, 8)) as [Ring, Ring, Ring];
  const delta = overTheWire(deltaOf(joined, staged));
  assert.throws(() => applyDelta(ring, delta), /a change of the ring 2\.10 came, and 2\.9 is known/);
  assert.throws(() => applyDelta(undefined, delta), /a change of the ring 2\.10 came, and none is known/);
});

test('a ring with another number of partitions has no delta', () => {
  assert.equal(deltaOf(ringOf(4, 8), ringOf(4, 16)), undefined);
  assert.equal(deltaOf(ringOf(5, 8), ringOf(4, 8)), undefined);
});

test('I2: a change that makes no ring is refused, and says why', () => {
  const [ring, joined] = join(ringOf(4, 8)) as [Ring, Ring];
  const good = overTheWire(deltaOf(ring, joined));
  const [node] = good.nodes as [RingDelta['nodes'][number]];
  const broken: readonly (readonly [Partial<RingDelta>, RegExp])[] = [
    [{ from: undefined }, /no version/],
    [{ to: undefined }, /no version/],
    [{ nodes: [{ ...node, index: 9 }] }, /node 9 .* after node 3/],
    [{ nodes: [{ ...node, address: 'nowhere' }] }, /HOST:PORT/],
    [{ owners: { 8: { owners: [0, 1, 2], pending: [], pendingSince: undefined } } }, /partition 8 .* there are 8/],
    [{ owners: { 1: { owners: [0, 1], pending: [], pendingSince: undefined } } }, /partition 1 has 2 owners/],
    [
      { owners: { 1: { owners: [0, 1, 70_000], pending: [], pendingSince: undefined } } },
      /node 70000, and there are 5/,
    ],
    [{ owners: { 1: { owners: [0, 1, 1], pending: [], pendingSince: undefined } } }, /node 1 as an owner twice/],
    [
      { owners: { 1: { owners: [0, 1, 2], pending: [2], pendingSince: undefined } } },
      /pending for node 2, which owns it/,
    ],
  ];
  for (const [change, message] of broken) assert.throws(() => applyDelta(ring, { ...good, ...change }), message);
});
