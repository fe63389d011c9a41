/**
 * A node is away, is taken for lost, once in a run, and another one takes its place. Then it comes back, with the disk that
 * it had: what was deleted since, and let go, must stay gone. Nobody promised more of what only that disk had.
 */
import { isIn } from '../claimant.ts';
import { replace } from './replacement.ts';
import { every, type Fault, survivorsOf } from './world.ts';

/** Half of them come back some time after they have left; the others when all else is over, and much was let go. */
const awayMs = { max: 2_500, afterwards: 1_500 };
const lookEveryMs = 50;

export const oldDisks: Fault = (world) => {
  const random = world.random('old disks');
  const { claimant, nodes, profile, history, scheduler } = world;
  let isOver = false;
  every(world, profile.oldDiskEveryMs, random, () => {
    const lost = random.pick(nodes.filter(({ name }) => isIn(claimant.ring, name)));
    const empty = isOver ? undefined : replace(world, lost);
    if (empty === undefined) return;
    isOver = true;
    history.note('goes away', lost.name, `${empty.name} takes its place`);
    lost.goAway(survivorsOf(lost, random));
    if (empty.state === 'down') empty.start();
    const lookIn = (ms: number) => {
      scheduler.after(lookEveryMs, () => {
        if (ms > 0 && isIn(claimant.ring, lost.name)) lookIn(ms - lookEveryMs);
        else scheduler.after(random.between(0, awayMs.afterwards), () => lost.comeBack());
      });
    };
    if (random.chance(0.5)) lookIn(random.between(awayMs.max / 2, awayMs.max));
  });
};
