/** The disk of one node refuses every write from now on (EIO); the node must stop, and gets a disk that works. */
import { every, type Fault } from './world.ts';

export const diskFailures: Fault = (world) => {
  const random = world.random('disk failures');
  every(world, world.profile.diskFailureEveryMs, random, () => random.pick(world.nodes).failDisk());
};
