import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Cancelled, Cancelling } from '../../services/core/cancellation.ts';
import { createPeakEwma, lifetimeMs } from '../../services/core/routing/peak-ewma.ts';
import { createSpaceSaving } from '../../services/core/routing/space-saving.ts';
import { chooseOfTwo } from '../../services/core/routing/two-choices.ts';

test('I1 to I3: counts sum up, bound the truth, and miss no key that came often', () => {
  // Few keys come often, most seldom.
  const stream = fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 40 }), fc.boolean()), {
    maxLength: 400,
  });
  fc.assert(
    fc.property(stream, fc.integer({ min: 1, max: 12 }), (drawn, capacity) => {
      const sketch = createSpaceSaving(capacity);
      const truth = new Map<string, { reads: number; writes: number }>();
      for (const [a, b, isRead] of drawn) {
        const key = `k${Math.min(a, b)}`;
        sketch.add(key, isRead);
        const of = truth.get(key) ?? { reads: 0, writes: 0 };
        truth.set(key, of);
        of[isRead ? 'reads' : 'writes']++;
      }
      const top = sketch.top(capacity);
      assert.equal(sketch.total, drawn.length);
      assert.equal(
        top.reduce((sum, { count }) => sum + count, 0),
        drawn.length,
      );
      assert.deepEqual(
        top.map(({ count }) => count),
        top.map(({ count }) => count).sort((a, b) => b - a),
      );
      for (const { key, count, error, reads, writes } of top) {
        const { reads: trueReads, writes: trueWrites } = truth.get(key) as { reads: number; writes: number };
        assert.ok(reads <= trueReads && writes <= trueWrites, key);
        assert.ok(count - error <= trueReads + trueWrites && trueReads + trueWrites <= count, key);
      }
      for (const [key, { reads, writes }] of truth) {
        if (reads + writes > drawn.length / capacity)
          assert.ok(
            top.some((one) => one.key === key),
            key,
          );
      }
    }),
  );
});

test('what was asked for once is overtaken when everything is halved again and again', () => {
  const sketch = createSpaceSaving(4);
  for (let i = 0; i < 1_000; i++) sketch.add('once', true);
  for (let i = 0; i < 10; i++) {
    sketch.halve();
    for (let j = 0; j < 10; j++) sketch.add('now', false);
  }
  assert.deepEqual(
    sketch.top(2).map(({ key }) => key),
    ['now', 'once'],
  );
  assert.ok(sketch.total < 21, String(sketch.total));
});

test('a peak is seen at once and forgotten slowly, also by who is asked nothing', () => {
  const load = createPeakEwma();
  const answer = (ms: number, now: number) => {
    load.started();
    load.ended(ms, now);
  };
  answer(2, 0);
  assert.equal(load.cost(0), 2);
  answer(100, 0);
  assert.equal(load.cost(0), 100);
  answer(2, lifetimeMs);
  assert.ok(load.cost(lifetimeMs) > 30 && load.cost(lifetimeMs) < 50, String(load.cost(lifetimeMs)));
  assert.ok(load.cost(10 * lifetimeMs) < 0.1);
});

test('what is under way costs, and who has never answered is asked once', () => {
  const load = createPeakEwma();
  assert.equal(load.cost(0), 0);
  load.started();
  assert.ok(load.cost(0) > 1e12);
  load.ended(3, 0);
  load.started();
  load.started();
  assert.equal(load.cost(0), 9);
  load.ended(undefined, 0);
  assert.equal(load.cost(0), 6);
});

test('of two drawn the cheaper is chosen, all are kept, and each can be drawn', () => {
  const costs: Readonly<Record<string, number>> = { a: 3, b: 1, c: 2, d: 9 };
  const candidates = Object.keys(costs);
  const chosen = new Set<string>();
  for (let first = 0; first < 4; first++) {
    for (let second = 0; second < 3; second++) {
      const draws = [first, second];
      const order = chooseOfTwo({
        candidates,
        cost: (one) => costs[one] as number,
        below: () => draws.shift() as number,
      });
      assert.deepEqual([...order].sort(), candidates);
      assert.ok((costs[order[0] as string] as number) < (costs[order[1] as string] as number));
      chosen.add(order[0] as string);
      assert.deepEqual(draws, []);
    }
  }
  assert.deepEqual([...chosen].sort(), ['a', 'b', 'c']);
});

test('a favourite is one of the two, and gives way to who costs less', () => {
  const order = (costOfA: number) =>
    chooseOfTwo({
      candidates: ['a', 'b', 'c'],
      favourite: 'a',
      cost: (one) => (one === 'a' ? costOfA : 5),
      below: () => 1,
    });
  assert.deepEqual(order(4), ['a', 'c', 'b']);
  assert.deepEqual(order(6), ['c', 'a', 'b']);
});

test('a cancel is heard once, late listeners hear it at once, and what was forgotten does not', () => {
  const cancelling = new Cancelling();
  const heard: string[] = [];
  cancelling.onCancel(() => heard.push('first'));
  cancelling.onCancel(() => heard.push('forgotten'))();
  assert.equal(cancelling.cancelled, false);
  cancelling.cancel();
  cancelling.cancel();
  cancelling.onCancel(() => heard.push('late'));
  assert.deepEqual(heard, ['first', 'late']);
  assert.equal(new Cancelled('NOT_APPLIED').outcome, 'NOT_APPLIED');
});
