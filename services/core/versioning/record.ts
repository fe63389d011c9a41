/**
 * Records, the dotted version vector sets of one key (Preguiça, Baquero, Almeida, Fonte, Gonçalves 2010;
 * Riak's dvvset), and everything that is ever done to one: merge, put, delete, cut.
 *
 * Owns which siblings live. Knows nothing of who may mint a dot (birth.ts), of nodes, time or bytes.
 *
 * I1 The dot of every sibling is in the clock.
 * I2 Siblings are sorted by dot, one a dot.
 * I3 `merge` is commutative, associative and idempotent: a join. Nothing but `cut` ever takes a dot out of a
 *    clock: after a put, a delete, or a record that arrived.
 * I4 The order of wall clocks decides nothing, but what readers are shown: not what has expired, and not what a later
 *    write has beaten where the last writer wins. Never anything in `merge`.
 */
import {
  type CausalContext,
  type ContextEntry,
  compareDots,
  contains,
  type Dot,
  emptyContext,
  entryOf,
  join,
  lastCounter,
  sameDot,
  sameDots,
  withDot,
} from './causal-context.ts';
import { withoutBeaten } from './last-writer.ts';

/** One of the concurrent values of a key. */
export interface Sibling {
  readonly dot: Dot;
  /** Of the put, empty where the client gave none; two attempts with one id are one write. */
  readonly requestId: Uint8Array;
  /** The coordinator's wall clock: for people, and for last-writer.ts. */
  readonly writtenAtMs: number;
  /** From then on readers do not see it; fixed by the coordinator, by its wall clock. Absent: never. */
  readonly expiresAtMs?: number;
  /** In a namespace where the last writer wins (last-writer.ts): a value, or what a delete left. */
  readonly contends?: 'value' | 'delete';
  /** Of a delete: empty. */
  readonly value: Uint8Array;
}

/** What a node knows of one key. Without siblings it is a tombstone. */
export interface KeyRecord {
  readonly clock: CausalContext;
  readonly siblings: readonly Sibling[];
}

export const emptyRecord: KeyRecord = Object.freeze({ clock: emptyContext, siblings: Object.freeze([]) });

/** A clock keeps this many entries besides those of live siblings (the paper's "about ten"). */
export const clockEntriesMax = 10;

/**
 * And as many where nobody writes and only records arrive. More, because such a replica still remembers what
 * its coordinators have cut, and keeps old siblings away for them; but not for ever: what it remembers goes
 * into the contexts of gets, and through them back to the coordinators.
 */
export const replicaEntriesMax = 4 * clockEntriesMax;

/** A clock or context keeps at most this many detached dots; see `boundDetached`. */
export const detachedDotsMax = 64;

/**
 * Both records' knowledge: a sibling stays if the other side holds it too, or has never seen its dot.
 * Returns one of its arguments where that is the result already.
 */
export function merge(a: KeyRecord, b: KeyRecord): KeyRecord {
  if (a === b) return a;
  const clock = join(a.clock, b.clock);
  const siblings: Sibling[] = [];
  let i = 0;
  let j = 0;
  while (i < a.siblings.length || j < b.siblings.length) {
    const left = a.siblings[i];
    const right = b.siblings[j];
    const order = left === undefined ? 1 : right === undefined ? -1 : compareDots(left.dot, right.dot);
    if (order === 0) {
      siblings.push(left as Sibling);
      i++;
      j++;
    } else if (order < 0) {
      if (!contains(b.clock, (left as Sibling).dot)) siblings.push(left as Sibling);
      i++;
    } else {
      if (!contains(a.clock, (right as Sibling).dot)) siblings.push(right as Sibling);
      j++;
    }
  }
  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;
  if (clock === b.clock && sameSiblings(siblings, b.siblings)) return b;
  return { clock, siblings };
}

/** Adds a value; it replaces exactly the siblings whose dots `context` contains. */
export function put(record: KeyRecord, context: CausalContext, sibling: Sibling): KeyRecord {
  const { clock, siblings } = cover(record, context, sibling.dot);
  return { clock, siblings: [...siblings, sibling].toSorted((x, y) => compareDots(x.dot, y.dot)) };
}

