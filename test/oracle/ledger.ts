/**
 * What the clients did, as they know it: every write that was tried, what its client had seen by then, and
 * what became of it. The checks compare the system with this; it decides nothing itself.
 *
 * Values carry the number of their write, so that a value seen anywhere tells whose it is.
 *
 * I1 A write that `fold` drops is replaced by an acknowledged write that is kept, or by one that such a write
 *    replaced in turn, and whose context contains all that the dropped one's does: whatever a check would say of
 *    the dropped one it says of the kept one.
 */
import { type CausalContext, emptyContext, includes } from '../../services/core/versioning/causal-context.ts';

export interface WriteAttempt {
  readonly number: number;
  readonly kind: 'put' | 'delete';
  readonly key: string;
  readonly client: string;
  readonly w: number;
  readonly requestId: Buffer | undefined;
  /** Of the request, decoded. */
  readonly context: CausalContext;
  /** Puts whose values its client had seen when it got that context: what this write may replace. */
  readonly replaces: ReadonlySet<WriteAttempt>;
  /** Undefined for a delete. */
  readonly value: Buffer | undefined;
  /** Of a cart: the item that this put adds. */
  readonly item: string | undefined;
  readonly startedAt: number;
  /** How long it is to be seen, where its put said so, and how much wall clocks may differ. */
  readonly ttl?: { readonly ms: number; readonly clocksDifferMs: number } | undefined;
  endedAt: number | undefined;
  outcome: Outcome;
  /** How many homes have it by its receipt; `w` where there was none. See `homesOf`. */
  homes: number;
  /** Who acknowledged it, where not all of them had it on disk; undefined: all had. */
  copies: readonly Copy[] | undefined;
  /** Every dot that was ever seen to name it. */
  readonly dots: Set<string>;
  /** Writes that may have replaced it: they knew it, and were tried. */
  readonly replacedBy: Set<WriteAttempt>;
}

/** An acknowledgement of a write, and whether what it spoke of may be gone by now. */
export interface Copy {
  readonly isHome: boolean;
  /** It is taking the partition over, or giving it up. */
  readonly isPending?: boolean;
  /** It was in a memory only, and that has been lost since, or may have been. */
  isLost(): boolean;
}

export type Outcome = 'under way' | 'acknowledged' | 'unknown' | 'not applied';

export interface Ledger {
  begin(
    write: Omit<
      WriteAttempt,
      'number' | 'value' | 'endedAt' | 'outcome' | 'homes' | 'copies' | 'dots' | 'replacedBy'
    > & {
      items?: readonly string[];
    },
  ): WriteAttempt;
  end(
    write: WriteAttempt,
    outcome: Exclude<Outcome, 'under way'>,
    at: number,
    homes?: number,
    copies?: readonly Copy[],
  ): void;
  /** The put that wrote these bytes to this key; undefined where there was none. */
  writerOf(key: string, value: Uint8Array): WriteAttempt | undefined;
  writesOf(key: string): readonly WriteAttempt[];
  all(): Iterable<WriteAttempt>;
  /** Items that acknowledged writes, dropped since, have added to a cart. */
  itemsDropped(key: string): readonly string[];
  /**
   * For long histories, of a key that nobody writes any more: drops the writes that no check needs (I1), and
   * returns them. A few bytes of each stay, so that `writerOf` still knows its value.
   */
  fold(key: string): readonly WriteAttempt[];
}

