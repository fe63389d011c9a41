/**
 * The birth rule: who may mint a dot.
 *
 * A birth is the actor under which a node mints dots for its own copy of one record. It is kept beside
 * the record on that node and never sent. Two copies, or one copy with two histories, never mint under
 * one birth, because a dot that names two writes makes one of them vanish in every merge (Riak's kv679).
 *
 * I1 A node mints under the birth kept with its record only while the engine's lineage is the one that
 *    the birth was made in: no crash, no restored or touched directory since. Else it makes a new one.
 *    A record that was dropped, handed off or moved away has taken its birth with it.
 * I2 The clock of the copy contains every dot ever minted under its birth: each is added in the same step
 *    that mints it, and `cut` keeps the entry. So the next counter is the clock's last one plus one.
 *    (A failed commit stops the process, and so ends the lineage.)
 */
import { type CausalContext, counterMax, type Dot, lastCounter } from './causal-context.ts';

export interface Birth {
  /** The node's when it was made: StorageEngine.lineage, once another process has confirmed that the disk is no old image. */
  readonly lineage: bigint;
  readonly actor: bigint;
}

export interface Minted {
  readonly dot: Dot;
  /** To be kept with the record. */
  readonly birth: Birth;
}

/** Mints the next dot for this node's copy of a record: `birth` and `clock` are what is kept of it. */
export function mint(birth: Birth | undefined, clock: CausalContext, lineage: bigint, newActor: () => bigint): Minted {
  if (birth !== undefined && birth.lineage === lineage) {
    const last = lastCounter(clock, birth.actor);
    // A forged context can push a counter up to the limit; such a birth has ended.
    if (last > 0 && last < counterMax) return { dot: { actor: birth.actor, counter: last + 1 }, birth };
  }
  const actor = newActor();
  return { dot: { actor, counter: 1 }, birth: { lineage, actor } };
}
