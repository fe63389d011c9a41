/** Bytes between two sides come late, in one direction or in both. */
import { drawSides, forEachPair } from './sides.ts';
import { durationMs, type Fault, seconds } from './world.ts';

export const slowLink: Fault = {
  kind: 'slow link',
  lane: 'network',
  async strike(world, random) {
    const { network, pause, note } = world;
    const sides = drawSides(world, random);
    const ms = durationMs(random);
    const delayMs = Math.ceil(random.between(20, 500));
    const isOneWay = random.chance(0.4);
    note(`${sides.text} are ${delayMs} ms apart${isOneWay ? ', one way,' : ''} for ${seconds(ms)}`);
    const heal = forEachPair(sides, (a, b) => {
      const there = network.delay(a, b, delayMs);
      const back = isOneWay ? () => {} : network.delay(b, a, delayMs);
      return () => {
        there();
        back();
      };
    });
    await pause(ms);
    heal();
  },
};
