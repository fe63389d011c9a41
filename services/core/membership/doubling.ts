/**
 * From an operator's wish for twice as many partitions to a goal (rebalance.ts), and what it changes, as numbers to show.
 *
 * I1 It is a change of its own: begun only while no other is under way, and while it is under way no other is planned.
 * I2 The same ring gives the same goal, its id too. A goal names how many partitions there are to be, so to carry it out
 *    twice is to carry it out once.
 */
import { Failure } from '../failure.ts';
import type { Hash64 } from '../ports.ts';
import { doubled } from '../ring/doubling.ts';
import { formatVersion, PARTITIONS_MAX, type Ring } from '../ring/ring.ts';
import { doubles, type Goal } from './rebalance.ts';

export interface PlannedDoubling {
  readonly goal: Goal;
  readonly before: Ring;
  readonly after: Ring;
}

const utf8 = new TextEncoder();

/** Throws Failure CHANGE_IMPOSSIBLE beyond PARTITIONS_MAX, and CHANGE_CONFLICT while something else is under way. */
export function planDoubling(ring: Ring, underWay: Goal | undefined, hash: Hash64): PlannedDoubling {
  if (ring.partitions >= PARTITIONS_MAX) {
    throw new Failure(
      'CHANGE_IMPOSSIBLE',
      `the ring has ${ring.partitions} partitions, and a ring has at most ${PARTITIONS_MAX}`,
    );
  }
  if (underWay !== undefined && !doubles(ring, underWay)) {
    throw conflict(`the change ${underWay.id} is under way: partitions are doubled when it has ended`);
  }
  if (ring.pending.size > 0) {
    throw conflict(
      `${ring.pending.size} partitions are on their way, and the goal is not known: plan that change again`,
    );
  }
  const after = doubled(ring);
  return {
    goal: {
      id: hash(utf8.encode(JSON.stringify([formatVersion(ring.version), 'partitions', after.partitions])))
        .toString(16)
        .padStart(16, '0'),
      ...{ owners: after.owners, joining: [], leaving: [], down: [], withdrawn: new Map(), flipped: [] },
      ...{ paused: false, replicas: 0, bytes: 0 },
    },
    before: ring,
    after,
  };
}

/** I1, for all other changes. */
export function refuseDuringDoubling(ring: Ring, underWay: Goal | undefined): void {
  if (underWay === undefined || !doubles(ring, underWay)) return;
  throw conflict(
    `the partitions are being doubled, from ${ring.partitions}: plan again when that has ended, or roll it back first`,
  );
}

function conflict(message: string): Failure {
  return new Failure('CHANGE_CONFLICT', message);
}
