import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ageOf, createRemoteClock, windowMs } from '../../services/core/remote-clock.ts';

test('another clock is known by its fastest message, and never thought to be later than it is', () => {
  const message = fc.record({ afterMs: fc.double({ min: 0, max: 5_000, noNaN: true }), wayMs: fc.nat(500) });
  fc.assert(
    fc.property(fc.integer({ min: -1e9, max: 1e9 }), fc.array(message, { minLength: 1 }), (ahead, messages) => {
      const remote = createRemoteClock();
      let now = 0;
      for (const { afterMs, wayMs } of messages) {
        now += afterMs + wayMs;
        remote.heard(now - wayMs + ahead, now);
        const at = remote.at(now) as number;
        assert.ok(at <= now + ahead + 1e-6, `${at} is later than ${now + ahead}`);
        assert.ok(at >= now - wayMs + ahead - 1e-6, 'the latest message is worth no more');
      }
    }),
  );
});

test('nothing is known of a clock that nothing was heard of, or no number', () => {
  const remote = createRemoteClock();
  remote.heard(Number.NaN, 1);
  remote.heard(Number.POSITIVE_INFINITY, 1);
  assert.equal(remote.at(1), undefined);
});

test('a clock that runs slower is believed again after two windows, and one that is silent stays known', () => {
  const remote = createRemoteClock();
  remote.heard(1_000, 0);
  for (let now = 0; now <= 3 * windowMs; now += 1_000) remote.heard(1_000 + now * 0.999, now);
  const now = 3 * windowMs;
  const behind = now + 1_000 - (remote.at(now) as number);
  assert.ok(behind >= windowMs * 0.001, `${behind} ms behind what its first message promised`);
  const idle = remote.at(now + 100 * windowMs) as number;
  assert.ok(Number.isFinite(idle));
  remote.heard(7, now + 100 * windowMs);
  assert.equal(remote.at(now + 100 * windowMs), 7);
});

test('a message that does not say when it was sent, or says the future, has no age', () => {
  for (const sentAtMs of [0, -5, 11, Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(ageOf(sentAtMs, 10), 0);
  assert.equal(ageOf(4, 10), 6);
});
