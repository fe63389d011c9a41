import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createReadPlacement,
  debtMsMax,
  inlineKeysMax,
  stallMs,
  stallShare,
} from '../../services/platform/rocksdb/read-placement.ts';

test('reads run on the event loop while none was slow', () => {
  const placement = createReadPlacement();
  for (let now = 0; now < 1_000; now++) {
    assert.ok(placement.inline(1, now));
    placement.took(stallMs, now);
  }
});

test('a slow read now and then is the scheduler’s doing, and changes nothing', () => {
  const placement = createReadPlacement();
  for (let now = 0; now < 100_000; now += 500) {
    assert.ok(placement.inline(1, now), `at ${now}`);
    placement.took(9, now);
  }
});

test('a disk that is always slow holds up the event loop for no more than its share of the time, and a few reads', () => {
  for (const readMs of [2, 20, 200]) {
    const placement = createReadPlacement();
    let now = 0;
    let stalled = 0;
    while (now < 200_000) {
      if (placement.inline(1, now)) {
        now += readMs;
        stalled += readMs;
        placement.took(readMs, now);
      } else now++;
    }
    assert.ok(stalled <= now * stallShare + debtMsMax + 2 * readMs, `${readMs} ms: ${stalled} of ${now}`);
    assert.ok(stalled >= now * stallShare * 0.8, 'and it is tried again');
  }
});

test('a read of many keys goes to the pool', () => {
  const placement = createReadPlacement();
  assert.ok(placement.inline(inlineKeysMax, 0));
  assert.ok(!placement.inline(inlineKeysMax + 1, 0));
});
