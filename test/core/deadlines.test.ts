import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { type Alarm, createDeadlines, type Deadlines, tickMs } from '../../services/core/deadlines.ts';
import { createManualClock } from './manual-clock.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('an alarm never rings before its time, and less than two ticks after it', () => {
  const waits = fc.array(fc.record({ at: fc.nat(500), setAt: fc.nat(300) }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(waits, (list) => {
      const clock = createManualClock();
      const deadlines = createDeadlines(clock);
      const rung: number[] = list.map(() => -1);
      for (const [i, { at, setAt }] of list.entries()) {
        clock.after(setAt, () => {
          deadlines.set(at, () => {
            rung[i] = clock.now();
          });
        });
      }
      clock.advance(1_000);
      for (const [i, { at, setAt }] of list.entries()) {
        const due = Math.max(at, setAt);
        const late = (rung[i] as number) - due;
        assert.ok(late >= 0 && late < 2 * tickMs + 1, `due at ${due}, rang at ${rung[i]}`);
      }
    }),
  );
});

test('an alarm that is cancelled does not ring', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  const rung: string[] = [];
  const cancelled = deadlines.set(20, () => rung.push('cancelled'));
  deadlines.set(20, () => rung.push('kept'));
  cancelled.cancel();
  clock.advance(100);
  assert.deepEqual(rung, ['kept']);
});

test('a cancelled alarm lets go of its operation at once: an answer of megabytes must not wait for a time-out', async () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  const [answer, alarm] = operation(deadlines);
  alarm.cancel();
  await nextTurn();
  collectGarbage();
  assert.equal(answer.deref(), undefined);
  assert.equal(alarm.armed, false);
});

/** An alarm whose `ring` needs an answer that nobody else holds. */
function operation(deadlines: Deadlines): [WeakRef<Uint8Array>, Alarm] {
  const answer = new Uint8Array(1_000);
  return [new WeakRef(answer), deadlines.set(10_000, () => answer.fill(1))];
}

test('one alarm may cancel another of the same tick', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  const rung: string[] = [];
  deadlines.set(20, () => {
    rung.push('first');
    second.cancel();
  });
  const second = deadlines.set(20, () => rung.push('second'));
  clock.advance(100);
  assert.deepEqual(rung, ['first']);
});

test('an alarm set while another one rings is not lost, though its time is over already', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  const rung: string[] = [];
  deadlines.set(20, () => {
    rung.push('outer');
    deadlines.set(0, () => rung.push('past'));
    deadlines.set(clock.now(), () => rung.push('now'));
    deadlines.set(clock.now() + 50, () => rung.push('later'));
  });
  clock.advance(200);
  assert.deepEqual(rung, ['outer', 'past', 'now', 'later']);
  assert.equal(clock.timers, 0);
});

test('while nothing is waiting there is no timer, before, between and after', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  assert.equal(clock.timers, 0);
  for (const at of [30, 5_000]) {
    deadlines.set(at, () => {});
    assert.equal(clock.timers, 1);
    clock.advance(at + 2 * tickMs);
    assert.equal(clock.timers, 0);
  }
});

test('thousands of alarms share one timer', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  let rung = 0;
  for (let i = 0; i < 5_000; i++) deadlines.set(i % 400, () => rung++);
  assert.equal(clock.timers, 1);
  clock.advance(500);
  assert.equal(rung, 5_000);
});

test('a clock that jumps far rings everything due in order of time', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  const rung: number[] = [];
  for (const at of [9_000, 100, 3_000]) deadlines.set(at, () => rung.push(at));
  clock.jump(20_000);
  assert.deepEqual(rung, [100, 3_000, 9_000]);
  assert.equal(clock.timers, 0);
});

test('after the close nothing goes off, and there is no timer', () => {
  const clock = createManualClock();
  const deadlines = createDeadlines(clock);
  let rung = 0;
  deadlines.set(10_000, () => rung++).cancel();
  deadlines.set(50, () => rung++);
  deadlines.close();
  clock.advance(20_000);
  assert.equal(rung, 0);
});
