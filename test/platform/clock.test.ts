import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClock } from '../../services/platform/clock.ts';

const longestTimer = 2 ** 31 - 1;

test('a time longer than the longest timer of Node is waited for, and can be given up', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const asked: number[] = [];
  const mocked = setTimeout;
  t.mock.method(globalThis, 'setTimeout', (run: () => void, ms: number) => {
    asked.push(ms);
    return mocked(run, ms);
  });
  const clock = createClock();
  let ran = 0;
  clock.after(longestTimer + 1_000, () => ran++);
  const cancel = clock.after(longestTimer + 1_000, () => ran++);
  t.mock.timers.tick(longestTimer);
  cancel();
  assert.equal(ran, 0);
  t.mock.timers.tick(1_000);
  assert.equal(ran, 1);
  assert.ok(Math.max(...asked) <= longestTimer, `${asked}`);
});
