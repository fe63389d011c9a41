import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compared, comparisonText, type Slice } from './comparison.ts';

const slice = (operations: number, cpuSeconds: number, failed = 0): Slice => ({ operations, cpuSeconds, failed });

test('the ratio is above 1 where an operation has become cheaper', () => {
  const { ratio, before, now } = compared([{ before: slice(1000, 2), now: slice(1000, 1) }]);
  assert.deepEqual([ratio, before, now], [2, 500, 1000]);
});

test('a round in which both were slow changes no ratio', () => {
  const usual = { before: slice(1000, 1), now: slice(1000, 1.25) };
  const slow = { before: slice(1000, 4), now: slice(1000, 5) };
  assert.equal(compared([usual, slow]).ratio.toFixed(6), compared([usual]).ratio.toFixed(6));
});

test('twice and half as good are together no better and no worse', () => {
  const comparison = compared([
    { before: slice(1000, 2), now: slice(1000, 1) },
    { before: slice(1000, 1), now: slice(1000, 2) },
  ]);
  assert.equal(comparison.ratio, 1);
  assert.deepEqual([comparison.lowest, comparison.highest], [0.5, 2]);
});

test('the line has the ratio, its range, both commits and what failed', () => {
  const rounds = [
    { before: slice(1000, 1), now: slice(1000, 1, 3) },
    { before: slice(1000, 1), now: slice(1000, 0.8) },
  ];
  const text = comparisonText(compared(rounds), { now: 'b2', before: 'a1', load: '64 workers directly' });
  assert.match(
    text,
    /^1\.12× .*rounds from 1\.00 to 1\.25.* 1,111 at b2, 1,000 at a1; 64 workers directly, .* 3 failed$/,
  );
});
