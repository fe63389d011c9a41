/** The byte layouts of core/codec: whole, canonical, and deaf to noise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteReader, ByteWriter, Malformed, varintSize } from '../../services/core/codec/bytes.ts';
import { contextBytesMax, createContextCodec } from '../../services/core/codec/context.ts';
import { entriesSize, readEntries, writeEntries } from '../../services/core/codec/entries.ts';
import { decodePageToken, encodePageToken } from '../../services/core/codec/page-token.ts';
import { createRecordCodec, recordChecksum } from '../../services/core/codec/record.ts';
import {
  type CausalContext,
  type ContextEntry,
  counterMax,
  emptyContext,
  packEntry,
} from '../../services/core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord, type Sibling } from '../../services/core/versioning/record.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';
import { recordProblem, run, shapeProblem, steps } from './versioning-model.ts';

const records = createRecordCodec(checksum32);
const contexts = createContextCodec(xxh64);

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const birth = fc.record({ lineage: u64, actor: u64 }, { noNullPrototype: true });
const counter = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: counterMax }));
const height = fc.oneof(fc.nat(300), fc.constant(Number.MAX_SAFE_INTEGER));

const entry: fc.Arbitrary<ContextEntry> = fc
  .tuple(u64, fc.oneof(fc.constant(0), counter), fc.array(counter, { maxLength: 5 }), height)
  .map(([actor, upTo, detached, at]) => packEntry(actor, upTo, detached, at))
  .filter(({ upTo, detached }) => upTo > 0 || detached.length > 0);

const clock: fc.Arbitrary<CausalContext> = fc
  .uniqueArray(entry, { selector: ({ actor }) => actor, maxLength: 14 })
  .map((entries) => entries.sort((a, b) => (a.actor < b.actor ? -1 : 1)));

const context = clock.map((entries) => entries.map((one) => ({ ...one, height: 0 })));

/** Records as wide as the format allows; those that histories reach are tried besides. */
const record: fc.Arbitrary<KeyRecord> = clock.chain((entries) => {
  const siblings = entries.map(({ actor, upTo, detached }): fc.Arbitrary<Sibling | undefined> => {
    const sibling = fc.record(
      {
        dot: fc.constant({ actor, counter: detached.at(-1) ?? upTo }),
        requestId: fc.uint8Array({ maxLength: 32 }),
        writtenAtMs: fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER)),
        expiresAtMs: fc.oneof(fc.integer({ min: 1 }), fc.constant(Number.MAX_SAFE_INTEGER)),
        contends: fc.constantFrom<'value' | 'delete'>('value', 'delete'),
        value: fc.uint8Array({ maxLength: 40 }),
      },
      { noNullPrototype: true, requiredKeys: ['dot', 'requestId', 'writtenAtMs', 'value'] },
    );
    const valid = sibling.map((one) => (one.contends === 'delete' ? { ...one, value: new Uint8Array(0) } : one));
    return fc.option(valid, { nil: undefined });
  });
  return fc.tuple(...siblings).map((all) => ({ clock: entries, siblings: all.filter((one) => one !== undefined) }));
});

const reachable = fc.tuple(steps, fc.nat()).map(([list, i]) => {
  const { states } = run(list, 10);
  return states[i % states.length] as KeyRecord;
});

/** Every way of getting one bit wrong, of ending early and of going on for a byte. */
function* damaged(bytes: Uint8Array): Generator<[what: string, bytes: Uint8Array]> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = Uint8Array.from(bytes);
    copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
    yield [`bit ${bit} flipped`, copy];
  }
  for (let length = 0; length < bytes.length; length++) yield [`cut to ${length}`, bytes.slice(0, length)];
  for (const extra of [0, 1, 255]) yield [`${extra} at the end`, Uint8Array.from([...bytes, extra])];
}

function refuses(decode: () => unknown, what: string): void {
  assert.throws(decode, Malformed, what);
}

/** What decode gives, or undefined where it says Malformed; anything else that it throws fails the test. */
function decodedOr<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    assert.ok(error instanceof Malformed, `${error}`);
    return undefined;
  }
}

test('a record is decoded as it was encoded, and one record has one encoding', () => {
  fc.assert(
    fc.property(fc.oneof(record, reachable), (one) => {
      const bytes = records.encode(one);
      const decoded = records.decode(bytes);
      assert.deepEqual(plain(decoded), plain(one));
      assert.deepEqual(records.encode(decoded), bytes);
      assert.equal(recordProblem(decoded), undefined);
    }),
    { numRuns: 200 },
  );
});

