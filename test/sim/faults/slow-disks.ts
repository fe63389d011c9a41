/** The disk of one node stalls for a while. */
import { every, type Fault } from './world.ts';

export const slowDisks: Fault = (world) => {
  const random = world.random('slow disks');
  every(world, world.profile.slowDiskEveryMs, random, () => {
    const { diskTimes } = random.pick(world.nodes);
    diskTimes.slowness = random.between(5, 60);
    world.scheduler.after(random.between(50, 600), () => {
      diskTimes.slowness = 1;
    });
  });
};
