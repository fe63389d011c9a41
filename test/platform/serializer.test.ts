import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReplicaResult, ReplicateResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { serializer } from '../../services/platform/streams/serializer.ts';

const serialize = serializer(ReplicateResponse);

const results = fc.array(
  fc.record({
    id: fc.nat(),
    record: fc.uint8Array({ maxLength: 3_000 }).map((bytes) => Buffer.from(bytes)),
    message: fc.string(),
    owed: fc.array(fc.string(), { maxLength: 3 }),
    era: fc.bigInt({ min: 0n, max: 2n ** 52n }),
  }),
  { maxLength: 20 },
);

function frameOf(all: Parameters<typeof ReplicaResult.fromPartial>[0][]): ReplicateResponse {
  return { welcome: undefined, results: all.map((one) => ReplicaResult.fromPartial(one)), alive: false };
}

test('messages have the bytes that ts-proto gives them, one after the other, and keep them', () => {
  fc.assert(
    fc.property(fc.array(results, { maxLength: 6 }), (frames) => {
      const messages = frames.map(frameOf);
      const serialized = messages.map(serialize);
      for (const [i, message] of messages.entries()) {
        assert.ok(Buffer.from(ReplicateResponse.encode(message).finish()).equals(serialized[i] as Buffer));
      }
    }),
  );
});

test('a message that cannot be encoded leaves nothing of itself in the next one', () => {
  const good = frameOf([{ id: 7, record: Buffer.from('whole') }]);
  assert.throws(() =>
    serialize(
      frameOf([
        { id: 1, record: Buffer.from('half') },
        { id: 2, era: -1n },
      ]),
    ),
  );
  assert.deepEqual(ReplicateResponse.decode(serialize(good)), good);
});
