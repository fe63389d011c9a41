/**
 * Nothing gets through between some endpoints and others, in both directions or in one, for a while. Between one
 * pair it lasts longest: then others can reach a node that a coordinator takes for gone.
 */
import { every, type Fault } from './world.ts';

export const partitions: Fault = (world) => {
  const { network, nodes, clients, scheduler, history } = world;
  const random = world.random('partitions');
  const names = nodes.map(({ name }) => name);

  /** One node from the others, some endpoints from the rest, or one pair. */
  function sides(): readonly [readonly string[], readonly string[], number] {
    const dice = random.fraction();
    if (dice < 0.4) {
      const one = random.pick(names);
      return [[one], [...names, ...clients].filter((name) => name !== one), 900];
    }
    if (dice < 0.7) {
      const all = random.shuffled([...names, ...clients]);
      const cut = 1 + random.below(all.length - 1);
      return [all.slice(0, cut), all.slice(cut), 900];
    }
    const [a, b] = random.shuffled(names);
    return [[a as string], [b as string], 4_000];
  }

  every(world, world.profile.partitionEveryMs, random, () => {
    const [left, right, msMax] = sides();
    const oneWay = random.chance(0.4);
    const unblock: (() => void)[] = [];
    for (const a of left) {
      for (const b of right) {
        unblock.push(network.block(a, b));
        if (!oneWay) unblock.push(network.block(b, a));
      }
    }
    history.note(oneWay ? 'cut off, one way' : 'cut off', left.join(' '), `from ${right.join(' ')}`);
    scheduler.after(random.between(20, msMax), () => {
      history.note('reachable again', left.join(' '));
      for (const heal of unblock) heal();
    });
  });
};
