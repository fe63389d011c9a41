/** How late an event loop is, as the governor of the background is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { watchLateness } from '../../services/platform/loop-lateness.ts';

/** Nothing else of this process runs meanwhile. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('a loop whose turns are long is late, and is told of once', async () => {
  const lateMs = watchLateness();
  assert.equal(lateMs(), 0, 'nothing was seen yet');
  for (let turn = 0; turn < 6; turn++) {
    block(60);
    await sleep(1);
  }
  const blocked = lateMs();
  assert.ok(blocked >= 40, `${blocked} ms late with turns of 60 ms`);
  await sleep(5);
  assert.ok(lateMs() < blocked, 'of what was before it says nothing more');
});
