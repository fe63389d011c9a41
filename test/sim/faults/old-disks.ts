/**
 * A node is away, is taken for lost, once in a run, and another one takes its place. Then it comes back, with the disk that
 * it had: what was deleted since, and let go, must stay gone. Nobody promised more of what only that disk had.
 *
 * Often it was not down at all: it was stopped, or nothing got through to it. Then it comes back with all that was in its memory
 * as well, and what it had on its way when it was stopped arrives by then.
 */
import { claimantName, isIn } from '../claimant.ts';
import type { SimulatedNode } from '../node.ts';
import { replace } from './replacement.ts';
import { every, type Fault, survivorsOf, type World } from './world.ts';

/** Half of them come back some time after they have left; the others when all else is over, and much was let go. */
const awayMs = { max: 2_500, afterwards: 1_500 };
const lookEveryMs = 50;

export const oldDisks: Fault = (world) => {
  const random = world.random('old disks');
  const apart = world.random('old disks of nodes that run');
  const { claimant, nodes, profile, history, scheduler } = world;
  let isOver = false;
  every(world, profile.oldDiskEveryMs, random, () => {
    const lost = random.pick(nodes.filter(({ name }) => isIn(claimant.ring, name)));
    const empty = isOver ? undefined : replace(world, lost);
    if (empty === undefined) return;
    isOver = true;
    history.note('goes away', lost.name, `${empty.name} takes its place`);
    const survivors = survivorsOf(lost, random);
    const isCut = lost.state === 'up' && apart.chance(0.5);
    if (isCut) lost.cutOff(apart.chance(0.5) ? world.network.hold(lost.name) : cutFromAll(world, lost));
    else lost.goAway(survivors);
    if (empty.state === 'down') empty.start();
    const lookIn = (ms: number) => {
      scheduler.after(lookEveryMs, () => {
        if (ms > 0 && isIn(claimant.ring, lost.name)) lookIn(ms - lookEveryMs);
        else scheduler.after(random.between(0, awayMs.afterwards), () => lost.comeBack());
      });
    };
    // One that runs would keep the end of a run from coming.
    if (random.chance(0.5) || isCut) lookIn(random.between(awayMs.max / 2, awayMs.max));
  });
};

function cutFromAll({ network, nodes, clients }: World, { name }: SimulatedNode): () => void {
  const others = [...nodes.map((node) => node.name), ...clients, claimantName].filter((other) => other !== name);
  const heal = others.flatMap((other) => [network.block(name, other), network.block(other, name)]);
  return () => {
    for (const one of heal) one();
  };
}
