/** Everything to and from one node takes very long for a while: a full link, or a process that is paused. */
import { every, type Fault } from './world.ts';

export const slowNodes: Fault = (world) => {
  const random = world.random('slow nodes');
  every(world, world.profile.slowNodeEveryMs, random, () => {
    const heal = world.network.slow(random.pick(world.nodes).name, random.between(10, 80));
    world.scheduler.after(random.between(50, 600), heal);
  });
};
