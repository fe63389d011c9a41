/** A node that has left the ring is taken away as soon as the ring says so, as Kubernetes does: with its disk. */
import { every, type Fault } from './world.ts';

export const departures: Fault = (world) => {
  const random = world.random('departures');
  const { claimant, nodes, profile, marks } = world;
  const gone = new Set<string>();
  every(world, profile.departureEveryMs, random, () => {
    for (const { id, status } of claimant.ring.nodes) {
      const node = nodes.find(({ name }) => name === id);
      if (status !== 'LEFT' || node === undefined || node.isGivenUp || gone.has(id)) continue;
      gone.add(id);
      marks.add('a node that had left was taken away');
      node.takeAway();
    }
  });
};
