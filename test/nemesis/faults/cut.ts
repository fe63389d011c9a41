/** Nothing gets through between two sides: it is lost, or refused. */
import { drawSides, forEachPair } from './sides.ts';
import { durationMs, type Fault, seconds } from './world.ts';

export const cut: Fault = {
  kind: 'network cut',
  lane: 'network',
  async strike(world, random) {
    const { network, pause, note } = world;
    const sides = drawSides(world, random);
    const ms = durationMs(random);
    const isRefused = random.chance(0.3);
    const dies = random.chance(0.5);
    note(`${sides.text} are cut off from each other for ${seconds(ms)}${isRefused ? ', by resets' : ''}`);
    const heal = forEachPair(sides, (a, b) => {
      if (isRefused) return network.refuse(a, b);
      const there = network.hold(a, b);
      const back = network.hold(b, a);
      return () => {
        // Lost for so long that the connection has died; else what was lost is sent again.
        if (dies) network.reset(a, b);
        there();
        back();
      };
    });
    await pause(ms);
    heal();
  },
};
