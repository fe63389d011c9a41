/** One node dies, mostly at a moment when its disk has writes that are not synced, or its memory what no disk has. */
import type { SimulatedNode } from '../node.ts';
import { every, type Fault, startLater, survivorsOf } from './world.ts';

/** How long to wait for such a moment. */
const stepMs = 0.5;
const stepsMax = 60;

export const crashes: Fault = (world) => {
  const random = world.random('crashes');

  function strike(node: SimulatedNode, steps: number): void {
    if (world.healing() || node.state === 'down') return;
    if (node.uncertainWrites === 0 && node.buffered === 0 && steps < stepsMax) {
      world.scheduler.after(stepMs, () => strike(node, steps + 1));
      return;
    }
    node.crash(survivorsOf(node, random));
    startLater(world, node, random);
  }

  every(world, world.profile.crashEveryMs, random, () => {
    strike(random.pick(world.nodes), random.chance(0.8) ? 0 : stepsMax);
  });
};
