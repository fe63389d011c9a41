/**
 * A bit of a record turns on the disk of one node, which may be up or down, and have the record whole in memory. Not
 * while another copy of it is damaged: one fault at a time has to be survived. Rather often of a copy that has what no
 * home has: that is lost then, and the dots in it must not be minted again.
 */
import { includes } from '../../../services/core/versioning/causal-context.ts';
import type { SimulatedNode } from '../node.ts';
import { every, type Fault, type World } from './world.ts';

const bitsMax = 1 << 20;

interface Copy {
  readonly node: SimulatedNode;
  readonly key: string;
  readonly atHome: boolean;
  /** Another home has all that is in it. */
  readonly elsewhere: boolean;
}

export const bitFlips: Fault = (world) => {
  const random = world.random('bit flips');
  every(world, world.profile.bitFlipEveryMs, random, () => {
    const copies = [...world.homes()].flatMap(([key, homes]) => copiesOf(world, key, homes));
    const alone = copies.filter(({ elsewhere }) => !elsewhere);
    const from = alone.length > 0 && random.chance(0.4) ? alone : copies;
    const bit = random.below(bitsMax);
    if (from.length === 0) return;
    const { node, key, atHome, elsewhere } = random.pick(from);
    world.history.note('a bit turns', node.name, `in ${key}`);
    node.flipBit(key, bit);
    if (node.onDisk(key) !== 'damaged') return;
    world.marks.add(atHome ? 'a record was damaged' : 'a record that was owed to a home was damaged');
    world.damaged(node, key, elsewhere);
  });
};

export function copiesOf({ nodes }: World, key: string, homes: readonly string[]): readonly Copy[] {
  const all = nodes.map((node) => ({ node, atHome: homes.includes(node.name), held: node.onDisk(key) }));
  return all.flatMap(({ node, atHome, held }) => {
    if (held === undefined || held === 'damaged') return [];
    const others = all.filter((other) => other.node !== node);
    if (others.some((other) => other.held === 'damaged')) return [];
    const elsewhere = others.some((other) => {
      return other.atHome && typeof other.held === 'object' && includes(other.held.clock, held.clock);
    });
    return [{ node, key, atHome, elsewhere }];
  });
}
