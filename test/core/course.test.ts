/** What the claimant remembers of changes, one after the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrived, type Course, ENDED_KEPT, noCourse, turned } from '../../services/core/membership/course.ts';
import { type Goal, rolledBackId } from '../../services/core/membership/rebalance.ts';
import { decodeCourse, encodeCourse } from '../../services/membership/course-file.ts';

function goalOf(id: string, changes: Partial<Goal> = {}): Goal {
  return {
    ...{ id, owners: new Uint16Array(), joining: [], leaving: [], down: [], withdrawn: new Map(), flipped: [] },
    ...{ paused: false, replicas: 0, bytes: 0 },
    ...changes,
  };
}

const endsOf = ({ ended }: Course) => ended.map(({ id, end, by }) => [id, end, ...(by === undefined ? [] : [by])]);

test('a change that comes to its goal is done, paused and resumed or not', () => {
  const begun = turned(noCourse, goalOf('a'));
  const resumed = turned(turned(begun, goalOf('a', { paused: true })), goalOf('a'));
  assert.deepEqual(endsOf(resumed), []);
  assert.deepEqual(endsOf(arrived(resumed, true)), [['a', 'DONE']]);
  assert.equal(arrived(resumed, true).goal, undefined);
});

test('one that is rolled back is so from that moment on, however what gives it up ends', () => {
  const back = turned(turned(noCourse, goalOf('a')), goalOf(rolledBackId('a')));
  const twice = turned(back, goalOf(rolledBackId(rolledBackId('a'))));
  for (const course of [back, arrived(back, true), turned(back, goalOf('b')), twice])
    assert.deepEqual(endsOf(course), [['a', 'ROLLED_BACK']]);
});

test('one that another change takes in says which', () => {
  assert.deepEqual(endsOf(turned(turned(noCourse, goalOf('a')), goalOf('b'))), [['a', 'REPLACED', 'b']]);
});

test('of one that ended somewhere nobody knows nothing is said', () => {
  assert.deepEqual(arrived(turned(noCourse, goalOf('a')), false), noCourse);
});

test('one that was rolled back, and is committed again, is under way and nothing else', () => {
  const back = arrived(turned(turned(noCourse, goalOf('a')), goalOf(rolledBackId('a'))), true);
  const again = turned(back, goalOf('a'));
  assert.deepEqual([again.goal?.id, endsOf(again)], ['a', []]);
  assert.deepEqual(endsOf(arrived(again, true)).at(-1), ['a', 'DONE']);
});

test('the newest are remembered', () => {
  let course = noCourse;
  for (let i = 0; i < ENDED_KEPT + 3; i++) course = arrived(turned(course, goalOf(`c${i}`)), true);
  assert.equal(course.ended.length, ENDED_KEPT);
  assert.deepEqual(endsOf(course)[0], ['c3', 'DONE']);
});

test('it is the same from its bytes, and what a build from before has kept has no ends', () => {
  const course = turned(turned(noCourse, goalOf('a')), goalOf('b', { owners: Uint16Array.of(1, 2) }));
  assert.deepEqual(decodeCourse(encodeCourse(course)), course);
  const before = Buffer.from(JSON.stringify({ version: 1 }));
  assert.deepEqual(decodeCourse(before), noCourse);
  assert.deepEqual(decodeCourse(undefined), noCourse);
  assert.throws(() => decodeCourse(Buffer.from('{"version":2}')), /kept in format 2, and this build knows 1/);
});