/** Removes exactly the siblings whose dots `context` contains, and adds `dot`, the identity of the delete. */
export function remove(record: KeyRecord, context: CausalContext, dot: Dot): KeyRecord {
  return cover(record, context, dot);
}

/** It is hidden now, by the wall clock of whoever reads. */
export function isExpired({ expiresAtMs }: Sibling, wallNowMs: number): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= wallNowMs;
}

/**
 * The siblings a reader sees: those that have not expired or been beaten, and of those with one request id and one value
 * (two attempts that met two coordinators) only the one with the least dot. Not done in `merge`: dropping a sibling because another one is alive,
 * where that other one may be covered already elsewhere, makes the result depend on the order of merges.
 * The clock contains all of their dots, so the reader's context covers every attempt.
 */
export function visibleSiblings(record: KeyRecord, wallNowMs: number): readonly Sibling[] {
  const hides = record.siblings.some(
    ({ expiresAtMs, contends }) => expiresAtMs !== undefined || contends !== undefined,
  );
  const siblings = hides ? unhidden(record.siblings, wallNowMs) : record.siblings;
  if (siblings.length < 2) return siblings;
  const seen = new Map<string, Sibling[]>();
  return siblings.filter((sibling) => {
    if (sibling.requestId.length === 0) return true;
    const id = String.fromCharCode(...sibling.requestId);
    const others = seen.get(id) ?? [];
    // One id for two values is a client's mistake, and must not hide one of them.
    if (others.some((other) => sameBytes(other.value, sibling.value))) return false;
    seen.set(id, [...others, sibling]);
    return true;
  });
}

/** In this order: what has beaten others does not give way to them when it expires. */
function unhidden(siblings: readonly Sibling[], wallNowMs: number): readonly Sibling[] {
  return withoutBeaten(siblings).filter((one) => one.contends !== 'delete' && !isExpired(one, wallNowMs));
}

/** Whether both hold the same siblings: what a reader would be told is then the same, however their clocks were cut. */
export function agree(a: KeyRecord, b: KeyRecord): boolean {
  return a === b || sameSiblings(a.siblings, b.siblings);
}

/** The sibling that a put with this request id left, if it is still alive. */
export function siblingOfRequest(record: KeyRecord, requestId: Uint8Array): Sibling | undefined {
  if (requestId.length === 0) return undefined;
  return record.siblings.find((sibling) => sameBytes(sibling.requestId, requestId));
}

/** How many puts and deletes deep the record is, as far as it knows. */
export function heightOf(clock: CausalContext): number {
  let height = 0;
  for (const entry of clock) if (entry.height > height) height = entry.height;
  return height;
}

/**
 * The paper's truncation, by height instead of by time: above `max` entries besides those of live
 * siblings, the entries go that have not moved for the most puts. Never done in `merge` (I3). It may make a sibling that a replica still holds visible again; it loses nothing.
 *
 * `before` is this node's record before the write (or before a record arrived), `after` what was made of it. What
 * this very write has removed here or learned from its context stays until a later write: other replicas hold siblings
 * that these dots cover, and learn only from this record that they are gone. To keep only what was removed
 * here is not enough: a coordinator that has missed the siblings removes nothing, and learns all of it.
 *
 * `keep` is the actor under which this node mints: neither its entry nor its greatest counter ever goes, or
 * the node could mint one of its dots twice (birth.ts); undefined where it has no birth. `entriesCut` counts detached dots that had to go too.
 */
