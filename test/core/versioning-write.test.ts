/** Births, and what a coordinator does to its own copy: core/versioning/birth.ts and write.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../services/core/failure.ts';
import { type Birth, mint } from '../../services/core/versioning/birth.ts';
import {
  type CausalContext,
  counterMax,
  emptyContext,
  parseDot,
  printContext,
  printDot,
} from '../../services/core/versioning/causal-context.ts';
import { clockEntriesMax, emptyRecord, merge, visibleSiblings } from '../../services/core/versioning/record.ts';
import { applyDelete, applyPut, type Copy, type Minting, type PutWrite } from '../../services/core/versioning/write.ts';

const nothing: Copy = { birth: undefined, record: emptyRecord };

/** Mints in one lineage; new actors are 1, 2, 3 … above `first`. */
function minting(lineage: bigint, first = 0n): Minting {
  let actor = first;
  return { lineage, newActor: () => ++actor };
}

const usual = { requestId: Buffer.alloc(0), writtenAtMs: 5, ttlMs: 0, lastWriterWins: false };

function write(text: string, context: CausalContext = emptyContext, requestId = ''): PutWrite {
  return { ...usual, context, value: Buffer.from(text), requestId: Buffer.from(requestId) };
}

test('a first write makes a birth, later ones of the same run go on counting under it', () => {
  const by = minting(70n);
  const first = applyPut(nothing, write('a'), by);
  const second = applyPut(first.copy, write('b'), by);
  assert.deepEqual(
    [first.dot, second.dot],
    [
      { actor: 1n, counter: 1 },
      { actor: 1n, counter: 2 },
    ],
  );
  assert.deepEqual(second.copy.birth, { lineage: 70n, actor: 1n });
});

test('a birth of another lineage is not minted under: its later dots may be known elsewhere', () => {
  const { copy } = applyPut(nothing, write('a'), minting(70n));
  const { dot, copy: after } = applyPut(copy, write('b'), minting(71n, 8n));
  assert.deepEqual(dot, { actor: 9n, counter: 1 });
  assert.deepEqual(after.birth, { lineage: 71n, actor: 9n });
  assert.equal(after.record.siblings.length, 2);
});

test('a birth whose dots its own clock has forgotten is not minted under', () => {
  const birth: Birth = { lineage: 70n, actor: 3n };
  assert.equal(mint(birth, emptyContext, 70n, () => 4n).dot.actor, 4n);
});

test('a counter that a forged context has pushed to the limit ends the birth', () => {
  const birth: Birth = { lineage: 70n, actor: 3n };
  const clock = [{ actor: 3n, upTo: 2, detached: [counterMax], height: 1 }];
  assert.deepEqual(mint(birth, clock, 70n, () => 4n).dot, { actor: 4n, counter: 1 });
  const below = [{ actor: 3n, upTo: 2, detached: [counterMax - 1], height: 1 }];
  assert.deepEqual(mint(birth, below, 70n, () => 4n).dot, { actor: 3n, counter: counterMax });
});

test('a dot is not minted again where forged contexts make the clock forget detached dots', () => {
  // The first pushes the birth far ahead; the second is so large that detached dots must go; the third makes room.
  const by = minting(70n);
  const many = Array.from({ length: 90 }, (_, i) => 1_000 + 2 * i);
  const forged = [
    [{ actor: 1n, upTo: 0, detached: [1_178], height: 0 }],
    [{ actor: 500n, upTo: 0, detached: many, height: 0 }],
    [{ actor: 500n, upTo: 2_000, detached: [], height: 0 }],
  ];
  let copy = applyPut(nothing, write('a'), by).copy;
  const minted = new Set<string>();
  for (let round = 0; round < 12; round++) {
    const done = applyDelete(copy, { ...usual, context: forged[Math.floor(round / 2) % 3] as CausalContext }, by);
    assert.ok(!minted.has(printDot(done.dot)), `${printDot(done.dot)} was minted twice`);
    minted.add(printDot(done.dot));
    copy = done.copy;
  }
});

test('a put whose request id lives already changes nothing and answers with the dot of then', () => {
  const by = minting(70n);
  const first = applyPut(nothing, write('a', emptyContext, 'id'), by);
  const again = applyPut(first.copy, write('a', emptyContext, 'id'), by);
  assert.equal(again.fresh, false);
  assert.equal(again.copy, first.copy);
  assert.deepEqual(again.dot, first.dot);
});

