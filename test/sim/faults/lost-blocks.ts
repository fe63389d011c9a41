/**
 * Files of a node are damaged, and it starts again with what of them can be read: some records are gone, and it knows that
 * some may be, not which. One node at a time.
 */
import { copiesOf } from './bit-flips.ts';
import { every, type Fault, startLater, survivorsOf } from './world.ts';

export const lostBlocks: Fault = (world) => {
  const random = world.random('lost blocks');
  const indexes = world.random('lost indexes');
  const { nodes, history, marks } = world;
  every(world, world.profile.lostBlockEveryMs, random, () => {
    if (nodes.some(({ isIncomplete }) => isIncomplete)) return;
    const node = random.pick(nodes);
    if (node.state !== 'down') {
      node.crash(survivorsOf(node, random));
      startLater(world, node, random);
    }
    const copies = [...world.homes()].flatMap(([key, homes]) =>
      copiesOf(world, key, homes).filter((copy) => copy.node === node),
    );
    const lost = copies.filter(() => random.chance(0.6));
    history.note('records lost', node.name, lost.map(({ key }) => key).join(' '));
    for (const { key, elsewhere } of lost) {
      world.damaged(node, key, elsewhere);
      world.recordLost(node, key);
    }
    node.loseRecords(
      lost.map(({ key }) => key),
      indexes.chance(0.3),
    );
    if (lost.length > 0) marks.add('damaged files lost records of a node');
  });
};