test('a context is decoded as it was encoded, but for its heights', () => {
  fc.assert(
    fc.property(clock, u64, (one, keyHash) => {
      const bytes = contexts.encode(one, keyHash);
      assert.deepEqual(
        contexts.decode(bytes, keyHash),
        one.map((entry) => ({ ...entry, height: 0 })),
      );
    }),
    { numRuns: 200 },
  );
});

test('records of histories survive flips of every bit, every truncation and extension: none goes unnoticed', () => {
  fc.assert(
    fc.property(reachable, (one) => {
      for (const [what, bytes] of damaged(records.encode(one))) refuses(() => records.decode(bytes), what);
    }),
    { numRuns: 8 },
  );
});

test('contexts with every single bit flipped, truncated or extended are refused', () => {
  fc.assert(
    fc.property(context, u64, (one, keyHash) => {
      for (const [what, bytes] of damaged(contexts.encode(one, keyHash))) {
        // No bytes at all are the context that knows nothing.
        if (bytes.length > 0) refuses(() => contexts.decode(bytes, keyHash), what);
      }
    }),
    { numRuns: 15 },
  );
});

test('page tokens with every single bit flipped, truncated or extended are refused', () => {
  const after = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 97, 0, 98]);
  const token = encodePageToken(after, 42n, xxh64);
  assert.deepEqual(decodePageToken(token, 42n, xxh64), after);
  for (const [what, bytes] of damaged(token)) refuses(() => decodePageToken(bytes, 42n, xxh64), what);
});

test('a context or page token of another key or listing is refused', () => {
  fc.assert(
    fc.property(
      context.filter((one) => one.length > 0),
      u64,
      u64,
      (one, keyHash, other) => {
        fc.pre(keyHash !== other);
        refuses(() => contexts.decode(contexts.encode(one, keyHash), other), 'another key');
      },
    ),
  );
  const token = encodePageToken(new Uint8Array(20), 1n, xxh64);
  refuses(() => decodePageToken(token, 2n, xxh64), 'another listing');
});

test('a context is no page token of the listing of its key, and no page token is a context', () => {
  // The seed of both checksums is the same where a prefix equals a key.
  fc.assert(
    fc.property(
      context.filter((one) => one.length > 0),
      u64,
      (one, seed) => {
        const bytes = contexts.encode(one, seed);
        refuses(() => decodePageToken(bytes, seed, xxh64), 'a context');
      },
    ),
  );
  // Storage keys that would read as a context's entries: one entry, its actor, upTo 1, none detached.
  const entries = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0]);
  refuses(() => contexts.decode(encodePageToken(entries, 7n, xxh64), 7n), 'a page token');
});

test('a version that this build does not know is refused, its number and ours in the message', () => {
  const one = [{ actor: 1n, upTo: 1, detached: [], height: 0 }];
  const newer = contexts.encode(one, 5n);
  newer[0] = 2;
  assert.throws(() => contexts.decode(sealContext(newer, 5n), 5n), /version 2; this build reads 1/);
  const body = records.encode(emptyRecord).slice(0, -4);
  body[0] = 9;
  assert.throws(() => records.decode(sealRecord(body)), /version 9; this build reads 1 to 3/);
});

test('a record in which nothing expires or contends is of version 1, as it always was, and has no other encoding', () => {
  const one: KeyRecord = {
    clock: [{ actor: 1n, upTo: 1, detached: [], height: 0 }],
    siblings: [
      { dot: { actor: 1n, counter: 1 }, requestId: new Uint8Array(0), writtenAtMs: 5, value: new Uint8Array(0) },
    ],
  };
  assert.equal(records.encode(one)[0], 1);
  const expiring = { ...one, siblings: one.siblings.map((sibling) => ({ ...sibling, expiresAtMs: 9 })) };
  const bytes = records.encode(expiring);
  assert.equal(bytes[0], 2);
  const body = bytes.slice(0, -4);
  body[body.indexOf(9)] = 0;
  assert.throws(() => records.decode(sealRecord(body)), /version 2, and no sibling needs it/);
  const contending = { ...one, siblings: one.siblings.map((one) => ({ ...one, contends: 'delete' as const })) };
  const third = records.encode(contending);
  assert.equal(third[0], 3);
  const plain = third.slice(0, -4);
  plain[plain.length - 3] = 0;
  assert.throws(() => records.decode(sealRecord(plain)), /version 3, and no sibling needs it/);
  plain[plain.length - 3] = 3;
  assert.throws(() => records.decode(sealRecord(plain)), /contends as 3; 0 to 2 are known/);
});

test('random bytes are refused with Malformed and nothing else', () => {
  const bytes = fc.uint8Array({ maxLength: 80 });
  fc.assert(
    fc.property(bytes, u64, (noise, seed) => {
      decodedOr(() => contexts.decode(noise, seed));
      decodedOr(() => records.decode(noise));
      decodedOr(() => decodePageToken(noise, seed, xxh64));
      decodedOr(() => records.decodeStored(noise));
    }),
    { numRuns: 500 },
  );
});