test('REQUEST_ID_REUSED: a request id that lives with another value is refused with both sizes', () => {
  const { copy } = applyPut(nothing, write('abc', emptyContext, 'id'), minting(70n));
  assert.throws(
    () => applyPut(copy, write('wxyz', emptyContext, 'id'), minting(70n)),
    (error: unknown) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.reason, 'REQUEST_ID_REUSED');
      assert.equal(error.details.field, 'request_id');
      assert.match(error.message, /3 bytes then, 4 now/);
      return true;
    },
  );
});

test('two attempts that met two coordinators are two dots and one visible value, covered together', () => {
  const one = applyPut(nothing, write('a', emptyContext, 'id'), minting(70n));
  const two = applyPut(nothing, write('a', emptyContext, 'id'), minting(80n, 100n));
  const merged = merge(one.copy.record, two.copy.record);
  assert.equal(merged.siblings.length, 2);
  const after = applyPut({ birth: undefined, record: merged }, write('b', merged.clock), minting(90n, 200n));
  assert.deepEqual(
    after.copy.record.siblings.map(({ value }) => Buffer.from(value).toString()),
    ['b'],
  );
});

test('a delete leaves a tombstone that remembers what it covered', () => {
  const by = minting(70n);
  const { copy, dot } = applyPut(nothing, write('a'), by);
  const deleted = applyDelete(copy, { ...usual, context: copy.record.clock }, by);
  assert.deepEqual(deleted.copy.record.siblings, []);
  assert.equal(printContext(deleted.copy.record.clock), '0000000000000001:2');
  assert.deepEqual(merge(deleted.copy.record, copy.record), deleted.copy.record);
  assert.equal(dot.counter, 1);
});

test('P14: a key written by ever new births keeps about ten entries, and says how many it cut', () => {
  let copy = nothing;
  let cuts = 0;
  for (let lineage = 1n; lineage <= 40n; lineage++) {
    const done = applyPut(copy, write('v', copy.record.clock), minting(lineage, lineage * 1_000n));
    copy = done.copy;
    cuts += done.entriesCut;
    // Besides the ten: the value's own, and that of the value it replaced.
    assert.ok(copy.record.clock.length <= clockEntriesMax + 2);
  }
  assert.equal(cuts, 40 - clockEntriesMax - 2);
});

test('dots and contexts are printed as actor:counter and read back; other text is no dot', () => {
  const dot = { actor: 2n ** 64n - 1n, counter: counterMax };
  assert.equal(printDot(dot), 'ffffffffffffffff:281474976710656');
  assert.deepEqual(parseDot(printDot(dot)), dot);
  for (const text of [
    '',
    ':1',
    '1:1',
    '000000000000000A:1',
    '000000000000000a:0',
    '000000000000000a:01',
    '000000000000000a:-1',
  ]) {
    assert.equal(parseDot(text), undefined, text);
  }
  assert.equal(parseDot(`000000000000000a:${counterMax + 1}`), undefined);
  assert.equal(parseDot('000000000000000a:1\n'), undefined);
  const context = [{ actor: 10n, upTo: 3, detached: [5, 9], height: 0 }];
  assert.equal(printContext(context), '000000000000000a:3+5,9');
});

test('one put resolves a key with more siblings than a clock has entries, on every replica', () => {
  let actors = 100n;
  const minting = { lineage: 1n, newActor: () => actors++ };
  const nowhere = { birth: undefined, record: emptyRecord };
  // Each by a birth of its own, as after crashes.
  const blind = Array.from({ length: 3 * clockEntriesMax }, (_, i) => applyPut(nowhere, write(`v${i}`, []), minting));
  const replica = blind.map(({ copy }) => copy.record).reduce(merge);
  assert.equal(replica.siblings.length, 3 * clockEntriesMax);
  const resolved = applyPut({ birth: undefined, record: replica }, write('one', replica.clock), minting);
  const everywhere = merge(replica, resolved.copy.record);
  assert.deepEqual(
    everywhere.siblings.map(({ value }) => Buffer.from(value).toString()),
    ['one'],
  );
  // The puts after it cut the clock down again.
  let { copy } = resolved;
  for (let i = 0; i < 3; i++) copy = applyPut(copy, write(`later ${i}`, copy.record.clock), minting).copy;
  assert.ok(copy.record.clock.length <= clockEntriesMax + 2, `${copy.record.clock.length} entries`);
});

test('one request id used for two values hides neither', () => {
  let actors = 100n;
  const minting = { lineage: 1n, newActor: () => actors++ };
  const put = (value: string) => {
    return applyPut({ birth: undefined, record: emptyRecord }, write(value, [], 'id'), minting).copy.record;
  };
  const shown = (a: string, b: string) => visibleSiblings(merge(put(a), put(b)), 0).length;
  assert.equal(shown('x', 'x'), 1);
  assert.equal(shown('x', 'y'), 2);
});