export function createLedger(): Ledger {
  const writes = new Map<number, WriteAttempt>();
  const byKey = new Map<string, WriteAttempt[]>();
  /** By number, of every write: both are shared strings. */
  const keys: string[] = [];
  const outcomes: Outcome[] = [];
  const itemsDropped = new Map<string, string[]>();

  return {
    begin({ items = [], ...write }) {
      const number = keys.length;
      const value = write.kind === 'put' ? encodeValue(number, items) : undefined;
      const attempt: WriteAttempt = {
        ...write,
        number,
        value,
        endedAt: undefined,
        outcome: 'under way',
        homes: 0,
        copies: undefined,
        dots: new Set(),
        replacedBy: new Set(),
      };
      keys.push(write.key);
      outcomes.push('under way');
      writes.set(number, attempt);
      const others = byKey.get(write.key) ?? [];
      byKey.set(write.key, others);
      others.push(attempt);
      for (const replaced of write.replaces) replaced.replacedBy.add(attempt);
      return attempt;
    },

    end(write, outcome, at, homes = write.w, copies = undefined) {
      write.outcome = outcome;
      write.endedAt = at;
      write.homes = homes;
      write.copies = copies;
      outcomes[write.number] = outcome;
      if (outcome !== 'not applied') return;
      for (const replaced of write.replaces) replaced.replacedBy.delete(write);
    },

    writerOf(key, value) {
      const number = numberOf(value);
      if (number === undefined || keys[number] !== key) return undefined;
      const writer = writes.get(number);
      if (writer === undefined) return remnant(number, key, outcomes[number] as Outcome);
      return writer.value !== undefined && Buffer.compare(writer.value, value) === 0 ? writer : undefined;
    },

    writesOf: (key) => byKey.get(key) ?? [],
    all: () => writes.values(),
    itemsDropped: (key) => itemsDropped.get(key) ?? [],

    fold(key) {
      const kept: WriteAttempt[] = [];
      const dropped: WriteAttempt[] = [];
      for (const write of byKey.get(key) ?? []) (isNeeded(write) ? kept : dropped).push(write);
      const items: string[] = [];
      for (const { number, item, outcome } of dropped) {
        writes.delete(number);
        if (item !== undefined && outcome === 'acknowledged') items.push(item);
      }
      if (items.length > 0) itemsDropped.set(key, items);
      // What points backwards would keep the whole history alive.
      for (const write of [...kept, ...dropped]) (write.replaces as Set<WriteAttempt>).clear();
      byKey.set(key, kept);
      return dropped;
    },
  };
}

/**
 * How many homes have it still, as far as was promised: what only memories had a crash may have taken. A node that was
 * pending for the partition and has it not takes one off.
 */
export function homesOf({ homes, copies }: WriteAttempt): number {
  if (copies === undefined) return homes;
  const kept = copies.filter(({ isHome, isLost }) => isHome && !isLost()).length;
  return kept - copies.filter(({ isPending, isLost }) => isPending && isLost()).length;
}

/** Whether anybody, home or fallback, has it still, as far as was promised. */
export function isKept({ copies }: WriteAttempt): boolean {
  return copies === undefined || copies.some(({ isLost }) => !isLost());
}

/** By the fastest of all clocks it has expired: it need not be seen any more. */
export function mayBeHidden({ ttl, startedAt }: WriteAttempt, now: number): boolean {
  return ttl !== undefined && now >= startedAt + ttl.ms - ttl.clocksDifferMs;
}

/**
 * By the slowest of all clocks it has expired: it must not be seen any more. Nothing is said of a write that two
 * coordinators have run: one of them may have come to it long after the other had answered, and fixed a later expiry.
 */
export function mustBeHidden({ ttl, endedAt, outcome, dots }: WriteAttempt, now: number): boolean {
  if (ttl === undefined || endedAt === undefined || outcome !== 'acknowledged' || dots.size > 1) return false;
  return now >= endedAt + ttl.ms + ttl.clocksDifferMs;
}

/** I1. A write that was not applied is needed by no check but the one that its value is never seen. */
function isNeeded(write: WriteAttempt): boolean {
  if (write.outcome === 'under way') throw new Error(`${describe(write)} cannot be folded away yet`);
  if (write.outcome === 'not applied') return false;
  for (const { outcome, homes, copies, context } of write.replacedBy) {
    if (copies === undefined && outcome === 'acknowledged' && homes >= write.homes && includes(context, write.context))
      return false;
  }
  return true;
}

/** What is known of a write that was dropped. It is in no list, so nothing is asked of it. */
function remnant(number: number, key: string, outcome: Outcome): WriteAttempt {
  return {
    ...{
      number,
      key,
      outcome,
      kind: 'put',
      client: 'somebody, long ago',
      w: 0,
      homes: 0,
      copies: undefined,
      requestId: undefined,
    },
    ...{ context: emptyContext, replaces: new Set(), value: undefined, item: undefined, startedAt: 0, endedAt: 0 },
    ...{ dots: new Set(), replacedBy: new Set() },
  };
}

/** `#number` and the items of the cart, one a line. */
function encodeValue(number: number, items: readonly string[]): Buffer {
  return Buffer.from([`#${number}`, ...items].join('\n'));
}

function numberOf(value: Uint8Array): number | undefined {
  const text = Buffer.from(value).toString();
  const match = /^#(\d+)(\n|$)/.exec(text);
  return match === null ? undefined : Number(match[1]);
}

export function itemsOf(value: Uint8Array): readonly string[] {
  return Buffer.from(value).toString().split('\n').slice(1);
}

export function describe(write: WriteAttempt): string {
  const dots = [...write.dots].join(', ') || 'no dot seen';
  return `${write.kind} #${write.number} of ${write.client} on ${write.key} (${write.outcome}, w=${write.w}, ${dots})`;
}
