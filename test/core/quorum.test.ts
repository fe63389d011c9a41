/** The arithmetic of quorums (core/quorum/tally.ts) and its shell (storage-node/quorum.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { createDeadlines } from '../../services/core/deadlines.ts';
import {
  majority,
  openTally,
  type Tally,
  withAnother,
  withAnswer,
  withFailure,
} from '../../services/core/quorum/tally.ts';
import { gatherQuorum } from '../../services/storage-node/quorum.ts';
import { createManualClock } from './manual-clock.ts';

test('majorities of the same replicas always meet, and no fewer would', () => {
  for (let n = 1; n <= 16; n++) {
    assert.ok(2 * majority(n) > n);
    assert.ok(2 * (majority(n) - 1) <= n);
  }
});

test('a tally is enough at the answers needed, impossible when they cannot come any more, and open before', () => {
  const events = fc.array(fc.constantFrom('answer', 'failure', 'another'), { maxLength: 20 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(6), events, (needed, asked, list) => {
      let tally = openTally(needed, asked);
      let settled: Tally['verdict'] = 'open';
      const check = () => {
        if (settled === 'open') {
          if (tally.answered >= needed) settled = 'enough';
          else if (tally.answered + tally.outstanding < needed) settled = 'impossible';
        }
        assert.equal(tally.verdict, settled);
      };
      check();
      let total = asked;
      for (const event of list) {
        if (event === 'another') {
          // A caller that replaces a failed replica announces the other one first.
          if (settled !== 'open') continue;
          tally = withAnother(tally);
          total++;
        } else if (tally.outstanding > 0) {
          tally = event === 'answer' ? withAnswer(tally) : withFailure(tally);
        }
        check();
        assert.equal(tally.answered + tally.failed + tally.outstanding, total);
      }
    }),
  );
});

function gather(
  needed: number,
  count: number,
  onFailure?: (nodeId: string) => readonly [string, Promise<string>] | undefined,
) {
  const clock = createManualClock();
  const replicas = Array.from({ length: count }, () => Promise.withResolvers<string>());
  const quorum = gatherQuorum({
    needed,
    deadline: 1_000,
    deadlines: createDeadlines(clock),
    asked: replicas.map(({ promise }, i) => [`n${i}`, promise] as const),
    ...(onFailure && { onFailure }),
  });
  return { clock, replicas, quorum };
}

test('a quorum answers at the answers needed, and keeps those that come later', async () => {
  const { replicas, quorum } = gather(2, 3);
  replicas[2]?.resolve('c');
  replicas[0]?.resolve('a');
  assert.equal(await quorum.outcome, 'enough');
  assert.deepEqual(quorum.answers, [
    { nodeId: 'n2', value: 'c' },
    { nodeId: 'n0', value: 'a' },
  ]);
  replicas[1]?.resolve('b');
  await nextTurn();
  assert.equal(quorum.answers.length, 3);
});

test('a quorum is impossible as soon as too many have failed', async () => {
  const { replicas, quorum } = gather(2, 3);
  replicas[0]?.reject(new Error('gone'));
  replicas[1]?.reject(new Error('gone'));
  assert.equal(await quorum.outcome, 'impossible');
  assert.equal(quorum.tally.failed, 2);
});

test('a quorum of nobody is impossible at once', async () => {
  assert.equal(await gather(1, 0).quorum.outcome, 'impossible');
});

test('a replica that failed is replaced by the one that onFailure names, and the last failure still counts', async () => {
  const spare = Promise.withResolvers<string>();
  const failed: string[] = [];
  const { replicas, quorum } = gather(2, 2, (nodeId) => {
    failed.push(nodeId);
    return failed.length === 1 ? ['spare', spare.promise] : undefined;
  });
  replicas[0]?.reject(new Error('gone'));
  await nextTurn();
  assert.equal(quorum.tally.verdict, 'open');
  replicas[1]?.resolve('b');
  spare.reject(new Error('gone too'));
  assert.equal(await quorum.outcome, 'impossible');
  assert.deepEqual(failed, ['n0', 'spare']);
});

test('a replica asked in between counts like the others', async () => {
  const { quorum } = gather(1, 1);
  quorum.ask('more', Promise.resolve('m'));
  assert.equal(await quorum.outcome, 'enough');
  assert.deepEqual(quorum.answers, [{ nodeId: 'more', value: 'm' }]);
});

test('a quorum is late at its deadline, and stays so whatever comes then', async () => {
  const { clock, replicas, quorum } = gather(2, 3);
  replicas[0]?.resolve('a');
  await nextTurn();
  clock.advance(1_100);
  assert.equal(await quorum.outcome, 'late');
  replicas[1]?.resolve('b');
  await nextTurn();
  assert.equal(await quorum.outcome, 'late');
  assert.equal(quorum.answers.length, 2);
});
