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
        const birth = dice < 3 ? undefined : { lineage: BigInt(step), actor: 1n };
        // Some larger than a page.
        const record =
          dice === 0 ? { birth, owed: ['a'], bytes: undefined } : { ...recordOf(random.below(3_500), step), birth };
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

test('I2: what it holds is no more than its bytes, long keys and absent records too', () => {
  const bytesMax = 256 * 1_024;
  for (const { keyBytes, length } of [
    { keyBytes: 10, length: undefined },
    { keyBytes: 4_000, length: undefined },
    { keyBytes: 4_000, length: 100 },
    { keyBytes: 10, length: 1_000 },
  ]) {
    const cache = createRecordCache(bytesMax);
    const names = Array.from({ length: 5_000 }, (_, i) => String(i).padStart(keyBytes, 'k'));
    for (const name of names)
      cache.put(name, length === undefined ? { ...recordOf(0, 0), bytes: undefined } : recordOf(length, 1));
    const kept = names.filter((name) => cache.take(name) !== undefined).length;
    const bytesEach = keyBytes + (length ?? 0) + 100; // and its objects, at the least
    assert.ok(kept * bytesEach <= bytesMax, `${kept} of ${bytesEach} bytes in ${bytesMax}`);
    assert.ok(kept * (bytesEach + 200) > bytesMax / 3, `${kept} of ${bytesEach} bytes in ${bytesMax}`);
  }
});

test('what is used stays, however many others come and go', () => {
  const cache = createRecordCache(64 * 1_024);
  cache.put('used', recordOf(1_000, 1));
  for (let i = 0; i < 1_000; i++) {
    cache.put(`other ${i}`, recordOf(1_000, 2));
    if (i % 10 === 0) assert.deepEqual(cache.get('used'), recordOf(1_000, 1), `after ${i} others`);
  }
});

test('I3: pages are used again', (t) => {
  const allocate = t.mock.method(Buffer, 'allocUnsafeSlow');
  const cache = createRecordCache(64 * 1_024);
  for (let i = 0; i < 10_000; i++) cache.put(`key ${i}`, recordOf(1_000, i));
  const pages = allocate.mock.callCount();
  assert.ok(pages >= 4 && pages <= 8, `${pages} pages of a quarter of its bytes`);
});

test('a record that is larger than 128 KiB is not kept, and takes what was there of its key along', () => {
  const cache = createRecordCache(1_024 * 1_024);
  cache.put('key', recordOf(128 * 1_024, 1));
  assert.equal(cache.get('key')?.bytes?.length, 128 * 1_024);
  cache.put('key', recordOf(128 * 1_024 + 1, 2));
  assert.equal(cache.get('key')?.bytes?.length, undefined);
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
