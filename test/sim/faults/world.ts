/** What the faults may touch. Each fault is one file that makes one kind of trouble, as often as asked for. */
import type { SimulatedClaimant } from '../claimant.ts';
import type { History } from '../history.ts';
import type { Marks } from '../marks.ts';
import type { Network } from '../network.ts';
import type { SimulatedNode } from '../node.ts';
import type { Profile } from '../profile.ts';
import type { SeededRandom } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';

export interface World {
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly nodes: readonly SimulatedNode[];
  readonly claimant: SimulatedClaimant;
  /** Of each key, the names of its homes now. */
  homes(): ReadonlyMap<string, readonly string[]>;
  /** Names of all clients. */
  readonly clients: readonly string[];
  readonly marks: Marks;
  readonly history: History;
  /** The node's copy of the key is not whole any more; another home has all that was in it, or nobody may have. */
  damaged(node: SimulatedNode, key: string, elsewhere: boolean): void;
  /** It is gone from the disk of the node. */
  recordLost(node: SimulatedNode, key: string): void;
  random(name: string): SeededRandom;
  /** Faults are over: nothing may break any more. */
  healing(): boolean;
}

export type Fault = (world: World) => void;

/** Calls `strike` every `meanMs` or so, until the faults are over; never where `meanMs` is 0. */
export function every(world: World, meanMs: number, random: SeededRandom, strike: () => void): void {
  if (meanMs === 0) return;
  world.scheduler.after(random.around(meanMs), () => {
    if (world.healing()) return;
    strike();
    every(world, meanMs, random, strike);
  });
}

/** Starts the node again after a while, unless something else has by then. */
export function startLater({ scheduler }: World, node: SimulatedNode, random: SeededRandom): void {
  const ms = random.chance(0.7) ? random.between(5, 120) : random.between(120, 900);
  scheduler.after(ms, () => {
    if (node.state === 'down') node.start();
  });
}

/** How many of the unsynced writes a crash leaves: often none. */
export function survivorsOf(node: SimulatedNode, random: SeededRandom): number {
  return random.chance(0.6) ? 0 : random.below(node.uncertainWrites + 1);
}
