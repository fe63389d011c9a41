/** Whoever changes the ring thinks again: a change that is under way is paused for a while, or rolled back. */
import { every, type Fault } from './world.ts';

const pausedMs = { min: 20, max: 400 };

export const secondThoughts: Fault = (world) => {
  const random = world.random('second thoughts');
  const { claimant, profile, scheduler } = world;
  every(world, profile.secondThoughtEveryMs, random, () => {
    if (random.chance(0.5)) {
      claimant.rollBack();
      return;
    }
    claimant.pause(true);
    scheduler.after(random.between(pausedMs.min, pausedMs.max), () => claimant.pause(false));
  });
};
