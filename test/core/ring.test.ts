import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxh64 } from '@node-rs/xxhash';
import fc from 'fast-check';
import { Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { decodeRing, encodeRing } from '../../services/core/ring/codec.ts';
import { partitionOf, partitionOfStorageKey, rangeOfPartition } from '../../services/core/ring/partition.ts';
import { preferenceList } from '../../services/core/ring/preference-list.ts';
import {
  compareVersions,
  createRing,
  isHome,
  type NodeStatusName,
  nodeById,
  type Ring,
  ringsEqual,
} from '../../services/core/ring/ring.ts';
import { hashOfStorageKey, parseStorageKey, storageKey } from '../../services/core/ring/storage-key.ts';

const hash = (bytes: Uint8Array) => xxh64(bytes);

const STATUSES: readonly NodeStatusName[] = ['JOINING', 'UP', 'LEAVING', 'LEFT', 'DOWN'];

function ringOf(nodes: number, partitions: number, replicas: number, zones = replicas): Ring {
  const members = Array.from({ length: nodes }, (_, index) => ({
    index,
    id: `node-${index}`,
    address: `node-${index}.cartwheel.svc.cluster.local:7411`,
    host: `host-${index}`,
    zone: `zone-${index % zones}`,
    status: STATUSES[index % STATUSES.length] as NodeStatusName,
  }));
  const owners = firstClaim({ nodes: members, partitions, replicas });
  const stranger = members.findLastIndex(({ index }) => !owners.subarray(0, replicas).includes(index));
  return createRing({
    version: { term: 3n, sequence: 2n ** 32n - 1n },
    partitions,
    replicas,
    nodes: members,
    owners,
    pending: new Map(stranger === -1 ? [] : [[0, [stranger]]]),
  });
}

const anyRing = fc
  .record({
    nodes: fc.integer({ min: 1, max: 40 }),
    bits: fc.integer({ min: 0, max: 8 }),
    replicas: fc.integer({ min: 1, max: 5 }),
  })
  .map(({ nodes, bits, replicas }) => ringOf(nodes, 2 ** bits, Math.min(nodes, replicas)));

test('the partition of a key is the top bits of its hash, by either way of computing it', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.integer({ min: 0, max: 16 }), (hashed, bits) => {
      const expected = bits === 0 ? 0 : Number.parseInt(hashed.toString(2).padStart(64, '0').slice(0, bits), 2);
      const key = storageKey('default', Uint8Array.of(1), () => hashed);
      assert.equal(partitionOf(hashed, { partitions: 2 ** bits }), expected);
      assert.equal(partitionOfStorageKey(key, 2 ** bits), expected);
    }),
  );
});

test('a storage key lies in the range of its partition and in no other', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.integer({ min: 0, max: 6 }), (hashed, bits) => {
      const partitions = 2 ** bits;
      const key = storageKey('default', Uint8Array.of(1), () => hashed);
      const holding = Array.from({ length: partitions }, (_, p) => p).filter((p) => {
        const { start, end } = rangeOfPartition(p, partitions);
        return Buffer.compare(key, start) >= 0 && (end === undefined || Buffer.compare(key, end) < 0);
      });
      assert.deepEqual(holding, [partitionOf(hashed, { partitions })]);
    }),
  );
});

test('doubling the partitions cuts each range in half and moves no key', () => {
  for (const bits of [0, 1, 5, 15]) {
    const partitions = 2 ** bits;
    for (const p of [0, partitions >> 1, partitions - 1]) {
      assert.deepEqual(rangeOfPartition(p, partitions).start, rangeOfPartition(2 * p, 2 * partitions).start);
      assert.deepEqual(rangeOfPartition(p, partitions).end, rangeOfPartition(2 * p + 1, 2 * partitions).end);
    }
  }
});

test('a range of a partition that does not exist is refused with both numbers', () => {
  assert.throws(() => rangeOfPartition(64, 64), /no partition 64 of 64/);
});

