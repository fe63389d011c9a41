/**
 * All homes of a key, or some of them, go down together, come back one after the other, and some of those go down again soon: what was kept
 * for them is then being delivered.
 */
import { every, type Fault, survivorsOf } from './world.ts';

export const outages: Fault = (world) => {
  const random = world.random('outages');
  const { scheduler, nodes } = world;
  every(world, world.profile.outageEveryMs, random, () => {
    const homes = random
      .shuffled(random.pick([...world.homes().values()]))
      .slice(0, random.chance(0.7) ? undefined : 2);
    for (const node of nodes.filter(({ name }) => homes.includes(name))) {
      if (node.state === 'down') continue;
      node.crash(survivorsOf(node, random));
      scheduler.after(random.chance(0.4) ? random.between(20, 150) : random.between(200, 1_200), () => {
        if (node.state !== 'down') return;
        node.start();
        if (random.chance(0.6)) return;
        scheduler.after(random.between(5, 400), () => {
          if (node.state === 'down' || world.healing()) return;
          node.crash(survivorsOf(node, random));
          scheduler.after(random.between(50, 500), () => {
            if (node.state === 'down') node.start();
          });
        });
      });
    }
  });
};
