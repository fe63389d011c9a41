/**
 * What the claimant remembers of changes of the ring, over restarts and elections: which one is under way, and how those
 * before it ended. Whoever waits for a change asks for it by its id, perhaps when it has been over for a while.
 *
 * I1 An id is under way, or has ended, or is not known (any more); never two of these. Rolled back before it has issued
 *    anything a change can be planned once more under the same id, and is then under way.
 * I2 It is kept as one value: no crash comes between the end of a change and the memory of it.
 */
import { type Goal, rolledBackId } from './rebalance.ts';

/** REPLACED: another change has taken it in, and goes on from wherever it had come to. */
export type ChangeEndName = 'DONE' | 'ROLLED_BACK' | 'REPLACED';

export interface EndedChange {
  /** Of its plan. */
  readonly id: string;
  readonly end: ChangeEndName;
  /** Of REPLACED: the id of the one that has taken it in. */
  readonly by?: string;
}

export interface Course {
  /** Undefined: the ring is to stay as it is. */
  readonly goal: Goal | undefined;
  /** The newest last. */
  readonly ended: readonly EndedChange[];
}

export const noCourse: Course = { goal: undefined, ended: [] };

/** Who waits for a change looks twice a second; who comes back to one tomorrow finds it too. 40 bytes each. */
export const ENDED_KEPT = 32;

/** An operator has given the ring this goal: another one, or the same, paused or resumed. */
export function turned({ goal: before, ended }: Course, goal: Goal): Course {
  const isSame = before?.id === goal.id;
  const isBack = before !== undefined && goal.id === rolledBackId(before.id);
  const after = isSame
    ? ended
    : withEnd(ended, before, isBack ? { end: 'ROLLED_BACK' } : { end: 'REPLACED', by: goal.id });
  return { goal, ended: after.filter(({ id }) => id !== goal.id) };
}

/** The ring has come to its goal; `isKnown` false: somewhere else, by a way that nobody here remembers. */
export function arrived({ goal, ended }: Course, isKnown: boolean): Course {
  return { goal: undefined, ended: isKnown ? withEnd(ended, goal, { end: 'DONE' }) : ended };
}

/** A goal that only gives up another one has no end of its own: that one was rolled back. */
function withEnd(
  ended: readonly EndedChange[],
  goal: Goal | undefined,
  end: Omit<EndedChange, 'id'>,
): readonly EndedChange[] {
  if (goal === undefined || ended.some(({ id }) => rolledBackId(id) === goal.id)) return ended;
  return [...ended.filter(({ id }) => id !== goal.id), { id: goal.id, ...end }].slice(-ENDED_KEPT);
}
