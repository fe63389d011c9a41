/**
 * Where the last writer wins (core/versioning/last-writer.ts): which one value a read shows (P2, P3 and P4 as they are
 * there), and that no value is gone that nobody replaced.
 *
 * A client does not know what its write replaces: all that its coordinator holds. So this looks at what coordinators
 * make: each dot, its time, and the dots that it covers. Of these a read must know some, and may know all others; it
 * shows the latest of those it knows that nothing it knows covers. The order is told here once more, not taken from
 * the system that is checked.
 */
import type { Birth } from '../../../services/core/versioning/birth.ts';
import {
  type CausalContext,
  compareDots,
  contains,
  type Dot,
  join,
  printDot,
  sameDot,
} from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord, Sibling } from '../../../services/core/versioning/record.ts';
import type { LatestRead } from '../../oracle/checks/reads.ts';
import { describe, isKept, type Ledger, mayBeHidden, type WriteAttempt } from '../../oracle/ledger.ts';
import { Violation } from '../../oracle/violation.ts';
import type { Marks } from '../marks.ts';

export interface LastWriterCheck {
  /** A coordinator that mints under `birth` has made `after` of its record `before`. */
  changed(key: string, birth: Birth | undefined, before: KeyRecord, after: KeyRecord): void;
  answered(read: LatestRead): void;
  /** A home has let go of what these dots were: to whoever writes afterwards they are as good as covered. */
  letGo(key: string, clock: CausalContext): void;
  /** Once faults are over: `left` are the dots of all that the key has, and of all that the ledgers of losers have. */
  ended(key: string, left: ReadonlySet<string>): void;
}

export interface LastWriterOptions {
  readonly ledger: Ledger;
  readonly marks: Marks;
  now(): number;
  /** Whether any node may have cut the dot from its clock since then: a sibling that was covered may show again. */
  cut(key: string, dot: Dot, since: number): boolean;
}

type Timed = Pick<Sibling, 'dot' | 'writtenAtMs'>;

/** One write, as one coordinator has made it. */
interface Made extends Timed {
  /** What its coordinator held. */
  readonly before: KeyRecord;
  /** What its context told besides. */
  readonly learned: CausalContext;
  /** Of a put. */
  readonly write: WriteAttempt | undefined;
}

