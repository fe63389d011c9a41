/**
 * Eras: what separates what a node knew before a barrier from what it came to know after it.
 *
 * A node is in one era at a time, and never goes back: it goes over to any later one that it hears of. A record travels
 * with the era in which its sender came to know it, and no node takes one from an era before its own. So once all nodes
 * have gone over to an era, nothing that anybody knew before that comes to be stored anywhere again: whatever is still
 * under way, in a queue, or in the memory of a process that was stopped.
 *
 * One number: `count · 2^16 + node`, where `node` is the index in the ring of the node that began the era.
 *
 * I1 No two barriers have one era: its number names who began it, and a node makes the era its own, on its disk, before
 *    it tells anybody, so it never begins it twice.
 */
import { NODES_MAX } from '../ring/ring.ts';

/** Before the first barrier. */
export const firstEra = 0;
const nodes = NODES_MAX + 1;
const eraMax = 2 ** 52;

/** The one after all of these, begun by the node of this index. */
export function eraAfter(eras: Iterable<number>, node: number): number {
  const count = Math.max(0, ...[...eras].map((era) => Math.floor(era / nodes))) + 1;
  return count * nodes + node;
}

/** From the wire. Undefined where it is none that a node could have begun. */
export function eraOf(era: bigint): number | undefined {
  return era <= BigInt(eraMax) ? Number(era) : undefined;
}
