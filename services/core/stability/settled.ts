/**
 * What records cover that nobody needs any more, and what is left of one once that is stable: covered at all homes, and
 * nothing from before on its way to any of them (barrier.ts says when). Until then all of it is needed, to keep away what
 * it covers.
 *
 * I1 What readers see stays: a record goes only where it shows nothing, and no entry goes that a living sibling is in.
 * I2 The entry of a node's own birth stays as long as its record does (core/versioning/birth.ts). With the record goes the
 *    birth.
 */
import { type CausalContext, type ContextEntry, contains, includes } from '../versioning/causal-context.ts';
import { clockEntriesMax, emptyRecord, type KeyRecord, visibleSiblings } from '../versioning/record.ts';

/**
 * Entries that may be left in a clock besides those of living siblings: half of what a put begins to cut at, so that it
 * finds nothing to cut. Each home's own birth is among them.
 */
export const spareEntriesMax = clockEntriesMax / 2;

/** What could go of it, if that were stable; empty: nothing, or too little to be worth it. */
export function spare(record: KeyRecord, wallNowMs: number): CausalContext {
  if (isDead(record, wallNowMs)) return record.clock;
  const entries = record.clock.filter((entry) => !isLiving(record, entry));
  return entries.length <= spareEntriesMax ? [] : entries;
}

/** What of these dots all the records cover, entry by entry. */
export function coveredByAll(dots: CausalContext, records: readonly KeyRecord[], wallNowMs: number): CausalContext {
  return dots.filter((entry) => records.every((record) => covers(record, [entry], wallNowMs)));
}

/** The record has seen all of these dots, and readers see none of them. */
export function covers(record: KeyRecord, dots: CausalContext, wallNowMs: number): boolean {
  if (!includes(record.clock, dots)) return false;
  return isDead(record, wallNowMs) || !record.siblings.some(({ dot }) => contains(dots, dot));
}

/** `stable`: these dots. `birth`: of the node whose record it is. Undefined: nothing of it can go. */
export function settled(
  record: KeyRecord,
  stable: CausalContext,
  birth: bigint | undefined,
  wallNowMs: number,
): KeyRecord | undefined {
  if (record.clock.length === 0) return undefined;
  if (isDead(record, wallNowMs)) {
    if (includes(stable, record.clock)) return withoutDead(record);
    // For so few entries it stays as it is, at all homes, so that they come to hold the same: each would go on keeping its
    // own birth, and bring it to the others.
    if (stable.length <= spareEntriesMax) return undefined;
  }
  const clock = record.clock.filter(
    (entry) => entry.actor === birth || isLiving(record, entry) || !includes(stable, [entry]),
  );
  return clock.length === record.clock.length ? undefined : { ...record, clock };
}

/**
 * Siblings that nobody sees leave a tombstone, which goes the next time. Where they went with their record at once, one home
 * after the other, a write that a slow clock makes at the first of them would be older than what a delete has left at the
 * second, and lose to it.
 */
function withoutDead({ clock, siblings }: KeyRecord): KeyRecord {
  return siblings.length === 0 ? emptyRecord : { clock, siblings: [] };
}

/** A tombstone; or all of it has expired, or is what deletes have left where the last writer wins. */
function isDead(record: KeyRecord, wallNowMs: number): boolean {
  return visibleSiblings(record, wallNowMs).length === 0;
}

function isLiving({ siblings }: KeyRecord, { actor }: ContextEntry): boolean {
  return siblings.some(({ dot }) => dot.actor === actor);
}
