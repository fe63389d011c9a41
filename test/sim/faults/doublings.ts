/** The partitions double; often the claimant or some nodes die at that moment, before or after they have heard of it. */
import { every, type Fault, startLater, survivorsOf } from './world.ts';

/** Until about then all nodes that can be reached have heard of it. */
const heardWithinMs = 250;

export const doublings: Fault = (world) => {
  const random = world.random('doublings');
  const { claimant, nodes, profile, scheduler } = world;
  const { everyMs, nodeCrashes, claimantCrashes } = profile.doublings;
  every(world, everyMs, random, () => {
    claimant.double();
    if (random.chance(claimantCrashes)) scheduler.after(random.between(0, heardWithinMs), () => claimant.crash());
  });
  claimant.onDoubled(() => {
    if (world.healing()) return;
    if (random.chance(claimantCrashes)) claimant.crash();
    for (const node of nodes) {
      if (!random.chance(nodeCrashes)) continue;
      scheduler.after(random.between(0, heardWithinMs), () => {
        if (world.healing() || node.state === 'down') return;
        node.crash(survivorsOf(node, random));
        startLater(world, node, random);
      });
    }
  });
};
