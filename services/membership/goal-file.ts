/** A goal as the bytes of a file: one JSON object with a format version. Without a goal an empty object. */
import type { Goal } from '../core/membership/rebalance.ts';

const FORMAT_VERSION = 1;

export function encodeGoal(goal: Goal | undefined): Uint8Array {
  const kept = goal && { ...goal, owners: [...goal.owners], withdrawn: [...goal.withdrawn] };
  return Buffer.from(JSON.stringify({ version: FORMAT_VERSION, goal: kept }));
}

/** Undefined bytes are no goal. Throws an Error where they are of another version, or no goal. */
export function decodeGoal(bytes: Uint8Array | undefined): Goal | undefined {
  if (bytes === undefined) return undefined;
  const { version, goal } = JSON.parse(Buffer.from(bytes).toString()) as { version: unknown; goal?: KeptGoal };
  if (version !== FORMAT_VERSION) {
    throw new Error(`the goal of the ring is kept in format ${version}, and this build knows ${FORMAT_VERSION}`);
  }
  return goal && { ...goal, owners: Uint16Array.from(goal.owners), withdrawn: new Map(goal.withdrawn) };
}

type KeptGoal = Omit<Goal, 'owners' | 'withdrawn'> & {
  readonly owners: readonly number[];
  readonly withdrawn: readonly (readonly [number, readonly number[]])[];
};