/** Numbers that are mostly what a layout wants, and at times just beside it. */
const small = fc.nat(3);
const actorBytes = fc.nat(3).map((n) => [0, 0, 0, 0, 0, 0, 0, n]);
const dotCounts = fc.constantFrom([0], [0], [1, 1], [1, 2], [2, 2, 1], [2, 2, 0]);
const nearEntries = (heights: boolean) =>
  fc
    .tuple(fc.nat(1), fc.array(fc.tuple(actorBytes, small, small, dotCounts), { minLength: 1, maxLength: 3 }))
    .map(([wrong, list]) => [
      list.length + (wrong === 1 && list.length === 3 ? 1 : 0),
      ...list.flatMap(([actor, upTo, at, dots]) => [...actor, upTo, ...(heights ? [at] : []), ...dots]),
    ]);
const nearSiblings = fc
  .array(fc.tuple(small, small, small, fc.constantFrom([0], [1, 65], [33]), fc.constantFrom([0], [2, 66, 67], [9])), {
    maxLength: 2,
  })
  .map((list) => [list.length, ...list.flatMap((parts) => parts.flat())]);

test('whatever decodes behind a right checksum is canonical: its encoding is what was read', () => {
  let contextsAccepted = 0;
  let recordsAccepted = 0;
  fc.assert(
    fc.property(nearEntries(false), nearEntries(true), nearSiblings, (clientEntries, clockEntries, siblings) => {
      const asContext = sealContext(Uint8Array.from([1, ...clientEntries, ...new Uint8Array(8)]), 3n);
      const knows = decodedOr(() => contexts.decode(asContext, 3n));
      if (knows !== undefined) {
        contextsAccepted++;
        assert.equal(shapeProblem(knows), undefined);
        assert.deepEqual(Uint8Array.from(contexts.encode(knows, 3n)), asContext);
      }
      const asRecord = sealRecord(Uint8Array.from([1, ...clockEntries, ...siblings]));
      const held = decodedOr(() => records.decode(asRecord));
      if (held !== undefined) {
        recordsAccepted++;
        assert.equal(recordProblem(held), undefined);
        assert.ok(held.siblings.every(({ dot }) => dot.counter >= 1));
        assert.deepEqual(records.encode(held), asRecord);
      }
    }),
    { numRuns: 3_000 },
  );
  assert.ok(
    contextsAccepted > 300 && recordsAccepted > 100,
    `${contextsAccepted} and ${recordsAccepted} were accepted`,
  );
});

test('a context that names no dot is written as no bytes, and only so', () => {
  assert.equal(contexts.encode(emptyContext, 3n).length, 0);
  assert.equal(contexts.decode(new Uint8Array(0), 3n), emptyContext);
  refuses(() => contexts.decode(sealContext(Uint8Array.from([1, 0, ...new Uint8Array(8)]), 3n), 3n), 'count 0');
});

test('a sibling with counter 0 is refused: there is no such dot', () => {
  // clock {1: upTo 1, height 1}, one sibling: entry 0, counter 0, written at 0, no request id, no value
  const body = [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0];
  refuses(() => records.decode(sealRecord(Uint8Array.from(body))), 'counter 0');
});

test('counts and lengths that promise more than is there are refused before anything is made for them', () => {
  const huge = [255, 255, 255, 255, 255, 255, 255, 15];
  const siblingsPromised = Uint8Array.from([1, 0, ...huge]);
  const entriesPromised = Uint8Array.from([1, ...huge]);
  const dotsPromised = Uint8Array.from([1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, ...huge]);
  const valuePromised = Uint8Array.from([1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, ...huge]);
  for (const body of [siblingsPromised, entriesPromised, dotsPromised, valuePromised]) {
    refuses(() => records.decode(sealRecord(body)), `${body}`);
  }
  refuses(() => contexts.decode(new Uint8Array(contextBytesMax + 1), 0n), 'too long');
});

test('counters above the limit, actors out of order and dots that belong into the vector are refused', () => {
  const read = (context: readonly ContextEntry[]) => {
    const writer = new ByteWriter(new Uint8Array(entriesSize(context, true)));
    writeEntries(writer, context, true);
    return readEntries(new ByteReader(writer.bytes), true);
  };
  const good = { actor: 4n, upTo: counterMax, detached: [], height: 0 };
  assert.deepEqual(read([good]), [good]);
  assert.throws(() => read([{ ...good, upTo: counterMax + 1 }]), /281474976710657 .*above 281474976710656/);
  assert.throws(() => read([good, good]), /not ascending at entry 1/);
  assert.throws(() => read([good, { ...good, actor: 3n }]), /not ascending at entry 1/);
  assert.throws(() => read([{ ...good, upTo: 4, detached: [5] }]), /belongs into the vector/);
  assert.throws(() => read([{ ...good, upTo: 4, detached: [7, 7] }]), /belongs into the vector/);
  assert.throws(() => read([{ ...good, upTo: 0 }]), /entry 0 is empty/);
});

