import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDeadlines } from '../../services/core/deadlines.ts';
import { gatherQuorum } from '../../services/storage-node/quorum.ts';
import { createManualClock } from '../core/manual-clock.ts';

const never = { deadline: 1_000, deadlines: createDeadlines(createManualClock()) };

test('where those that answered are not enough, one that is asked meanwhile counts', async () => {
  const late = Promise.withResolvers<string>();
  const quorum = gatherQuorum<string>({
    ...never,
    needed: 1,
    asked: [['a', Promise.resolve('one')]],
    satisfied(answers) {
      if (answers.length === 1) quorum.ask('b', late.promise);
      return answers.length === 2;
    },
  });
  await Promise.resolve();
  assert.deepEqual([quorum.tally.verdict, quorum.tally.outstanding], ['open', 1]);
  late.resolve('another');
  assert.equal(await quorum.outcome, 'enough');
  assert.deepEqual(
    quorum.answers.map(({ nodeId }) => nodeId),
    ['a', 'b'],
  );
});

test('it has fields and no accessors, each of which would keep an operation alive until the next full collection', () => {
  const quorum = gatherQuorum({ ...never, needed: 1, asked: [['a', Promise.resolve()]] });
  const accessors = Object.entries(Object.getOwnPropertyDescriptors(quorum)).filter(([, { get }]) => get !== undefined);
  assert.deepEqual(accessors, []);
});
