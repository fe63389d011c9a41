/** Connections break though both ends and the network are well. */
import { every, type Fault } from './world.ts';

export const resets: Fault = (world) => {
  const random = world.random('resets');
  const nodes = world.nodes.map(({ name }) => name);
  every(world, world.profile.resetEveryMs, random, () => {
    const to = random.pick(nodes);
    world.network.reset(random.pick([...nodes, ...world.clients].filter((name) => name !== to)), to);
  });
};
