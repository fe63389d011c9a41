import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createRing, type Ring, type RingNode } from '../../services/core/ring/ring.ts';
import { createBarrier, objection } from '../../services/core/stability/barrier.ts';
import { eraAfter, eraOf } from '../../services/core/stability/era.ts';
import { coveredByAll, covers, settled, spare, spareEntriesMax } from '../../services/core/stability/settled.ts';
import { contains, emptyContext, includes } from '../../services/core/versioning/causal-context.ts';
import {
  emptyRecord,
  type KeyRecord,
  merge,
  put,
  remove,
  type Sibling,
} from '../../services/core/versioning/record.ts';
import { run, steps } from './versioning-model.ts';

const now = 1_000;
const sibling = (actor: bigint, more: Partial<Sibling> = {}): Sibling => {
  const value = Buffer.from(`of ${actor}`);
  return { dot: { actor, counter: 1 }, requestId: new Uint8Array(0), writtenAtMs: 1, value, ...more };
};
const living = put(emptyRecord, emptyContext, sibling(1n));
const tombstone = remove(living, living.clock, { actor: 2n, counter: 1 });

/** Of so many births, each of which has replaced the one before. */
function overwritten(births: number): KeyRecord {
  let record = living;
  for (let actor = 2n; actor <= BigInt(births); actor++) record = put(record, record.clock, sibling(actor));
  return record;
}

test('a tombstone goes as a whole once all of it is stable', () => {
  assert.deepEqual(spare(tombstone, now), tombstone.clock);
  assert.equal(settled(tombstone, tombstone.clock, 2n, now), emptyRecord);
});

test('a short tombstone of which only a part is stable stays as it is', () => {
  assert.equal(settled(tombstone, living.clock, undefined, now), undefined);
});

test('of a long one the stable part goes where that is long, but not the entry of the own birth', () => {
  const long = overwritten(spareEntriesMax + 1);
  const deleted = remove(long, long.clock, { actor: 99n, counter: 1 });
  const left = settled(deleted, long.clock, undefined, now);
  assert.deepEqual(left?.clock, deleted.clock.slice(-1));
  assert.deepEqual(settled(deleted, long.clock, 1n, now)?.clock, [deleted.clock[0], deleted.clock.at(-1)]);
  assert.equal(settled(deleted, long.clock.slice(1), undefined, now), undefined);
});

test('what has expired leaves a tombstone, and nothing before it has', () => {
  const expiring = put(emptyRecord, emptyContext, sibling(1n, { expiresAtMs: now }));
  assert.deepEqual(settled(expiring, expiring.clock, 1n, now), { clock: expiring.clock, siblings: [] });
  assert.equal(covers(expiring, expiring.clock, now - 1), false);
  assert.equal(settled(expiring, expiring.clock, 1n, now - 1), undefined);
});

test('P11: what a delete has left where the last writer wins goes by way of a tombstone too', () => {
  const left = put(emptyRecord, emptyContext, sibling(1n, { contends: 'delete' }));
  assert.deepEqual(settled(left, left.clock, 1n, now), { clock: left.clock, siblings: [] });
});

test('P14: a clock is shortened to what lives and the own birth, once it has more than it need have', () => {
  const births = spareEntriesMax + 2;
  const long = overwritten(births);
  const entries = spare(long, now);
  assert.equal(entries.length, births - 1);
  assert.deepEqual(spare(overwritten(births - 1), now), []);
  const left = settled(long, entries, 3n, now);
  assert.deepEqual(
    left?.clock.map(({ actor }) => actor),
    [3n, BigInt(births)],
  );
  assert.deepEqual(left?.siblings, long.siblings);
});

test('only what every home covers can become stable', () => {
  const long = overwritten(9);
  const behind = overwritten(4);
  const entries = coveredByAll(spare(long, now), [behind], now);
  assert.deepEqual(
    entries.map(({ actor }) => actor),
    [1n, 2n, 3n],
    'of the fourth a value lives there still',
  );
});

