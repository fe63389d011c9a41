/** Digest trees, and the walk by which two replicas find where they differ. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDigestTree, type DigestTree, leafOf, rangeOfLeaf } from '../../services/core/merkle/digest-tree.ts';
import { createExchangeQueue } from '../../services/core/merkle/exchange-queue.ts';
import { recordDigest } from '../../services/core/merkle/record-digest.ts';
import { createWalk, differing, nodesMax } from '../../services/core/merkle/walk.ts';
import { rangeOfPartition } from '../../services/core/ring/partition.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { emptyRecord, type KeyRecord } from '../../services/core/versioning/record.ts';
import { xxh64 } from '../../services/platform/hash.ts';

const keyOf = (i: number) => storageKey('default', Buffer.from(`key ${i}`), xxh64);

function recordOf(counter: number, changes: { expiresAtMs?: number } = {}): KeyRecord {
  const dot = { actor: 7n, counter };
  const sibling = { dot, requestId: new Uint8Array(0), writtenAtMs: 1, value: Buffer.from('v'), ...changes };
  return { clock: [{ actor: 7n, upTo: counter, detached: [], height: counter }], siblings: [sibling] };
}

/** Walks until all is compared; the leaves, and how many questions that took. */
function walkAll(ours: DigestTree, theirs: DigestTree, level: number, index: number) {
  const walk = createWalk(ours, level, index);
  const leaves: number[] = [];
  let questions = 0;
  let widest = 0;
  for (let question = walk.next(); question !== undefined; question = walk.next()) {
    questions++;
    widest = Math.max(widest, question.nodes.length);
    leaves.push(...walk.take(differing(theirs, question)));
  }
  return { leaves, questions, widest };
}

test('a digest is that of the records, however they came', () => {
  const changes = fc.array(fc.tuple(fc.nat(40), fc.nat(5)), { maxLength: 120 });
  fc.assert(
    fc.property(changes, (history) => {
      const lived = createDigestTree(10);
      const records = new Map<number, KeyRecord>();
      const digest = (i: number, record: KeyRecord) => recordDigest(keyOf(i), record, xxh64);
      for (const [i, counter] of history) {
        const before = records.get(i) ?? emptyRecord;
        const after = counter === 0 ? emptyRecord : recordOf(counter);
        lived.change(keyOf(i), digest(i, before), digest(i, after));
        records.set(i, after);
      }
      const fresh = createDigestTree(10);
      for (const [i, record] of [...records].reverse()) fresh.change(keyOf(i), 0n, digest(i, record));
      assert.deepEqual([...lived.leaves()], [...fresh.leaves()]);
      for (let level = 0; level < 10; level++) {
        const [left, right] = [fresh.digest(level + 1, 0), fresh.digest(level + 1, 1)];
        assert.equal(fresh.digest(level, 0), BigInt.asUintN(64, left + right), 'a node is the sum of its children');
      }
    }),
    { numRuns: 100 },
  );
});

test('the digest of a record is that of its live siblings, and not of its clock', () => {
  const key = keyOf(1);
  const digest = (record: KeyRecord, of = key) => recordDigest(of, record, xxh64);
  const one = recordOf(3);
  assert.equal(digest({ ...one, clock: [] }), digest(one));
  assert.equal(digest({ ...one, siblings: [] }), 0n, 'a tombstone is no difference to nothing');
  const others = [recordOf(4), recordOf(3, { expiresAtMs: 9 })];
  for (const other of others) assert.notEqual(digest(other), digest(one));
  assert.notEqual(digest(one, keyOf(2)), digest(one));
});

test('a leaf is a range of storage keys, and a partition a subtree', () => {
  for (let i = 0; i < 200; i++) {
    const key = keyOf(i);
    const { start, end } = rangeOfLeaf(leafOf(key, 12), 12);
    assert.ok(Buffer.compare(start, key) <= 0 && (end === undefined || Buffer.compare(key, end) < 0));
  }
  for (const partition of [0, 5, 15]) {
    const { start, end } = rangeOfPartition(partition, 16);
    assert.deepEqual(start, rangeOfLeaf(partition * 2 ** 8, 12).start);
    assert.deepEqual(end, rangeOfLeaf((partition + 1) * 2 ** 8 - 1, 12).end);
  }
  assert.throws(() => createDigestTree(25), /1 to 24/);
  assert.throws(() => createDigestTree(4).digest(5, 0), /no node 0 at level 5/);
});

test('equal subtrees cost one question of one node', () => {
  const [a, b] = [createDigestTree(), createDigestTree()];
  for (let i = 0; i < 1_000; i++) for (const tree of [a, b]) tree.change(keyOf(i), 0n, BigInt(i + 1));
  assert.deepEqual(walkAll(a, b, 6, 3), { leaves: [], questions: 1, widest: 1 });
});

