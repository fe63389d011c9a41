/** The wall clock of one node jumps, forwards or backwards (P11). */
import { every, type Fault } from './world.ts';

export const clockJumps: Fault = (world) => {
  const random = world.random('clock jumps');
  const { wallSkewMs } = world.profile;
  every(world, world.profile.clockJumpEveryMs, random, () => {
    const node = random.pick(world.nodes);
    const before = node.wallSkewMs;
    node.wallSkewMs = random.between(-wallSkewMs, wallSkewMs);
    if (node.wallSkewMs < before) world.marks.add('a wall clock jumped backwards');
    world.history.note('clock jumps', node.name, `by ${Math.round(node.wallSkewMs - before)} ms`);
  });
};
