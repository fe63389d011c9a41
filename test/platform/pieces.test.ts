import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createJoiner,
  joiningBytesMax,
  joiningRecordsMax,
  pieceBytes,
  piecesOf,
} from '../../services/platform/streams/pieces.ts';

const bytesOf = (size: number, seed: number) => Buffer.alloc(size, seed + 1);

test('a record of up to one piece is that piece itself, not a copy', () => {
  for (const size of [0, 1, pieceBytes]) {
    const record = bytesOf(size, 1);
    const pieces = piecesOf(record);
    assert.deepEqual(
      pieces.map(({ more }) => more),
      [false],
    );
    assert.equal(pieces[0]?.piece, record);
    assert.equal(createJoiner().add(7, record, false), record);
  }
});

test('larger records are cut into full pieces and joined to what they were', () => {
  for (const size of [pieceBytes + 1, 2 * pieceBytes, 3 * pieceBytes - 1]) {
    const record = bytesOf(size, 5);
    record[size - 1] = 77;
    const pieces = piecesOf(record);
    assert.equal(pieces.length, Math.ceil(size / pieceBytes));
    assert.ok(pieces.slice(0, -1).every(({ piece, more }) => piece.length === pieceBytes && more));
    const joiner = createJoiner();
    const joined = pieces.map(({ piece, more }) => joiner.add(7, piece, more));
    assert.ok(joined.slice(0, -1).every((whole) => whole === undefined));
    assert.ok(record.equals(joined.at(-1) as Uint8Array));
  }
});

test('records whose pieces come between each other are joined each for itself', () => {
  const lists = fc.array(fc.array(fc.uint8Array({ maxLength: 9 }), { minLength: 1, maxLength: 5 }), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(lists, fc.infiniteStream(fc.nat()), (records, choices) => {
      const joiner = createJoiner();
      const left = new Map(records.map((pieces, id) => [id, pieces.slice()]));
      const joined = new Map<number, Uint8Array>();
      while (left.size > 0) {
        const ids = [...left.keys()];
        const id = ids[(choices.next().value as number) % ids.length] as number;
        const pieces = left.get(id) as Uint8Array[];
        const piece = pieces.shift() as Uint8Array;
        const whole = joiner.add(id, piece, pieces.length > 0);
        if (pieces.length > 0) assert.equal(whole, undefined);
        else {
          joined.set(id, whole as Uint8Array);
          left.delete(id);
        }
      }
      for (const [id, pieces] of records.entries()) {
        assert.ok(Buffer.concat(pieces).equals(joined.get(id) as Uint8Array));
      }
    }),
  );
});

test('an id that was joined begins anew', () => {
  const joiner = createJoiner();
  joiner.add(1, bytesOf(3, 0), true);
  joiner.add(1, bytesOf(3, 0), false);
  assert.equal(joiner.add(1, bytesOf(2, 5), true), undefined);
  assert.deepEqual(joiner.add(1, bytesOf(1, 8), false), Buffer.from([6, 6, 9]));
});

test('P14: beyond the cap of bytes pieces are dropped, and room is made again when records are done', () => {
  const joiner = createJoiner();
  // One buffer for all: what counts is the length.
  const piece = Buffer.alloc(joiningBytesMax / 8);
  for (let i = 0; i < 8; i++) joiner.add(1, piece, true);
  joiner.add(2, Buffer.from('lost'), true);
  assert.equal(joiner.add(2, Buffer.from('lost too'), false)?.length, 0, 'not a whole record: its checksum fails');
  assert.equal(joiner.add(1, Buffer.from('!'), false)?.length, joiningBytesMax);
  joiner.add(3, Buffer.from('kept '), true);
  assert.equal(Buffer.from(joiner.add(3, Buffer.from('again'), false) ?? []).toString(), 'kept again');
});

test('P14: a peer that begins records for ever and ends none is held to a number of them', () => {
  const joiner = createJoiner();
  for (let id = 1; id <= joiningRecordsMax + 1; id++) joiner.add(id, Buffer.from('a'), true);
  // What was begun within the cap is still joined; what was not is incomplete, which its checksum shows.
  assert.equal(joiner.add(joiningRecordsMax + 1, Buffer.from('b'), false)?.length, 1);
  assert.equal(Buffer.from(joiner.add(1, Buffer.from('b'), false) ?? []).toString(), 'ab');
  joiner.add(joiningRecordsMax + 2, Buffer.from('a'), true);
  assert.equal(joiner.add(joiningRecordsMax + 2, Buffer.from('b'), false)?.length, 2);
});
