/** What the claimant remembers as the bytes of a file: one JSON object with a format version. */
import { type Course, type EndedChange, noCourse } from '../core/membership/course.ts';
import type { Goal } from '../core/membership/rebalance.ts';

/** `ended` came later: a build that does not know it leaves it out, and one that does not find it has none. */
const FORMAT_VERSION = 1;

export function encodeCourse({ goal, ended }: Course): Uint8Array {
  const kept = goal && { ...goal, owners: [...goal.owners], withdrawn: [...goal.withdrawn] };
  return Buffer.from(JSON.stringify({ version: FORMAT_VERSION, goal: kept, ended }));
}

/** Undefined bytes are none. Throws an Error where they are of another version. */
export function decodeCourse(bytes: Uint8Array | undefined): Course {
  if (bytes === undefined) return noCourse;
  const { version, goal, ended = [] } = JSON.parse(Buffer.from(bytes).toString()) as KeptCourse;
  if (version !== FORMAT_VERSION) {
    throw new Error(`the goal of the ring is kept in format ${version}, and this build knows ${FORMAT_VERSION}`);
  }
  return {
    goal: goal && { ...goal, owners: Uint16Array.from(goal.owners), withdrawn: new Map(goal.withdrawn) },
    ended,
  };
}

interface KeptCourse {
  readonly version: unknown;
  readonly goal?: KeptGoal;
  readonly ended?: readonly EndedChange[];
}

type KeptGoal = Omit<Goal, 'owners' | 'withdrawn'> & {
  readonly owners: readonly number[];
  readonly withdrawn: readonly (readonly [number, readonly number[]])[];
};