export function createLastWriterCheck({ ledger, marks, now, cut }: LastWriterOptions): LastWriterCheck {
  const madeOf = new Map<string, Map<string, Made>>();
  const gone = new Map<string, CausalContext>();

  /** Undefined: this may be the latest of what such a read knows. */
  function objectionTo(winner: Made, { key, known, where }: LatestRead): Violation | undefined {
    const made = madeOf.get(key) as ReadonlyMap<string, Made>;
    const accounted = accountedFor(winner, [...made.values()], gone.get(key) ?? []);
    const shown = printDot(winner.dot);
    for (const write of known) {
      const attempts = [...write.dots].map((dot) => made.get(dot) as Made);
      if (attempts.every((attempt) => covers(attempt, winner)) && !cut(key, winner.dot, write.startedAt))
        return new Violation('P4', `${where} shows ${shown}, which ${describe(write)} covered`, 'resurrected');
      if (attempts.some((attempt) => accounted.has(attempt))) continue;
      const message = `${where} shows ${shown}, and ${describe(write)}, which is later, has not been replaced`;
      return new Violation('P3', message, 'lost');
    }
    return undefined;
  }

  return {
    changed(key, birth, before, after) {
      const made = madeOf.get(key) ?? new Map<string, Made>();
      madeOf.set(key, made);
      const minted = after.siblings.find(({ dot }) => dot.actor === birth?.actor && !contains(before.clock, dot));
      // One that comes back: a second attempt brings what a crash had taken from the disk of its coordinator.
      if (minted === undefined || made.has(printDot(minted.dot))) return;
      const { dot, writtenAtMs, value } = minted;
      for (const replaced of before.siblings) {
        if (replaced.writtenAtMs + 1 === writtenAtMs) marks.add('a write was made later than its wall clock said');
        if (isLater(minted, replaced)) continue;
        const message = `${printDot(dot)} of ${key} is made earlier than ${printDot(replaced.dot)}, which it replaces`;
        throw new Violation('last writer', message);
      }
      const learned = after.clock.filter(({ actor }) => actor !== dot.actor);
      made.set(printDot(dot), { dot, writtenAtMs, before, learned, write: ledger.writerOf(key, value) });
    },

    answered(read) {
      const { key, siblings, known, answeredAt, where } = read;
      if (siblings.length > 1) throw new Violation('last writer', `${where} shows ${siblings.length} values`);
      const made = madeOf.get(key) ?? new Map<string, Made>();
      const [shown] = siblings;
      if (shown !== undefined) {
        const objection = objectionTo(made.get(shown.dot) as Made, read);
        if (objection !== undefined) throw objection;
      } else if (known.length > 0) {
        const hidden = [...made.values()].filter(({ write }) => write === undefined || mayBeHidden(write, answeredAt));
        if (hidden.some((winner) => objectionTo(winner, read) === undefined)) return;
        const writes = known.map(describe).join(', ');
        throw new Violation('P3', `${where} shows nothing, which no delete and no expiry explains: ${writes}`, 'lost');
      }
    },

    letGo: (key, clock) => void gone.set(key, join(gone.get(key) ?? [], clock)),

    ended(key, left) {
      const made = madeOf.get(key) ?? new Map<string, Made>();
      for (const write of ledger.writesOf(key)) {
        if (write.kind === 'delete' || write.outcome !== 'acknowledged' || !isKept(write)) continue;
        if (mayBeHidden(write, now())) continue;
        if ([...write.dots].some((dot) => left.has(dot) || isReplaced(made.get(dot) as Made, made.values()))) continue;
        throw new Violation('P3', `${describe(write)} is gone, in no ledger of losers, and nobody replaced it`, 'lost');
      }
    },
  };
}

/** What a read of which this is the latest need not show: what is no later, and what any of that has replaced. */
function accountedFor(winner: Made, made: readonly Made[], gone: CausalContext): ReadonlySet<Made> {
  const found = new Set(made.filter((one) => !isLater(one, winner) || contains(gone, one.dot)));
  // A set goes on to what is added meanwhile.
  for (const other of found) for (const one of made) if (covers(other, one)) found.add(one);
  return found;
}

function covers({ before, learned }: Made, { dot }: Timed): boolean {
  return contains(before.clock, dot) || contains(learned, dot);
}

function isReplaced(one: Made, made: Iterable<Made>): boolean {
  for (const other of made) if (replaces(other, one)) return true;
  return false;
}

/** Covers what was there to be seen until then: not what had gone before. */
function replaces({ before, learned }: Made, { dot }: Timed): boolean {
  if (contains(before.clock, dot)) return before.siblings.some((held) => sameDot(held.dot, dot));
  return contains(learned, dot);
}

function isLater(a: Timed, b: Timed): boolean {
  return a.writtenAtMs === b.writtenAtMs ? compareDots(a.dot, b.dot) > 0 : a.writtenAtMs > b.writtenAtMs;
}

export interface Beaten {
  readonly loser: Sibling;
  readonly winner: Sibling;
}

/** Values with a later write beside them, which is not another attempt of theirs: values tell their writes apart. */
export function beatenIn({ siblings }: KeyRecord): readonly Beaten[] {
  const [winner, ...others] = siblings.toSorted((a, b) => (isLater(a, b) ? -1 : 1));
  if (winner === undefined) return [];
  return others
    .filter(({ contends, value }) => contends === 'value' && Buffer.compare(value, winner.value) !== 0)
    .map((loser) => ({ loser, winner }));
}