test('a storage key is hash, namespace, zero byte and key, and gives them back', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,62}$/), fc.uint8Array({ minLength: 1 }), (namespace, key) => {
      const hashed = Buffer.concat([Buffer.from(namespace), Buffer.of(0), key]);
      const expected = Buffer.alloc(8 + hashed.length);
      expected.writeBigUInt64BE(xxh64(hashed));
      hashed.copy(expected, 8);
      const bytes = storageKey(namespace, key, hash);
      assert.deepEqual(Buffer.from(bytes), expected);
      assert.equal(hashOfStorageKey(bytes), xxh64(hashed));
      const parsed = parseStorageKey(bytes);
      assert.equal(parsed.namespace, namespace);
      assert.deepEqual(Buffer.from(parsed.key), Buffer.from(key));
    }),
  );
});

test('the hash of a known key is the XXH64 that clients in other languages compute', () => {
  assert.equal(
    hashOfStorageKey(storageKey('default', Buffer.from('cart-1'), hash)),
    xxh64(Buffer.from('default\0cart-1')),
  );
  assert.equal(xxh64(Buffer.alloc(0)), 0xef46db3751d8e999n);
});

test('storage keys that cannot be are refused', () => {
  assert.throws(() => parseStorageKey(new Uint8Array(5).fill(1)), /5 bytes has no 0x00/);
  assert.throws(() => parseStorageKey(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0, 9)), /empty namespace/);
  assert.throws(() => parseStorageKey(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 97, 0)), /ends before its key/);
  assert.throws(() => storageKey('ä', Uint8Array.of(1), hash), /not ASCII/);
});

test('a preference list is the homes, then every other owner as a walk upwards and round meets it', () => {
  fc.assert(
    fc.property(anyRing, fc.nat(), (ring, seed) => {
      const partition = seed % ring.partitions;
      const walked: number[] = [];
      for (let step = 0; step < ring.partitions; step++) {
        const message = encodeRing(ring).owners[(partition + step) % ring.partitions];
        walked.push(...(message?.owners ?? []));
      }
      const list = preferenceList(ring, partition);
      assert.deepEqual(list, [...new Set(walked)]);
      for (const node of ring.nodes) {
        assert.equal(isHome(ring, partition, node.index), list.slice(0, ring.replicas).includes(node.index));
      }
      assert.equal(preferenceList(ring, partition), list);
    }),
    { numRuns: 50 },
  );
});

test('a ring from the wire is the ring that was sent', () => {
  fc.assert(
    fc.property(anyRing, (ring) => {
      const received = decodeRing(RingMessage.decode(RingMessage.encode(encodeRing(ring)).finish()));
      assert.ok(ringsEqual(received, ring));
      assert.deepEqual(received, ring);
    }),
    { numRuns: 50 },
  );
});

test('a ring of 300 nodes and 4096 partitions takes at most 128 KiB', () => {
  const bytes = RingMessage.encode(encodeRing(ringOf(300, 4096, 3))).finish();
  assert.ok(bytes.length <= 128 * 1024, `${bytes.length} bytes`);
});

test('nodes in another order on the wire are the same ring', () => {
  const ring = ringOf(7, 16, 3);
  const message = encodeRing(ring);
  message.nodes.reverse();
  assert.ok(ringsEqual(decodeRing(message), ring));
});

