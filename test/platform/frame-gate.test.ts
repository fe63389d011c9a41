import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createFrameGate,
  type FrameGateOptions,
  frameBytes,
  holdMs,
} from '../../services/platform/streams/frame-gate.ts';

interface Setup {
  readonly window?: number;
  readonly queueBytesMax?: number;
  readonly patient?: boolean;
}

/** A gate before a stream that keeps its frames, on turns that the test ends. */
function gateOf({ window = Number.POSITIVE_INFINITY, queueBytesMax = 10_000_000, patient = false }: Setup = {}) {
  const frames: number[][] = [];
  let turns: (() => void)[] = [];
  const holds = new Set<() => void>();
  const stream = { flowing: true };
  const options: FrameGateOptions<number> = {
    write(items) {
      frames.push(items);
      return stream.flowing;
    },
    endOfTurn: (run) => turns.push(run),
    after(ms, run) {
      assert.equal(ms, holdMs);
      holds.add(run);
      return () => holds.delete(run);
    },
    window,
    queueBytesMax,
    patient,
  };
  const gate = createFrameGate(options);
  function endTurn(): void {
    const due = turns;
    turns = [];
    for (const run of due) run();
  }
  /** So much time passes that nothing is held back any more. */
  function holdOver(): void {
    const due = [...holds];
    holds.clear();
    for (const run of due) run();
  }
  return { gate, frames, stream, endTurn, holdOver, turnsAsked: () => turns.length, held: () => holds.size };
}

test('what is pushed in one turn leaves in one frame at its end, and asks for the end once', () => {
  const { gate, frames, endTurn, turnsAsked } = gateOf();
  for (const item of [1, 2, 3]) assert.ok(gate.push(item, 10));
  assert.deepEqual(frames, []);
  assert.equal(turnsAsked(), 1);
  endTurn();
  assert.deepEqual(frames, [[1, 2, 3]]);
  assert.equal(gate.queueBytes, 0);
});

test('I1: items leave in the order they came, each exactly once, whatever the stream and the answers do', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('push' as const), bytes: fc.nat(40_000) }),
    fc.record({ kind: fc.constant('answered' as const), bytes: fc.nat(5) }),
    fc.record({ kind: fc.constantFrom('turn' as const, 'stop' as const, 'drain' as const), bytes: fc.constant(0) }),
  );
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 80 }),
      fc.constantFrom(1, 3, 8, Number.POSITIVE_INFINITY),
      fc.boolean(),
      (events, window, patient) => {
        const { gate, frames, stream, endTurn } = gateOf({ window, queueBytesMax: 300_000, patient });
        let taken = 0;
        let silent = patient;
        const sizes: number[] = [];
        for (const { kind, bytes } of events) {
          const before = frames.length;
          const unansweredBefore = gate.unanswered;
          const queuedBefore = gate.queueItems;
          if (kind === 'push' && gate.push(taken, bytes)) {
            sizes.push(bytes);
            taken++;
          }
          if (kind === 'answered') gate.answered(Math.min(bytes, Math.max(0, gate.unanswered)));
          if (kind === 'stop') stream.flowing = false;
          if (kind === 'drain') {
            stream.flowing = true;
            silent = false;
            gate.drained();
          }
          if (kind === 'turn') endTurn();
          const sent = frames.slice(before);
          if (silent) assert.deepEqual(sent, [], 'I2');
          if (sent.length > 0 && !stream.flowing) {
            assert.equal(sent.length, 1, 'I2: one frame, then silence');
            silent = true;
          }
          if (sent.length > 0) assert.ok(unansweredBefore < window || queuedBefore >= unansweredBefore, 'I3');
          assert.ok(gate.queueBytes <= 300_000, 'I4');
          const waiting = sizes.slice(taken - gate.queueItems).reduce((sum, size) => sum + size, 0);
          assert.equal(gate.queueBytes, waiting);
        }
        // With the stream open and everything answered nothing is left behind.
        stream.flowing = true;
        gate.drained();
        for (let i = 0; i < 200 && gate.queueItems > 0; i++) {
          endTurn();
          gate.answered(Math.max(0, gate.unanswered));
        }
        endTurn();
        assert.deepEqual(
          frames.flat(),
          Array.from({ length: taken }, (_, i) => i),
        );
      },
    ),
    { numRuns: 400 },
  );
});

test('a frame is closed before it grows beyond its size; an item larger than that goes alone', () => {
  const { gate, frames, endTurn } = gateOf();
  gate.push(1, frameBytes / 2);
  gate.push(2, frameBytes / 2);
  gate.push(3, 1);
  gate.push(4, 5 * frameBytes);
  gate.push(5, 1);
  endTurn();
  assert.deepEqual(frames, [[1, 2], [3], [4], [5]]);
});

