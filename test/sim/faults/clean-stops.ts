/** One node is stopped as by SIGTERM and started again; now and then somebody has been at its files meanwhile. */
import { every, type Fault, startLater } from './world.ts';

export const cleanStops: Fault = (world) => {
  const random = world.random('clean stops');
  every(world, world.profile.cleanStopEveryMs, random, () => {
    const node = random.pick(world.nodes);
    if (node.state !== 'up') return;
    const touched = random.chance(0.15);
    node.stop(() => {
      if (touched) node.touchDirectory();
      startLater(world, node, random);
    });
  });
};