test('varints hold 0 to 2^53 - 1 in the size that was worked out, and nothing longer is read', () => {
  const limits = [0, 1, 127, 128, 16_383, 16_384, 2 ** 32 - 1, 2 ** 32, 2 ** 49, Number.MAX_SAFE_INTEGER];
  fc.assert(
    fc.property(fc.oneof(fc.constantFrom(...limits), fc.maxSafeNat()), (value) => {
      const writer = new ByteWriter(new Uint8Array(varintSize(value)));
      writer.varint(value);
      assert.equal(writer.position, writer.bytes.length);
      const reader = new ByteReader(writer.bytes);
      assert.equal(reader.varint(), value);
      reader.finish();
    }),
  );
  const tooLarge = [128, 128, 128, 128, 128, 128, 128, 16];
  assert.throws(() => new ByteReader(Uint8Array.from(tooLarge)).varint(), /above 2\^53 - 1/);
  assert.throws(() => new ByteReader(new Uint8Array(20).fill(255)).varint(), /above 2\^53 - 1/);
  assert.throws(() => new ByteReader(Uint8Array.from([128, 0])).varint(), /longer than it needs/);
  assert.throws(() => new ByteReader(Uint8Array.from([128])).varint(), /1 bytes wanted at 1, 0 there/);
});

test('fixed widths are big-endian and read back', () => {
  fc.assert(
    fc.property(u64, fc.nat(2 ** 32 - 1), (wide, narrow) => {
      const writer = new ByteWriter(new Uint8Array(12));
      writer.u64(wide);
      writer.u32(narrow);
      const view = new DataView(writer.bytes.buffer);
      assert.equal(view.getBigUint64(0), wide);
      assert.equal(view.getUint32(8), narrow);
      const reader = new ByteReader(writer.bytes);
      assert.equal(reader.u64(), wide);
      assert.equal(reader.u32(), narrow);
    }),
  );
  assert.throws(() => new ByteReader(new Uint8Array(7)).u64(), Malformed);
});

test('a stored record keeps its birth and whom it is owed to beside it, and says by its checksum whether it differs', () => {
  const owedTo = fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 5 });
  fc.assert(
    fc.property(record, fc.option(birth, { nil: undefined }), owedTo, (one, kept, owed) => {
      const bytes = records.encode(one);
      const notes = records.encodeNotes({ birth: kept, owed });
      if (owed.length === 0) assert.equal(notes.length, kept === undefined ? 1 : 17);
      assert.deepEqual(records.decodeStored(Uint8Array.from([...notes, ...bytes])), { birth: kept, owed, bytes });
      assert.equal(recordChecksum(bytes), checksum32(bytes.subarray(0, -4)));
      if (owed.length === 0) return;
      notes.forEach((byte, at) => {
        const damaged = Uint8Array.from([...notes, ...bytes]);
        damaged[at] = byte ^ 16;
        refuses(() => records.decodeStored(damaged), `byte ${at} of what is known of a copy`);
      });
    }),
  );
  refuses(() => records.decodeStored(Uint8Array.from([2, 0, 0])), 'flag 2');
  refuses(() => records.decodeStored(Uint8Array.from([4, 1, 9, 0])), 'short id');
  refuses(() => records.decodeStored(new Uint8Array(0)), 'empty');
  refuses(() => records.decodeStored(Uint8Array.from([1, 0, 0])), 'short birth');
});

/** With Buffers and views made plain. */
function plain({ clock: entries, siblings }: KeyRecord): unknown {
  return {
    clock: entries,
    siblings: siblings.map((sibling) => ({
      ...sibling,
      value: [...sibling.value],
      requestId: [...sibling.requestId],
    })),
  };
}

/** The bytes with their last eight replaced by the right checksum. */
function sealContext(bytes: Uint8Array, keyHash: bigint): Uint8Array {
  const sealed = Uint8Array.from(bytes);
  const end = sealed.length - 8;
  new DataView(sealed.buffer).setBigUint64(end, xxh64(sealed.subarray(0, end), keyHash));
  return sealed;
}

function sealRecord(body: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(body.length + 4);
  sealed.set(body);
  new DataView(sealed.buffer).setUint32(body.length, checksum32(body));
  return sealed;
}
