/** How much the background may do, and how slow the foreground is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGovernor } from '../../services/core/background/governor.ts';
import { createRecentLatencies } from '../../services/core/background/recent-latencies.ts';

const limits = { targetMs: 100, stallMs: 500, operationsMax: 1_000, bytesMax: 10_000, floor: 0.1 };
const calm = { p999Ms: undefined, writingMs: 0, lateMs: 0 };
const clients = (p999Ms: number | undefined) => ({ ...calm, p999Ms });

/** At a half of its ceiling, and felt there. */
function atHalf() {
  const governor = createGovernor(limits);
  for (let i = 0; i < 4; i++) governor.feel(calm);
  governor.feel(clients(101));
  assert.equal(governor.share, 0.5);
  return governor;
}

test('what is taken has to be waited for, by operations or by bytes, whichever is more', () => {
  const governor = atHalf();
  assert.equal(governor.take(12, 0, 0), 0, '25 ms ahead');
  assert.equal(governor.take(50, 0, 0), 99);
  assert.equal(governor.take(0, 1_000, 0), 299);
  assert.equal(governor.take(0, 0, 250), 49);
  assert.equal(governor.take(12, 0, 100_000), 0, 'a rest saves up no more than that');
  assert.equal(governor.take(50, 0, 100_000), 99);
});

test('in any time no more is let on than the shares of that time allow', () => {
  const governor = atHalf();
  let now = 0;
  let done = 0;
  while (now < 10_000) {
    now += governor.take(7, 0, now);
    done += 7;
  }
  assert.ok(done <= 5_000 + 100, `${done} operations in ten seconds at a half of 1,000`);
  assert.ok(done >= 4_900);
});

test('what cannot be put off takes from the rest, down to its floor, and what it took is paid for a minute later', () => {
  const governor = atHalf();
  let done = 0;
  let waitedUntil = 0;
  const second = (now: number) => {
    for (let ms = now; ms < now + 1_000; ms += 10) {
      if (ms < waitedUntil) continue;
      waitedUntil = ms + governor.take(5, 0, ms);
      done += 5;
    }
  };
  for (let now = 0; now < 600_000; now += 1_000) {
    governor.charge(5_000, 0, now, 50);
    second(now);
  }
  assert.ok(
    done >= 0.9 * 600 * 100 && done <= 1.1 * 600 * 100,
    `${done} operations in ten minutes, 100 a second are its floor`,
  );
  assert.ok(governor.charge(0, 0, 600_000, 600_000) < 65_000);
  for (let now = 600_000; now < 700_000; now += 1_000) second(now);
  done = 0;
  for (let now = 700_000; now < 710_000; now += 1_000) second(now);
  assert.ok(done >= 4_900, `${done} operations in ten seconds at a half of 1,000`);
});

test('I2: what was let on above the floor is not held against it once clients fill the write buffer', () => {
  const governor = createGovernor(limits);
  for (let i = 0; i < 4; i++) governor.feel(calm);
  let now = 0;
  while (now < 600_000) now += Math.max(10, governor.take(10, 0, now));
  const since = now;
  let done = 0;
  let nextCharge = now;
  for (let waitedUntil = now; now < since + 300_000; now += 10) {
    for (; nextCharge <= now; nextCharge += 100) governor.charge(500, 0, now, 50);
    if (now < waitedUntil) continue;
    waitedUntil = now + governor.take(10, 0, now);
    done += 10;
  }
  assert.ok(done >= 0.9 * 300 * 100, `${done} operations in five minutes, 100 a second are its floor`);
});

test('it begins at its floor, and doubles until it is felt', () => {
  const governor = createGovernor(limits);
  const shares = [governor.share];
  for (let i = 0; i < 5; i++) {
    governor.feel(calm);
    shares.push(governor.share);
  }
  assert.deepEqual(shares, [0.1, 0.2, 0.4, 0.8, 1, 1]);
});

test('the share is halved while the foreground is slow, down to a floor, and rises slowly while it is not', () => {
  const governor = atHalf();
  const shares = Array.from({ length: 4 }, () => {
    governor.feel(clients(101));
    return governor.share;
  });
  assert.deepEqual(shares, [0.25, 0.125, 0.1, 0.1]);
  assert.equal(governor.reason, 'clients');
  governor.feel(clients(100));
  assert.deepEqual([governor.share.toFixed(3), governor.reason], ['0.115', 'budget']);
  for (let i = 0; i < 30; i++) governor.feel(calm);
  assert.equal(governor.share, 1);
});

test('a disk that stalls and a late event loop halve it too, and clients that are slow are named first', () => {
  const governor = atHalf();
  governor.feel({ ...calm, lateMs: 2.1 });
  assert.deepEqual([governor.share, governor.reason], [0.25, 'processor']);
  governor.feel({ ...calm, writingMs: 501, lateMs: 2.1 });
  assert.deepEqual([governor.share, governor.reason], [0.125, 'disk']);
  governor.feel({ p999Ms: 101, writingMs: 501, lateMs: 2.1 });
  assert.deepEqual([governor.share, governor.reason], [0.1, 'clients']);
  governor.feel({ p999Ms: 100, writingMs: 500, lateMs: 2 });
  assert.equal(governor.reason, 'budget');
});

test('a percentile is of the last minute, and unknown where little was observed', () => {
  const latencies = createRecentLatencies();
  assert.equal(latencies.percentile(0.999, 0), undefined);
  for (let i = 0; i < 10_000; i++) latencies.observe(i < 9_980 ? 1 : 500, 1_000);
  const about = (ms: number, at: number, fraction = 0.999) => {
    const seen = latencies.percentile(fraction, at) ?? 0;
    assert.ok(seen >= ms && seen <= ms * 1.09, `${seen} for ${ms}`);
  };
  about(500, 1_000);
  about(1, 1_000, 0.99);
  about(500, 59_000);
  assert.equal(latencies.percentile(0.999, 61_000), undefined);
  for (let i = 0; i < 10_000; i++) latencies.observe(2, 200_000);
  about(2, 205_000);
});