test('I2: after a write that asked for patience nothing is sent until the stream has drained', () => {
  const { gate, frames, stream, endTurn } = gateOf();
  stream.flowing = false;
  gate.push(1, frameBytes);
  gate.push(2, 1);
  endTurn();
  assert.deepEqual(frames, [[1]]);
  gate.push(3, 1);
  endTurn();
  assert.deepEqual(frames, [[1]]);
  stream.flowing = true;
  gate.drained();
  endTurn();
  assert.deepEqual(frames, [[1], [2, 3]]);
});

test('what is pushed before the stream is there waits for the first drain, and none of it is lost', () => {
  const { gate, frames, endTurn } = gateOf({ patient: true });
  gate.push(1, 1);
  endTurn();
  gate.push(2, 1);
  gate.answered(0);
  endTurn();
  assert.deepEqual(frames, []);
  gate.drained();
  endTurn();
  assert.deepEqual(frames, [[1, 2]]);
});

test('I3: below the window nothing waits; beyond it a frame goes when as many wait as are out', () => {
  const { gate, frames, endTurn } = gateOf({ window: 2 });
  gate.push(1, 1);
  endTurn();
  gate.push(2, 1);
  endTurn();
  assert.deepEqual(frames, [[1], [2]]);
  gate.push(3, 1);
  endTurn();
  assert.deepEqual(frames, [[1], [2]], 'two are out, one waits');
  gate.push(4, 1);
  endTurn();
  assert.deepEqual(frames, [[1], [2], [3, 4]], 'as many wait as are out');
  gate.push(5, 1);
  endTurn();
  gate.answered(3);
  endTurn();
  assert.deepEqual(frames, [[1], [2], [3, 4], [5]]);
  assert.equal(gate.unanswered, 2);
});

test('I3: what is held back goes out after a while, however long the answers take', () => {
  const { gate, frames, endTurn, holdOver, held } = gateOf({ window: 2 });
  for (const item of [1, 2]) gate.push(item, 1);
  endTurn();
  assert.equal(held(), 0, 'nothing is held back yet');
  gate.push(3, 1);
  endTurn();
  assert.deepEqual(frames, [[1, 2]]);
  holdOver();
  gate.push(4, 1);
  endTurn();
  gate.push(5, frameBytes);
  endTurn();
  assert.deepEqual([frames, held()], [[[1, 2], [3]], 1]);
  holdOver();
  assert.deepEqual(frames, [[1, 2], [3], [4], [5]]);
  assert.equal(held(), 0);
});

test('I2: what is held back waits for a stream that asks for patience, and goes with a gate that is closed', () => {
  const { gate, frames, stream, endTurn, holdOver, held } = gateOf({ window: 1 });
  gate.push(1, 1);
  endTurn();
  gate.push(2, frameBytes);
  gate.push(3, frameBytes);
  gate.push(4, frameBytes);
  gate.answered(1);
  gate.push(5, frameBytes);
  stream.flowing = false;
  endTurn();
  assert.deepEqual(frames, [[1], [2]]);
  holdOver();
  assert.deepEqual(frames, [[1], [2]]);
  stream.flowing = true;
  gate.drained();
  endTurn();
  gate.push(6, 1);
  endTurn();
  gate.close();
  assert.equal(held(), 0);
  assert.deepEqual(frames.flat().includes(6), false);
});

test('an answer of nothing changes nothing', () => {
  const { gate, frames, endTurn } = gateOf({ window: 1 });
  gate.push(1, 1);
  endTurn();
  gate.answered(0);
  assert.equal(gate.unanswered, 1);
  gate.push(2, 1);
  gate.answered(0);
  endTurn();
  assert.deepEqual(frames, [[1], [2]]);
});

test('I4: a full queue refuses and says so, and takes again when it has room', () => {
  const { gate, frames, stream, endTurn } = gateOf({ queueBytesMax: 100 });
  stream.flowing = false;
  assert.equal(gate.push(1, 60), true);
  assert.equal(gate.push(2, 41), false);
  assert.equal(gate.push(3, 40), true);
  assert.equal(gate.queueBytes, 100);
  endTurn();
  assert.deepEqual(frames, [[1, 3]]);
  assert.equal(gate.push(4, 100), true);
});

test('a closed gate takes and sends nothing, not even what it had been asked to send', () => {
  const { gate, frames, endTurn } = gateOf();
  gate.push(1, 1);
  gate.close();
  endTurn();
  gate.drained();
  gate.answered(1);
  endTurn();
  assert.deepEqual(frames, []);
  assert.equal(gate.push(2, 1), false);
  assert.equal(gate.queueBytes, 0);
});
