/** Bytes get through in one direction only. */
import { drawSides, forEachPair } from './sides.ts';
import { durationMs, type Fault, seconds } from './world.ts';

export const oneWayLoss: Fault = {
  kind: 'one-way loss',
  lane: 'network',
  async strike(world, random) {
    const { network, pause, note } = world;
    const drawn = drawSides(world, random);
    const sides = random.chance(0.5) ? drawn : { ...drawn, left: drawn.right, right: drawn.left };
    const ms = durationMs(random);
    const dies = random.chance(0.5);
    const way = `${sides.left.join(', ')} to ${sides.right.join(', ')}`;
    note(`nothing gets from ${way} for ${seconds(ms)}${dies ? ', then the connections die' : ''}`);
    const heal = forEachPair(sides, (from, to) => {
      const release = network.hold(from, to);
      return () => {
        if (dies) network.reset(from, to);
        release();
      };
    });
    await pause(ms);
    heal();
  },
};
