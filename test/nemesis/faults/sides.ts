/** Who is cut off from whom. */
import type { SeededRandom } from '../../sim/random.ts';
import type { Place } from '../network.ts';
import type { World } from './world.ts';

export interface Sides {
  readonly left: readonly Place[];
  readonly right: readonly Place[];
  readonly text: string;
}

/** One node from all others, some places from the rest, or one pair. */
export function drawSides({ cluster, places }: World, random: SeededRandom): Sides {
  const nodes = cluster.nodes.map(({ name }) => name);
  const dice = random.fraction();
  if (dice < 0.4) {
    const one = random.pick(nodes);
    return { left: [one], right: places.filter((place) => place !== one), text: `${one} and all others` };
  }
  if (dice < 0.7) {
    const all = random.shuffled(places);
    const count = 1 + random.below(all.length - 1);
    const left = all.slice(0, count);
    const right = all.slice(count);
    return { left, right, text: `${left.join(', ')} and ${right.join(', ')}` };
  }
  const [a = '', b = ''] = random.shuffled(nodes);
  return { left: [a], right: [b], text: `${a} and ${b}` };
}

/** Does it to each pair; the function returned undoes all. */
export function forEachPair({ left, right }: Sides, act: (from: Place, to: Place) => () => void): () => void {
  const undo = left.flatMap((from) => right.map((to) => act(from, to)));
  return () => {
    for (const each of undo) each();
  };
}
