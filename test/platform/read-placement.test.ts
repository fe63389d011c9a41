import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createReadPlacement,
  inlineKeysMax,
  poolMsMax,
  poolTimesStall,
  stallMs,
} from '../../services/platform/rocksdb/read-placement.ts';

test('reads run on the event loop while none was slow', () => {
  const placement = createReadPlacement();
  for (let now = 0; now < 100; now++) {
    assert.ok(placement.inline(1, now));
    placement.took(stallMs, now);
  }
});

test('after a slow read the pool reads for a hundred times as long, and then the event loop again', () => {
  const placement = createReadPlacement();
  placement.took(5, 1_000);
  assert.ok(!placement.inline(1, 1_000));
  assert.ok(!placement.inline(1, 1_000 + 5 * poolTimesStall - 1));
  assert.ok(placement.inline(1, 1_000 + 5 * poolTimesStall));
});

test('a disk that is always slow holds up the event loop for at most a hundredth of the time', () => {
  const placement = createReadPlacement();
  const readMs = 20;
  let now = 0;
  let stalled = 0;
  while (now < 100_000) {
    if (placement.inline(1, now)) {
      now += readMs;
      stalled += readMs;
      placement.took(readMs, now);
    } else now++;
  }
  assert.ok(stalled / now <= 1 / poolTimesStall + readMs / now, `${stalled} of ${now} ms`);
});

test('one very slow read keeps the reads off the event loop no longer than the bound', () => {
  const placement = createReadPlacement();
  placement.took(60_000, 0);
  assert.ok(!placement.inline(1, poolMsMax - 1));
  assert.ok(placement.inline(1, poolMsMax));
});

test('a read of many keys goes to the pool', () => {
  const placement = createReadPlacement();
  assert.ok(placement.inline(inlineKeysMax, 0));
  assert.ok(!placement.inline(inlineKeysMax + 1, 0));
});