test('P2, P4: where all replicas cover some dots and nobody has them alive, to forget them changes no merge', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const { states } = run(history, 100);
      const last = states.slice(-4);
      const stable = coveredByAll(last.reduce(merge).clock, last, now);
      const shortened = last.map((record) => settled(record, stable, undefined, now) ?? record);
      const before = last.reduce(merge);
      const after = shortened.reduce(merge);
      assert.deepEqual(after.siblings, before.siblings);
      for (const { dot } of after.siblings) assert.ok(contains(after.clock, dot));
      assert.ok(includes(before.clock, after.clock));
    }),
  );
});

test('an era is later than all it comes after, and says who began it', () => {
  const first = eraAfter([0, 0], 7);
  const second = eraAfter([first, 0], 3);
  assert.ok(second > first && first > 0);
  assert.notEqual(eraAfter([first], 3), eraAfter([first], 4));
  assert.equal(eraOf(BigInt(second)), second);
  assert.equal(eraOf(2n ** 64n - 1n), undefined);
});

function ringOf(change: Partial<Ring> = {}): Ring {
  const nodes = [0, 1, 2, 3].map((index) => {
    return { index, id: `n${index}`, address: `h${index}:1`, host: '', zone: '', status: 'UP' as const };
  });
  const owners = Uint16Array.from([0, 1, 2, 1, 2, 3]);
  const version = { term: 1n, sequence: 5n };
  return createRing({ version, partitions: 2, replicas: 3, nodes, owners, pending: new Map(), ...change });
}

const ids = ['n0', 'n1', 'n2', 'n3'];

test('a partition is stable when every node has said so twice', () => {
  const barrier = createBarrier(ringOf(), 'n0', [0, 1]);
  for (const id of ids) barrier.armed(id, { era: 0, partitions: id === 'n3' ? [1] : [0, 1] });
  const era = barrier.begin();
  assert.ok(era !== undefined);
  for (const id of ids) barrier.crossed(id, { era, partitions: [0, 1] });
  assert.deepEqual([...barrier.stable()], [1], 'the fourth keeps something of the other one');
});

test('without one of the answers nothing is stable', () => {
  for (const silent of ids) {
    const barrier = createBarrier(ringOf(), 'n0', [0]);
    for (const id of ids) if (id !== silent) barrier.armed(id, { era: 0, partitions: [0] });
    assert.equal(barrier.begin(), undefined);
    barrier.armed(silent, { era: 0, partitions: [0] });
    const era = barrier.begin() as number;
    for (const id of ids) if (id !== silent) barrier.crossed(id, { era, partitions: [0] });
    assert.equal(barrier.stable().size, 0);
  }
});

test('a node that is in a later era than the one begun has not crossed', () => {
  const barrier = createBarrier(ringOf(), 'n0', [0]);
  for (const id of ids) barrier.armed(id, { era: 0, partitions: [0] });
  const era = barrier.begin() as number;
  for (const id of ids) barrier.crossed(id, { era: id === 'n2' ? eraAfter([era], 2) : era, partitions: [0] });
  assert.equal(barrier.stable().size, 0);
});

test('no barrier begins while the ring changes, or has a node that leaves or is DOWN', () => {
  const [first, ...others] = ringOf().nodes;
  const down = ringOf({ nodes: [{ ...(first as (typeof others)[number]), status: 'DOWN' }, ...others] });
  const moving = ringOf({ pending: new Map([[0, [3]]]) });
  const joining = ringOf({ nodes: [...ringOf().nodes.slice(0, 3), { ...(others[2] as RingNode), status: 'JOINING' }] });
  assert.equal(objection(ringOf()), undefined);
  assert.equal(objection(joining), undefined);
  assert.deepEqual(createBarrier(joining, 'n1', [0]).nodes, ids);
  assert.match(objection(down) ?? '', /h0:1, which is DOWN/);
  assert.match(objection(moving) ?? '', /1 partition/);
  for (const ring of [down, moving]) assert.throws(() => createBarrier(ring, 'n1', [0]), /no barrier now/);
});