type Wire = ReturnType<typeof encodeRing>;
const each = (message: Wire, change: Partial<Wire['nodes'][number]>) => {
  for (const node of message.nodes) Object.assign(node, change);
};
const spoiled: [string, (message: Wire) => void, RegExp][] = [
  ['no version', (m) => (m.version = undefined), /no version/],
  ['version zero', (m) => (m.version = { term: 0n, sequence: 0n }), /version 0\.0/],
  ['another hash', (m) => (m.hash = 0), /hash is 0/],
  ['partitions that are no power of two', (m) => (m.partitions = 12), /power of two.*not 12/],
  ['too many partitions', (m) => (m.partitions = 131_072), /not 131072/],
  ['no partitions', (m) => (m.partitions = 0), /not 0/],
  ['no replicas', (m) => (m.replicas = 0), /replicas, not 0/],
  ['more replicas than nodes', (m) => (m.replicas = 6), /6 replicas need at least 6 nodes, and there are 5/],
  ['missing rows', (m) => m.owners.pop(), /16 partitions, and names the owners of 15/],
  ['a row that is too short', (m) => m.owners[3]?.owners.pop(), /partition 3 has 2 owners, and the ring says 3/],
  [
    'an owner that does not exist',
    (m) => m.owners[3]?.owners.splice(1, 1, 5),
    /partition 3 is owned by node 5, and there are 5/,
  ],
  ['an owner above 16 bits', (m) => m.owners[3]?.owners.splice(1, 1, 65_536), /node 65536/],
  ['an owner twice', (m) => m.owners[3]?.owners.splice(0, 3, 1, 2, 1), /partition 3 names node 1 as an owner twice/],
  ['a pending node that does not exist', (m) => m.owners[2]?.pending.push(9), /partition 2 is pending for node 9/],
  ['a pending node twice', (m) => m.owners[2]?.pending.push(1, 1), /partition 2 has the pending owners \[1, 1\]/],
  ['an index twice', (m) => each(m, { index: 1 }), /position 0 of the ring has index 1/],
  ['an id twice', (m) => each(m, { id: 'x' }), /names the node x twice/],
  ['an empty id', (m) => each(m, { id: '' }), /id of node 0 of the ring is empty/],
  ['an empty address', (m) => each(m, { address: '' }), /address of node 0 of the ring is empty/],
  ['an endless name', (m) => each(m, { zone: 'z'.repeat(256) }), /256 characters, and at most 255/],
  ['a status that is none', (m) => each(m, { status: 0 }), /status of node 0 of the ring is 0/],
];
for (const [name, spoil, message] of spoiled) {
  test(`a ring from the wire with ${name} is refused by name`, () => {
    const wire = encodeRing(ringOf(5, 16, 3));
    spoil(wire);
    assert.throws(() => decodeRing(wire), message);
  });
}

test('versions are ordered by term, then sequence', () => {
  const version = (term: bigint, sequence: bigint) => ({ term, sequence });
  assert.ok(compareVersions(version(1n, 9n), version(2n, 1n)) < 0);
  assert.ok(compareVersions(version(2n, 2n), version(2n, 1n)) > 0);
  assert.equal(compareVersions(version(2n, 2n), version(2n, 2n)), 0);
});

test('two rings differ when a single thing in them does', () => {
  const ring = ringOf(5, 16, 3);
  const strangers = ring.nodes.map(({ index }) => index).filter((index) => !ring.owners.subarray(0, 3).includes(index));
  assert.equal(strangers.length, 2);
  const changed: Partial<Ring>[] = [
    { version: { term: 3n, sequence: 1n } },
    {
      nodes: ring.nodes.map((node) => (node.index === 4 ? { ...node, address: 'elsewhere:1' } : node)),
    },
    {
      owners: ring.owners.map((owner, i) => (i < 3 ? (ring.owners[2 - i] as number) : owner)),
    },
    { pending: new Map() },
    { pending: new Map([[0, strangers]]) },
  ];
  for (const change of changed) assert.equal(ringsEqual(ring, createRing({ ...ring, ...change })), false);
  assert.ok(ringsEqual(ring, createRing(ring)));
});

test('a node of the ring is found by its id', () => {
  const ring = ringOf(5, 16, 3);
  assert.equal(nodeById(ring, 'node-3')?.index, 3);
  assert.equal(nodeById(ring, 'node-9'), undefined);
});
