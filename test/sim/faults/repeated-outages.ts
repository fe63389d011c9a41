/**
 * All homes of one key go down together again and again, and are back each time long enough to get what was kept for
 * them: fallbacks then coordinate writes of a key whose record they have given up.
 */
import { type Fault, survivorsOf } from './world.ts';

export const repeatedOutages: Fault = (world) => {
  const random = world.random('repeated outages');
  const { scheduler, nodes } = world;
  const { repeatedOutageEveryMs: everyMs } = world.profile;
  const homes = random.pick([...world.homes().values()]);
  const strikeLater = () => scheduler.after(random.between(0.7 * everyMs, 1.3 * everyMs), strike);
  function strike(): void {
    if (world.healing()) return;
    for (const node of nodes.filter(({ name }) => homes.includes(name))) {
      if (node.state === 'down') continue;
      node.crash(survivorsOf(node, random));
      scheduler.after(random.between(20, 120), () => {
        if (node.state === 'down') node.start();
      });
    }
    strikeLater();
  }
  if (everyMs > 0) scheduler.after(random.between(0, 0.3 * everyMs), strike);
};
