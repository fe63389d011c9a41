/** A node is stopped for a while (SIGSTOP): its connections stay, and nothing is heard from it. */
import { every, type Fault } from './world.ts';

export const stoppedNodes: Fault = (world) => {
  const random = world.random('stopped nodes');
  every(world, world.profile.stoppedNodeEveryMs, random, () => {
    const { name } = random.pick(world.nodes);
    world.history.note('stopped for a while', name);
    const go = world.network.hold(name);
    world.scheduler.after(random.between(100, 3_500), () => {
      world.history.note('goes on', name);
      go();
    });
  });
};
