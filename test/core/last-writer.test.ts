/** Last writer wins, as values: what a write replaces, what readers are shown, what has lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyContext, printDot } from '../../services/core/versioning/causal-context.ts';
import { newlyBeaten } from '../../services/core/versioning/last-writer.ts';
import { emptyRecord, type KeyRecord, merge, visibleSiblings } from '../../services/core/versioning/record.ts';
import { applyDelete, applyPut, type Copy } from '../../services/core/versioning/write.ts';

const usual = { context: emptyContext, requestId: new Uint8Array(0), ttlMs: 0, lastWriterWins: true };

/** Some coordinators of one key, each with a copy of its own. */
function coordinators(count = 2) {
  let actor = 100n;
  const copies: Copy[] = Array.from({ length: count }, () => ({ birth: undefined, record: emptyRecord }));
  const minting = (at: number) => ({ lineage: BigInt(at + 1), newActor: () => ++actor });
  return {
    record: (at: number) => (copies[at] as Copy).record,
    put(at: number, text: string, writtenAtMs: number, more: Partial<typeof usual> = {}) {
      const write = { ...usual, ...more, writtenAtMs, value: Buffer.from(text) };
      const { copy, dot } = applyPut(copies[at] as Copy, write, minting(at));
      copies[at] = copy;
      return dot;
    },
    delete(at: number, writtenAtMs: number, more: Partial<typeof usual> = {}) {
      const { copy, dot } = applyDelete(copies[at] as Copy, { ...usual, ...more, writtenAtMs }, minting(at));
      copies[at] = copy;
      return dot;
    },
    /** `at` hears what `from` has; returns what lost by that. */
    hear(at: number, from: KeyRecord) {
      const before = (copies[at] as Copy).record;
      const after = merge(before, from);
      copies[at] = { ...(copies[at] as Copy), record: after };
      return newlyBeaten(before, after).map(({ loser }) => Buffer.from(loser.value).toString());
    },
    shown: (at: number, nowMs = 0) =>
      visibleSiblings((copies[at] as Copy).record, nowMs).map(({ value }) => Buffer.from(value).toString()),
  };
}

test('a put replaces what its coordinator holds, without a context, and is later whatever its clock says', () => {
  const key = coordinators(1);
  key.put(0, 'first', 1_000);
  key.put(0, 'second', 5);
  assert.deepEqual(key.shown(0), ['second']);
  assert.equal(key.record(0).siblings.length, 1);
  assert.equal(key.record(0).siblings[0]?.writtenAtMs, 1_001);
});

test('of two concurrent puts the later is shown, the other has lost, once, and the next put replaces both', () => {
  const key = coordinators(2);
  key.put(0, 'earlier', 10);
  key.put(1, 'later', 20);
  assert.deepEqual(key.hear(0, key.record(1)), ['earlier']);
  assert.deepEqual(key.hear(1, key.record(0)), ['earlier']);
  assert.deepEqual(key.hear(1, key.record(0)), []);
  assert.deepEqual([key.shown(0), key.shown(1)], [['later'], ['later']]);
  key.put(0, 'next', 1);
  assert.deepEqual(key.hear(1, key.record(0)), []);
  assert.deepEqual(key.record(1).siblings.length, 1);
  assert.deepEqual(key.shown(1), ['next']);
});

test('a delete needs no context, and beats what was written before it elsewhere', () => {
  const key = coordinators(2);
  key.put(0, 'unseen', 10);
  key.delete(1, 20);
  assert.deepEqual(key.hear(1, key.record(0)), ['unseen']);
  assert.deepEqual(key.shown(1), []);
  key.put(1, 'again', 0);
  assert.deepEqual(key.shown(1), ['again']);
});

test('a delete loses to what was written after it elsewhere', () => {
  const key = coordinators(2);
  key.put(0, 'newer', 30);
  key.delete(1, 20);
  assert.deepEqual(key.hear(1, key.record(0)), []);
  assert.deepEqual(key.shown(1), ['newer']);
});

test('what has won does not give way to what it beat when it expires', () => {
  const key = coordinators(2);
  key.put(0, 'stays', 10);
  key.put(1, 'brief', 20, { ttlMs: 100 });
  key.hear(0, key.record(1));
  assert.deepEqual(key.shown(0, 119), ['brief']);
  assert.deepEqual(key.shown(0, 120), []);
});

test('two attempts of one write are one, whoever coordinated them, and neither has lost', () => {
  const key = coordinators(2);
  const once = { requestId: Buffer.from('once') };
  const dot = key.put(0, 'v', 10, once);
  assert.deepEqual(key.put(0, 'v', 11, once), dot);
  key.put(1, 'v', 12, once);
  assert.deepEqual(key.hear(0, key.record(1)), []);
  assert.deepEqual(key.shown(0), ['v']);
  assert.throws(() => key.put(0, 'other', 13, once), /request_id was used/);
  assert.throws(() => key.delete(0, 13, once), /request_id was used/);
  const deleted = key.delete(0, 14, { requestId: Buffer.from('gone') });
  assert.deepEqual(key.delete(0, 15, { requestId: Buffer.from('gone') }), deleted);
  assert.throws(() => key.put(0, '', 16, { requestId: Buffer.from('gone') }), /request_id was used/);
});

interface Step {
  readonly kind: 'put' | 'delete' | 'hear' | 'putSeen';
  readonly at: number;
  readonly from: number;
  readonly skewMs: number;
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom<Step['kind']>('put', 'delete', 'hear', 'hear', 'putSeen'),
    at: fc.nat(2),
    from: fc.nat(2),
    skewMs: fc.integer({ min: -50, max: 50 }),
  }),
  { maxLength: 40 },
);

test('in any history all replicas come to show one same write, and none that was not concurrent has beaten it', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const key = coordinators(3);
      /** By printed dot: the dots that each write came after, as its coordinator knew or its context said. */
      const cameAfter = new Map<string, Set<string>>();
      const known = [new Set<string>(), new Set<string>(), new Set<string>()];
      for (const [i, { kind, at, from, skewMs }] of history.entries()) {
        const here = known[at] as Set<string>;
        const there = known[from] as Set<string>;
        if (kind === 'hear') {
          key.hear(at, key.record(from));
          for (const dot of there) here.add(dot);
          continue;
        }
        const context = kind === 'putSeen' ? key.record(from).clock : emptyContext;
        const dot = kind === 'delete' ? key.delete(at, 100 + skewMs) : key.put(at, `v${i}`, 100 + skewMs, { context });
        cameAfter.set(printDot(dot), new Set([...here, ...(kind === 'putSeen' ? there : [])]));
        here.add(printDot(dot));
      }
      for (let round = 0; round < 2; round++) {
        for (const at of [0, 1, 2]) for (const from of [0, 1, 2]) key.hear(at, key.record(from));
      }
      assert.deepEqual([key.shown(1), key.shown(2)], [key.shown(0), key.shown(0)]);
      assert.ok(key.shown(0).length <= 1);
      if (cameAfter.size === 0) return;
      const living = key.record(0).siblings;
      assert.ok(living.length > 0, 'something is left of every history');
      for (const { dot } of living) {
        for (const [later, seen] of cameAfter)
          assert.ok(!seen.has(printDot(dot)), `${later} came after ${printDot(dot)}`);
      }
    }),
    { numRuns: 500 },
  );
});
