import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BOUNDS_MS, bucketOf, Histogram, SIZE_BOUNDS, SizeHistogram } from '../../services/platform/histogram.ts';

const bounds = Array.from(BOUNDS_MS);

/** The definition of `le`, word for word. */
function bucketBySearch(milliseconds: number): number {
  const at = bounds.findIndex((bound) => milliseconds <= bound);
  return at < 0 ? bounds.length : at;
}

test('from 1 to 500 ms no bound is more than 1.25 times the one before', () => {
  for (let at = 1; at < bounds.length; at++) {
    const [lower = 0, upper = 0] = [bounds[at - 1], bounds[at]];
    assert.ok(upper > lower, `${upper} follows ${lower}`);
    if (upper > 1 && lower < 500) assert.ok(upper / lower <= 1.25, `${lower} to ${upper}`);
  }
});

test('the bounds reach from 0.05 ms to 60 s', () => {
  assert.ok((bounds[0] ?? 1) <= 0.05);
  assert.ok((bounds.at(-1) ?? 0) >= 60_000);
});

test('300 ms, the objective of the paper, is a bound', () => {
  assert.ok(bounds.includes(300));
});

test('a size falls into the first bucket whose bound it does not exceed', () => {
  const sizes = fc.nat({ max: 2 ** 31 });
  fc.assert(
    fc.property(fc.oneof(sizes, fc.nat({ max: 70 })), (size) => {
      const histogram = new SizeHistogram();
      histogram.observe(size);
      const wanted = SIZE_BOUNDS.findIndex((bound) => size <= bound);
      assert.equal(histogram.counts.indexOf(1), wanted < 0 ? SIZE_BOUNDS.length : wanted);
      assert.equal(histogram.sum, size);
    }),
    { numRuns: 2_000 },
  );
});

test('a value falls into the first bucket whose bound it does not exceed', () => {
  const anything = fc.double({ min: 0, max: Number.MAX_VALUE, noNaN: true });
  const usual = fc.double({ min: 0, max: 100_000, noNaN: true });
  fc.assert(
    fc.property(fc.oneof(anything, usual), (value) => {
      assert.equal(bucketOf(value), bucketBySearch(value));
    }),
    { numRuns: 5_000 },
  );
});

test('a value on a bound belongs below it, its neighbours to either side', () => {
  const step = 2 ** -51;
  for (const bound of bounds) {
    for (const value of [bound, bound * (1 - step), bound * (1 + step)]) {
      assert.equal(bucketOf(value), bucketBySearch(value), String(value));
    }
  }
  assert.equal(bucketOf(0), 0);
  assert.equal(bucketOf(Number.MIN_VALUE), 0);
});

test('observations add up, and what no clock should say counts as zero', () => {
  const histogram = new Histogram();
  for (const value of [1, 2, 3, 1e9, -5, Number.NaN, Number.POSITIVE_INFINITY]) histogram.observe(value);
  assert.equal(histogram.sum, 1e9 + 6);
  assert.equal(
    histogram.counts.reduce((sum, count) => sum + count, 0),
    7,
  );
  assert.equal(histogram.counts[0], 3);
  assert.equal(histogram.counts[bounds.length], 1);
});
