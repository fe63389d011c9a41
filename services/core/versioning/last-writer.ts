/**
 * Last writer wins: in a namespace that asks for it readers see one value of a key, the latest. Not built into `merge`:
 * that stays a join, in which concurrent writes are siblings as everywhere; readers choose, and the next write of the
 * key replaces them all.
 *
 * I1 A write replaces all that its coordinator holds, context or not, and is later than any of it: by the coordinator's
 *    wall clock, or by one millisecond where that clock is behind (a hybrid clock: Kulkarni, Demirbas et al. 2014). A
 *    slow clock so loses nothing but to what is concurrent.
 *    Its context does not say what that was, so it answers with a context that does: a client that goes on from there has
 *    left it behind, wherever it goes on.
 * I2 A delete leaves a sibling: older values that its coordinator had not seen must lose to it where they meet.
 * I3 To drop a sibling here or in `merge` because a later one lives would lose values: that later one may be replaced
 *    already, elsewhere, by a write that its context made and not its time.
 */
import { compareDots, sameDot } from './causal-context.ts';
import { type KeyRecord, type Sibling, sameBytes } from './record.ts';

/** When a write of the key is to have been written (I1), milliseconds since 1970. */
export function timeAfter({ siblings }: KeyRecord, wallNowMs: number): number {
  return siblings.reduce((time, { writtenAtMs }) => Math.max(time, writtenAtMs + 1), wallNowMs);
}

/** The siblings without those that a later one has beaten; the same list where the last writer does not win. */
export function withoutBeaten(siblings: readonly Sibling[]): readonly Sibling[] {
  const latest = latestOf(siblings);
  return latest === undefined ? siblings : siblings.filter((one) => one === latest || one.contends === undefined);
}

/**
 * Values in `after` that a later write beats, and that were not beaten in `before`: acknowledged, and shown to nobody
 * from now on. Not another attempt of the write that beats it.
 */
export function newlyBeaten(before: KeyRecord, after: KeyRecord): readonly Beaten[] {
  const latest = latestOf(after.siblings);
  if (latest === undefined || after.siblings.length === 1) return none;
  const known = beatenIn(before.siblings);
  return beatenIn(after.siblings)
    .filter(({ dot }) => !known.some((other) => sameDot(other.dot, dot)))
    .map((loser) => ({ loser, winner: latest }));
}

export interface Beaten {
  readonly loser: Sibling;
  readonly winner: Sibling;
}

const none: readonly Beaten[] = Object.freeze([]);

function beatenIn(siblings: readonly Sibling[]): readonly Sibling[] {
  const latest = latestOf(siblings);
  if (latest === undefined) return [];
  return siblings.filter((one) => one !== latest && one.contends === 'value' && !isSameWrite(one, latest));
}

function latestOf(siblings: readonly Sibling[]): Sibling | undefined {
  let latest: Sibling | undefined;
  for (const sibling of siblings) {
    if (sibling.contends === undefined) continue;
    if (latest === undefined || compareTimes(sibling, latest) > 0) latest = sibling;
  }
  return latest;
}

function compareTimes(a: Sibling, b: Sibling): number {
  return a.writtenAtMs - b.writtenAtMs || compareDots(a.dot, b.dot);
}

function isSameWrite(a: Sibling, b: Sibling): boolean {
  return a.requestId.length > 0 && sameBytes(a.requestId, b.requestId) && sameBytes(a.value, b.value);
}
