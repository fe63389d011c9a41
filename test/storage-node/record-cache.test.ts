/** The cache beside a Map that forgets nothing: what it has is what was put last, and what was given stays as it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CachedRecord, createRecordCache } from '../../services/storage-node/record-cache.ts';
import { seededRandom } from '../sim/random.ts';

const nobody: CachedRecord['owed'] = [];

function recordOf(length: number, byte: number): CachedRecord {
  return { birth: undefined, owed: nobody, bytes: Buffer.alloc(length, byte) };
}

test('what it has is what was put last and not taken, whatever was pushed out in between', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const bytesMax = 8_192;
    const cache = createRecordCache(bytesMax);
    const last = new Map<string, CachedRecord>();
    const given: [CachedRecord, Buffer | undefined][] = [];
    let hits = 0;
    for (let step = 0; step < 5_000; step++) {
      const name = `key${random.below(12)}`;
      const dice = random.below(10);
      if (dice < 5) {
        const record =
          dice === 0 ? { birth: undefined, owed: ['a'], bytes: undefined } : recordOf(random.below(1_500), step);
        cache.put(name, record);
        last.set(name, record);
      } else {
        const found = dice < 8 ? cache.get(name) : cache.take(name);
        if (found !== undefined) {
          hits++;
          assert.deepEqual(found, last.get(name), `seed ${seed}, step ${step}`);
          given.push([found, found.bytes && Buffer.from(found.bytes)]);
        }
        if (dice >= 8) {
          assert.equal(cache.get(name), undefined);
          last.delete(name);
        }
      }
      assert.ok(cache.bytes <= bytesMax, `seed ${seed}, step ${step}: ${cache.bytes} bytes`);
    }
    assert.ok(hits > 500, `${hits} hits`);
    for (const [record, bytes] of given) assert.deepEqual(record.bytes, bytes);
  }
});

test('a key that is written again and again pushes out nobody', () => {
  const cache = createRecordCache(64 * 1_024);
  cache.put('other', recordOf(1_000, 1));
  for (let i = 0; i < 10_000; i++) {
    assert.ok(cache.take('hot') !== undefined || i === 0);
    cache.put('hot', recordOf(1_000 - (i % 10), 2));
  }
  assert.deepEqual(cache.get('other'), recordOf(1_000, 1));
});

test('a record of more than half of its bytes, or with no room at all, is not kept', () => {
  for (const bytesMax of [0, 1, 1_000]) {
    const cache = createRecordCache(bytesMax);
    cache.put('key', recordOf(600, 1));
    assert.equal(cache.get('key'), undefined);
    assert.equal(cache.bytes, 0);
  }
});
