import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLanes, expectedBytesFirst, type Lane } from '../../services/platform/streams/lanes.ts';

const kib = 1024;

/** Operations of lanes whose end the test chooses. */
function operations() {
  const running: { readonly name: string; readonly lane: Lane; readonly cost: number }[] = [];
  const started: string[] = [];
  return {
    running,
    started,
    enter(lane: Lane, name: string, carriedBytes: number, isRead = false): void {
      lane.enter(carriedBytes, isRead, (cost) => {
        started.push(name);
        running.push({ name, lane, cost });
      });
    },
    end(at: number, answeredBytes?: number): void {
      const [ended] = running.splice(at, 1);
      assert.ok(ended);
      ended.lane.leave(ended.cost, answeredBytes);
    },
  };
}

test('I1, I2: whatever comes and goes, bounds hold, each lane keeps its order, and everything runs in the end', () => {
  const step = fc.record({ lane: fc.nat(3), bytes: fc.nat(120), isRead: fc.boolean(), end: fc.nat(1_000) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const limits = { laneBytes: 200 * kib, totalBytes: 400 * kib, runningMax: 5 };
      const lanes = createLanes(limits);
      const open = Array.from({ length: 4 }, () => lanes.open());
      const all = operations();
      const names: string[] = [];
      const check = () => {
        const total = all.running.reduce((sum, { cost }) => sum + cost, 0);
        assert.equal(lanes.bytes, total);
        assert.ok(total <= limits.totalBytes || all.running.length === 1, `${total} bytes in all`);
        for (const lane of open) {
          const own = all.running.filter((operation) => operation.lane === lane);
          const bytes = own.reduce((sum, { cost }) => sum + cost, 0);
          assert.ok(own.length <= limits.runningMax);
          assert.ok(bytes <= limits.laneBytes || own.length === 1, `${bytes} bytes in a lane`);
        }
      };
      for (const [i, { lane, bytes, isRead, end }] of steps.entries()) {
        names.push(`${lane}.${i}`);
        all.enter(open[lane] as Lane, `${lane}.${i}`, bytes * kib, isRead);
        check();
        if (all.running.length > 0 && end % 3 > 0) all.end(end % all.running.length, isRead ? bytes * kib : undefined);
        check();
      }
      while (all.running.length > 0) {
        all.end(0, 0);
        check();
      }
      for (let lane = 0; lane < 4; lane++) {
        const of = (list: readonly string[]) => list.filter((name) => name.startsWith(`${lane}.`));
        assert.deepEqual(of(all.started), of(names));
      }
      assert.equal(lanes.bytes, 0);
    }),
    { numRuns: 300 },
  );
});

test('I3: after one large answer few reads run at a time, after many small ones many', () => {
  const lanes = createLanes({ laneBytes: 16 * 1024 * kib, totalBytes: 256 * 1024 * kib, runningMax: 512 });
  const lane = lanes.open();
  const all = operations();
  for (let i = 0; i < 5_000; i++) all.enter(lane, `${i}`, 0, true);
  assert.equal(all.running.length, (16 * 1024 * kib) / expectedBytesFirst);
  all.end(0, 1024 * kib);
  while (all.running.length > 16) all.end(0, 1024 * kib);
  all.end(0, 1024 * kib);
  assert.equal(all.running.length, 16);
  for (let i = 0; i < 1_000; i++) all.end(0, 1 * kib);
  assert.equal(all.running.length, 512);
});

test('where all lanes together have no room they take turns, and a lane that asks for much does not hold up another', () => {
  const lanes = createLanes({ laneBytes: 100, totalBytes: 100, runningMax: 10 });
  const greedy = lanes.open();
  const modest = lanes.open();
  const all = operations();
  for (let i = 0; i < 50; i++) all.enter(greedy, 'greedy', 100);
  for (let i = 0; i < 3; i++) all.enter(modest, 'modest', 100);
  for (let i = 0; i < 10; i++) all.end(0);
  assert.equal(all.started.filter((name) => name === 'modest').length, 3);
});

test('a lane that is closed starts nothing any more', () => {
  const lanes = createLanes({ laneBytes: 100, totalBytes: 100, runningMax: 10 });
  const lane = lanes.open();
  const all = operations();
  for (let i = 0; i < 5; i++) all.enter(lane, `${i}`, 100);
  assert.equal(lane.waitingBytes, 400);
  lane.close();
  assert.equal(lane.waitingBytes, 0);
  all.end(0);
  assert.deepEqual(all.started, ['0']);
  assert.equal(lanes.bytes, 0);
});

test('a lane that is held starts nothing until it is released, and holds up no other', () => {
  const lanes = createLanes({ laneBytes: 100, totalBytes: 100, runningMax: 10 });
  const held = lanes.open();
  const other = lanes.open();
  const all = operations();
  held.hold();
  for (let i = 0; i < 2; i++) all.enter(held, 'held', 100);
  all.enter(other, 'other', 100);
  assert.deepEqual(all.started, ['other']);
  all.end(0);
  held.release();
  assert.deepEqual(all.started, ['other', 'held']);
  all.end(0);
  assert.deepEqual(all.started, ['other', 'held', 'held']);
});
