/**
 * A node is away, and marked down, once in a run, so that nobody waits for it while the ring changes; then it comes back with
 * its disk, and is taken back. What only that disk had may be left behind (docs/ring-changes.md), all else must stay.
 */
import { nodeById } from '../../../services/core/ring/ring.ts';
import { every, type Fault, survivorsOf } from './world.ts';

const awayMs = { min: 200, max: 1_500 };
const askAgainMs = 300;
/** A ring with many doublings ahead of it refuses it for long. */
const attempts = 400;

export const markedDown: Fault = (world) => {
  const random = world.random('marked down');
  const { claimant, nodes, profile, marks, history, scheduler } = world;
  let isOver = false;
  every(world, profile.markedDownEveryMs, random, () => {
    // None is while all that are not DOWN come or go.
    const up = nodes.filter(({ name }) => nodeById(claimant.ring, name)?.status === 'UP');
    if (up.length === 0) return;
    const away = random.pick(up);
    if (isOver || !claimant.begin({ join: [], leave: [], down: [away.name] })) return;
    isOver = true;
    history.note('marked down', away.name);
    away.goAway(survivorsOf(away, random));
    scheduler.after(random.between(awayMs.min, awayMs.max), () => {
      away.comeBack();
      takeBack(attempts, false);
    });

    /** Until it is so: it is refused while partitions are to double, and may be rolled back. */
    function takeBack(left: number, isTaken: boolean): void {
      const node = nodeById(claimant.ring, away.name);
      if (node === undefined || node.status === 'LEFT' || left === 0 || (isTaken && node.status === 'UP')) return;
      const isAccepted = claimant.begin({ join: [node], leave: [], down: [] });
      if (isAccepted) marks.add('a node that was marked down was taken back');
      scheduler.after(askAgainMs, () => takeBack(left - 1, isTaken || isAccepted));
    }
  });
};
