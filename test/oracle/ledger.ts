/**
 * What the clients did, as they know it: every write that was tried, what its client had seen by then, and
 * what became of it. The checks compare the system with this; it decides nothing itself.
 *
 * Values carry the number of their write, so that a value seen anywhere tells whose it is.
 */
import type { CausalContext } from '../../services/core/versioning/causal-context.ts';

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
  endedAt: number | undefined;
  outcome: 'under way' | 'acknowledged' | 'unknown' | 'not applied';
  /** Of the acknowledgements its answer named, those of homes. */
  homeAcks: number;
  /** Every dot that was ever seen to name it. */
  readonly dots: Set<string>;
  /** Writes that may have replaced it: they knew it, and were tried. */
  readonly replacedBy: Set<WriteAttempt>;
}

export interface Ledger {
  begin(
    write: Omit<WriteAttempt, 'number' | 'value' | 'endedAt' | 'outcome' | 'homeAcks' | 'dots' | 'replacedBy'> & {
      items?: readonly string[];
    },
  ): WriteAttempt;
  end(write: WriteAttempt, outcome: 'acknowledged' | 'unknown' | 'not applied', at: number): void;
  /** The put that wrote these bytes to this key; undefined where there was none. */
  writerOf(key: string, value: Uint8Array): WriteAttempt | undefined;
  writesOf(key: string): readonly WriteAttempt[];
  all(): readonly WriteAttempt[];
}

export function createLedger(): Ledger {
  const writes: WriteAttempt[] = [];
  const byKey = new Map<string, WriteAttempt[]>();
  return {
    begin({ items = [], ...write }) {
      const number = writes.length;
      const value = write.kind === 'put' ? encodeValue(number, items) : undefined;
      const attempt: WriteAttempt = {
        ...write,
        number,
        value,
        endedAt: undefined,
        outcome: 'under way',
        homeAcks: 0,
        dots: new Set(),
        replacedBy: new Set(),
      };
      writes.push(attempt);
      const others = byKey.get(write.key) ?? [];
      byKey.set(write.key, others);
      others.push(attempt);
      for (const replaced of write.replaces) replaced.replacedBy.add(attempt);
      return attempt;
    },

    end(write, outcome, at) {
      write.outcome = outcome;
      write.endedAt = at;
      if (outcome !== 'not applied') return;
      for (const replaced of write.replaces) replaced.replacedBy.delete(write);
    },

    writerOf(key, value) {
      const number = numberOf(value);
      const writer = number === undefined ? undefined : writes[number];
      return writer?.key === key && writer.value !== undefined && Buffer.compare(writer.value, value) === 0
        ? writer
        : undefined;
    },

    writesOf: (key) => byKey.get(key) ?? [],
    all: () => writes,
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
