/**
 * Causal contexts: sets of dots, stored as a version vector plus detached dots (the causal contexts of
 * delta CRDTs: Almeida, Shoker, Baquero 2018). A record's clock is one, and so is what a client gets as
 * its context.
 *
 * Owns the set algebra. Knows nothing of values, records or bytes.
 *
 * I1 Entries are sorted by actor, one an actor, none empty.
 * I2 `detached` is ascending, and its least counter is above `upTo` + 1: contiguous dots are packed into
 *    the vector, so equal sets have equal shapes.
 * I3 `join` is commutative, associative and idempotent, heights included (they join by maximum).
 */

/** The identity of one write. */
export interface Dot {
  /** A birth: 64 random bits. */
  readonly actor: bigint;
  /** 1, 2, 3 … for that actor. */
  readonly counter: number;
}

/** What a context knows of one actor. */
export interface ContextEntry {
  readonly actor: bigint;
  /** All of 1..upTo are in. */
  readonly upTo: number;
  /** Further counters that are in, with gaps before them. */
  readonly detached: readonly number[];
  /** The record's height when this entry last moved, see record.ts; 0 in a client's context. */
  readonly height: number;
}

export type CausalContext = readonly ContextEntry[];

export const emptyContext: CausalContext = Object.freeze([]);

/** No counter goes beyond this; a birth that would is replaced by a new one. */
export const counterMax = 2 ** 48;

const noDots: readonly number[] = Object.freeze([]);

export function entryOf(context: CausalContext, actor: bigint): ContextEntry | undefined {
  for (const entry of context) if (entry.actor === actor) return entry;
  return undefined;
}

export function contains(context: CausalContext, dot: Dot): boolean {
  const entry = entryOf(context, dot.actor);
  return entry !== undefined && (dot.counter <= entry.upTo || entry.detached.includes(dot.counter));
}

/** Whether every dot of `part` is in `whole`. */
export function includes(whole: CausalContext, part: CausalContext): boolean {
  return part.every((entry) => {
    const known = entryOf(whole, entry.actor);
    if (known === undefined || entry.upTo > known.upTo) return false;
    return entry.detached.every((counter) => counter <= known.upTo || known.detached.includes(counter));
  });
}

/** The union. Returns one of its arguments where that is the union already. */
export function join(a: CausalContext, b: CausalContext): CausalContext {
  if (a === b || b.length === 0) return a;
  if (a.length === 0) return b;
  const joined: ContextEntry[] = [];
  let sameAsA = true;
  let sameAsB = true;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    if (right === undefined || (left !== undefined && left.actor < right.actor)) {
      joined.push(left as ContextEntry);
      sameAsB = false;
      i++;
    } else if (left === undefined || right.actor < left.actor) {
      joined.push(right);
      sameAsA = false;
      j++;
    } else {
      const entry = joinEntries(left, right);
      if (entry !== left && !sameEntry(entry, left)) sameAsA = false;
      if (entry !== right && !sameEntry(entry, right)) sameAsB = false;
      joined.push(entry);
      i++;
      j++;
    }
  }
  return sameAsA ? a : sameAsB ? b : joined;
}

/** The context with one more dot, detached where the ones before it are missing. */
export function withDot(context: CausalContext, dot: Dot, height = 0): CausalContext {
  const single =
    dot.counter === 1
      ? { actor: dot.actor, upTo: 1, detached: noDots, height }
      : { actor: dot.actor, upTo: 0, detached: [dot.counter], height };
  return join(context, [single]);
}

/** The greatest counter of the actor in the context; 0 where there is none. */
export function lastCounter(context: CausalContext, actor: bigint): number {
  const entry = entryOf(context, actor);
  return entry === undefined ? 0 : (entry.detached.at(-1) ?? entry.upTo);
}

/** Equal sets of dots, whatever their heights. */
export function sameDots(a: ContextEntry, b: ContextEntry): boolean {
  return (
    a.actor === b.actor &&
    a.upTo === b.upTo &&
    a.detached.length === b.detached.length &&
    a.detached.every((counter, i) => counter === b.detached[i])
  );
}

/** An entry in the packed shape of I2, from counters that may be contiguous, repeated or unsorted. */
export function packEntry(actor: bigint, upTo: number, counters: readonly number[], height: number): ContextEntry {
  if (counters.length === 0) return { actor, upTo, detached: noDots, height };
  const detached: number[] = [];
  let packedUpTo = upTo;
  for (const counter of counters.toSorted((x, y) => x - y)) {
    if (counter === packedUpTo + 1) packedUpTo = counter;
    else if (counter > packedUpTo && counter !== detached.at(-1)) detached.push(counter);
  }
  return { actor, upTo: packedUpTo, detached, height };
}

export function compareDots(a: Dot, b: Dot): number {
  if (a.actor !== b.actor) return a.actor < b.actor ? -1 : 1;
  return a.counter - b.counter;
}

export function sameDot(a: Dot, b: Dot): boolean {
  return a.counter === b.counter && a.actor === b.actor;
}

/** `actor:counter`, the actor as 16 hexadecimal digits. */
export function printDot(dot: Dot): string {
  return `${dot.actor.toString(16).padStart(16, '0')}:${dot.counter}`;
}

/** The dot that `printDot` printed; undefined where the text is none. */
export function parseDot(text: string): Dot | undefined {
  const match = /^([0-9a-f]{16}):([1-9][0-9]{0,15})$/.exec(text);
  if (match === null) return undefined;
  const counter = Number(match[2]);
  return counter > counterMax ? undefined : { actor: BigInt(`0x${match[1]}`), counter };
}

/** `actor:counter …`, detached counters as `actor:upTo+c,c`. */
export function printContext(context: CausalContext): string {
  return context
    .map(({ actor, upTo, detached }) => {
      const plain = printDot({ actor, counter: upTo });
      return detached.length === 0 ? plain : `${plain}+${detached.join(',')}`;
    })
    .join(' ');
}

function joinEntries(a: ContextEntry, b: ContextEntry): ContextEntry {
  const height = Math.max(a.height, b.height);
  const upTo = Math.max(a.upTo, b.upTo);
  if (a.detached.length === 0 && b.detached.length === 0) {
    if (a.upTo === upTo && a.height === height) return a;
    if (b.upTo === upTo && b.height === height) return b;
    return { actor: a.actor, upTo, detached: noDots, height };
  }
  return packEntry(a.actor, upTo, [...a.detached, ...b.detached], height);
}

function sameEntry(a: ContextEntry, b: ContextEntry): boolean {
  return a.height === b.height && sameDots(a, b);
}