test('the walk finds exactly the leaves that differ, in order, in questions that stay small', () => {
  const sizes = fc.record({ same: fc.nat(300), ours: fc.nat(60), theirs: fc.nat(60), changed: fc.nat(60) });
  fc.assert(
    fc.property(sizes, fc.constantFrom(8, 11, 20), ({ same, ours, theirs, changed }, depth) => {
      const [a, b] = [createDigestTree(depth), createDigestTree(depth)];
      const expected = new Set<number>();
      let i = 0;
      const keys = (count: number, run: (key: Uint8Array) => void) => {
        for (const end = i + count; i < end; i++) run(keyOf(i));
      };
      keys(same, (key) => {
        for (const tree of [a, b]) tree.change(key, 0n, BigInt(i + 1));
      });
      keys(ours, (key) => expected.add(leafOf(key, depth)) && a.change(key, 0n, BigInt(i + 1)));
      keys(theirs, (key) => expected.add(leafOf(key, depth)) && b.change(key, 0n, BigInt(i + 1)));
      keys(changed, (key) => {
        expected.add(leafOf(key, depth));
        a.change(key, 0n, BigInt(i + 1));
        b.change(key, 0n, BigInt(i + 1_000_000));
      });
      const found = walkAll(a, b, 0, 0);
      assert.deepEqual(
        found.leaves,
        [...expected].sort((x, y) => x - y),
      );
      assert.ok(found.widest <= nodesMax);
    }),
    { numRuns: 60 },
  );
});

test('a question about what is no node of the tree is refused', () => {
  const tree = createDigestTree(8);
  assert.throws(() => differing(tree, { level: 9, nodes: [{ index: 0, digest: 0n }] }));
  assert.throws(() => differing(tree, { level: 2, nodes: [{ index: 4, digest: 0n }] }));
  const many = Array.from({ length: nodesMax + 1 }, (_, index) => ({ index, digest: 0n }));
  assert.throws(() => differing(createDigestTree(12), { level: 12, nodes: many }), /at most 256/);
});

test('what is new is compared within half a minute, however rarely the rest is', () => {
  const queue = createExchangeQueue(600_000, () => 0.99);
  queue.setPairs([{ partition: 1, partitions: 8, peer: 'a' }], 0);
  assert.ok(queue.next(30_000, () => true) !== undefined);
});

test('each pair has its turn, one that is back at once, one that failed soon again', () => {
  const queue = createExchangeQueue(1_000, () => 0.5);
  queue.setPairs(
    [1, 2, 3].map((partition) => ({ partition, partitions: 8, peer: partition === 3 ? 'b' : 'a' })),
    0,
  );
  const anybody = () => true;
  assert.equal(queue.next(400, anybody), undefined);
  const first = queue.next(500, anybody);
  assert.equal(first?.partition, 1);
  assert.equal(queue.next(500, (peer) => peer === 'b')?.partition, 3);
  assert.ok(first);
  queue.differs(first, 510);
  queue.differs(first, 520);
  queue.failed(first, 'it is busy', 530);
  assert.deepEqual([first.differsSince, first.comparedAt, first.dueAt], [510, undefined, 1_530]);
  assert.equal(first.failure, 'it is busy');
  queue.compared(first, 600);
  assert.equal(first.failure, undefined);
  assert.deepEqual([first.differsSince, first.comparedAt, first.dueAt], [undefined, 600, 1_600]);
  queue.back('b', 0);
  assert.equal(queue.next(10_000, anybody)?.partition, 2, 'what is due for longest comes first');
  queue.setPairs([{ partition: 1, partitions: 8, peer: 'a' }], 700);
  assert.deepEqual([...queue.pairs], [first]);
});

test('what is known to differ is told with the oldest first, and what is marked is due and known to differ', () => {
  const queue = createExchangeQueue(600_000, () => 0.9);
  const pairs = [1, 2, 3].map((partition) => ({ partition, partitions: 8, peer: 'a' }));
  queue.setPairs(pairs, 0);
  const [first, second, third] = [...queue.pairs];
  assert.ok(first && second && third);
  queue.differs(third, 10);
  queue.marked(first, 20);
  queue.marked({ partition: 9, partitions: 16, peer: 'a' }, 20);
  assert.deepEqual(queue.lagging(), [third, first]);
  assert.equal(
    queue.next(20, () => true),
    first,
  );
  queue.compared(third, 30);
  assert.deepEqual(queue.lagging(), [first]);
});

test('when partitions double, halves keep what was known of the whole, and nothing is due that was not', () => {
  const queue = createExchangeQueue(1_000, () => 0.5);
  queue.setPairs([{ partition: 1, partitions: 8, peer: 'a' }], 0);
  const [whole] = [...queue.pairs];
  assert.ok(whole);
  queue.differs(whole, 10);
  queue.setPairs(
    [2, 3, 4].map((partition) => ({ partition, partitions: 16, peer: 'a' })),
    20,
  );
  const [first, second, other] = [...queue.pairs];
  assert.deepEqual(first, { ...whole, partition: 2, partitions: 16 });
  assert.deepEqual(second, { ...whole, partition: 3, partitions: 16 });
  assert.equal(other?.differsSince, undefined, 'it was in another one');
  queue.compared(first as NonNullable<typeof first>, 30);
  assert.equal(second?.differsSince, 10, 'each half is compared for itself');
});
