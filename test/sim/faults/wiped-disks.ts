/**
 * The disk of a node is lost, once in a run, and another node takes its place: it is pulled from the owners that are left.
 * What only that disk had is gone, and nobody promised more; all else must stay.
 */
import { isIn } from '../claimant.ts';
import { replace } from './replacement.ts';
import { every, type Fault } from './world.ts';

export const wipedDisks: Fault = (world) => {
  const random = world.random('wiped disks');
  const { claimant, nodes, profile, marks, history } = world;
  let isOver = false;
  every(world, profile.wipedDiskEveryMs, random, () => {
    const lost = random.pick(nodes.filter(({ name }) => isIn(claimant.ring, name)));
    const empty = isOver ? undefined : replace(world, lost);
    if (empty === undefined) return;
    isOver = true;
    history.note('disk lost', lost.name, `${empty.name} takes its place`);
    marks.add('a disk was lost, and its node replaced');
    lost.loseDisk();
    if (empty.state === 'down') empty.start();
  });
};