export function cut(
  before: KeyRecord,
  after: KeyRecord,
  keep: bigint | undefined,
  max = clockEntriesMax,
): { record: KeyRecord; entriesCut: number } {
  const minted = keep === undefined ? undefined : { actor: keep, counter: lastCounter(after.clock, keep) };
  const living = after.siblings;
  const removed = before.siblings.filter(({ dot }) => !living.some((sibling) => sameDot(sibling.dot, dot)));
  const needed = (dot: Dot) =>
    (minted !== undefined && sameDot(dot, minted)) ||
    [living, removed].some((siblings) => siblings.some((sibling) => sameDot(sibling.dot, dot))) ||
    !contains(before.clock, dot);
  const bound = boundDetached(after.clock, needed);
  const free =
    bound.length <= max
      ? []
      : bound.filter((entry) => {
          return !hasDotOf(living, entry.actor) && !hasMoved(before.clock, removed, entryOf(after.clock, entry.actor));
        });
  const surplus = free.length - max;
  const dotsCut = detachedIn(after.clock) - detachedIn(bound);
  if (surplus <= 0) {
    return { record: bound === after.clock ? after : { ...after, clock: bound }, entriesCut: dotsCut };
  }
  const gone = new Set(
    free
      .filter((entry) => entry.actor !== keep)
      .toSorted((x, y) => x.height - y.height || (x.actor < y.actor ? -1 : 1))
      .slice(0, surplus)
      .map((entry) => entry.actor),
  );
  const clock = bound.filter((entry) => !gone.has(entry.actor));
  return { record: { ...after, clock }, entriesCut: surplus + dotsCut };
}

/**
 * The context that a put answers with: the request's, and the write itself as a detached dot. Never the
 * record's clock: that may contain siblings which this client has not seen, and its next put would
 * remove them silently.
 */
export function answerContext(context: CausalContext, dot: Dot): CausalContext {
  return boundDetached(withDot(context, dot), (other) => sameDot(other, dot));
}

/**
 * At most `detachedDotsMax` detached dots: a client that writes for ever without reading, beside others,
 * would collect one a put. Forgetting one is safe: a context that contains less removes less. Those that
 * are `needed` stay; of the rest the lowest counters of each entry go.
 */
function boundDetached(context: CausalContext, needed: (dot: Dot) => boolean): CausalContext {
  let surplus = detachedIn(context) - detachedDotsMax;
  if (surplus <= 0) return context;
  const bounded: ContextEntry[] = [];
  for (const entry of context) {
    const detached = entry.detached.filter((counter) => {
      if (surplus <= 0 || needed({ actor: entry.actor, counter })) return true;
      surplus--;
      return false;
    });
    if (entry.upTo > 0 || detached.length > 0) bounded.push({ ...entry, detached });
  }
  return bounded;
}

function detachedIn(context: CausalContext): number {
  let dots = 0;
  for (const { detached } of context) dots += detached.length;
  return dots;
}

/** What a put and a delete do alike: drop what is covered, join the context and the new dot into the clock. */
function cover(record: KeyRecord, context: CausalContext, dot: Dot): KeyRecord {
  const height = heightOf(record.clock) + 1;
  const [removed, siblings] = splitByContext(record.siblings, context);
  const joined = withDot(join(record.clock, context), dot);
  const clock = joined.map((entry) => (hasMoved(record.clock, removed, entry) ? { ...entry, height } : entry));
  return { clock, siblings };
}

/** Whether a write that has removed these siblings has changed what the entry says, or of whom. */
function hasMoved(before: CausalContext, removed: readonly Sibling[], entry: ContextEntry | undefined): boolean {
  if (entry === undefined) return false;
  const known = entryOf(before, entry.actor);
  return known === undefined || !sameDots(known, entry) || hasDotOf(removed, entry.actor);
}

function hasDotOf(siblings: readonly Sibling[], actor: bigint): boolean {
  return siblings.some(({ dot }) => dot.actor === actor);
}

/** Those that the context covers, and the others. */
export function splitByContext(
  siblings: readonly Sibling[],
  context: CausalContext,
): readonly [covered: readonly Sibling[], others: readonly Sibling[]] {
  const covered = siblings.filter(({ dot }) => contains(context, dot));
  return covered.length === 0 ? [covered, siblings] : [covered, siblings.filter(({ dot }) => !contains(context, dot))];
}

function sameSiblings(a: readonly Sibling[], b: readonly Sibling[]): boolean {
  return a.length === b.length && a.every((sibling, i) => sameDot(sibling.dot, (b[i] as Sibling).dot));
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
