/** All nodes die in one moment (P1). */
import { every, type Fault, startLater, survivorsOf } from './world.ts';

export const powerLoss: Fault = (world) => {
  const random = world.random('power loss');
  every(world, world.profile.powerLossEveryMs, random, () => {
    world.marks.add('all nodes lost their power at once');
    for (const node of world.nodes) {
      if (node.state === 'down') continue;
      node.crash(survivorsOf(node, random));
      startLater(world, node, random);
    }
  });
};
