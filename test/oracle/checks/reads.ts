/**
 * What a read returns (P2, P3, P4): while faults go on only where the read's replicas and the write's must
 * meet (R + W > N); once they are over, always. Nothing is demanded of what only memories had that were lost since:
 * that was all that its durability promised.
 */
import { type CausalContext, contains, type Dot, parseDot } from '../../../services/core/versioning/causal-context.ts';
import type { Ledger, WriteAttempt } from '../ledger.ts';
import { describe, homesOf, isKept, mayBeHidden, mustBeHidden } from '../ledger.ts';
import { Violation } from '../violation.ts';
import type { DotCheck } from './dots-name-one-write.ts';

export interface ReadAnswered {
  readonly key: string;
  /** Homes that answered. */
  readonly r: number;
  /** Writes acknowledged by then must be seen. */
  readonly startedAt: number;
  /** What has expired by then need not be seen; the start where it is not given. */
  readonly answeredAt?: number;
  readonly siblings: readonly { readonly dot: string; readonly value: Uint8Array; readonly writtenAt?: Date }[];
  readonly where: string;
  /** All that was acknowledged must be seen, wherever it was written. */
  readonly faultsAreOver?: boolean;
}

/** A read of a key where the last writer wins. */
export interface LatestRead {
  readonly key: string;
  readonly siblings: ReadAnswered['siblings'];
  /** What it must know of. */
  readonly known: readonly WriteAttempt[];
  readonly answeredAt: number;
  readonly where: string;
}

export interface ReadCheckOptions {
  readonly ledger: Ledger;
  readonly dots: DotCheck;
  /** N. */
  readonly replicas: number;
  /** Whether any node may have cut the dot from its clock since then: a sibling that was covered may show again. */
  cut(key: string, dot: Dot, since: number): boolean;
  /** Where the last writer wins: whether what is shown is the latest. */
  latest?(key: string): { answered(read: LatestRead): void } | undefined;
}

export interface ReadCheck {
  /** Returns the writes whose values were read. */
  answered(read: ReadAnswered): Set<WriteAttempt>;
}

export function createReadCheck({ ledger, dots, replicas, cut, latest }: ReadCheckOptions): ReadCheck {
  /** What was acknowledged, and the read must know of. */
  function* knownTo({ key, r, startedAt, faultsAreOver = false }: ReadAnswered): Generator<WriteAttempt, void, void> {
    for (const write of ledger.writesOf(key)) {
      const { endedAt = Number.POSITIVE_INFINITY, outcome } = write;
      if (outcome !== 'acknowledged' || endedAt > startedAt) continue;
      if (faultsAreOver ? isKept(write) : homesOf(write) + r > replicas) yield write;
    }
  }

  return {
    answered(asked) {
      const { key, r, startedAt, answeredAt = startedAt, siblings, where } = asked;
      const read = new Set<WriteAttempt>();
      // By number: of a write that the ledger has dropped it makes another object each time.
      const numbers = new Set<number>();
      const readDots: [Dot, WriteAttempt][] = [];
      for (const { dot, value } of siblings) {
        const write = ledger.writerOf(key, value);
        if (write === undefined) {
          const message = `${where} returned a value of ${key} that nobody wrote: ${Buffer.from(value)}`;
          throw new Violation('P4', message, 'unexplained');
        }
        if (numbers.has(write.number)) {
          throw new Violation('P5', `${where} returned ${describe(write)} twice`, 'unexplained');
        }
        dots.named(dot, write, where);
        if (mustBeHidden(write, startedAt)) {
          throw new Violation('P4', `${where} returned ${describe(write)}, which had expired`, 'resurrected');
        }
        read.add(write);
        numbers.add(write.number);
        readDots.push([parseDot(dot) as Dot, write]);
      }
      const lastWriter = latest?.(key);
      if (lastWriter !== undefined) {
        lastWriter.answered({ key, siblings, known: [...knownTo(asked)], answeredAt, where });
        return read;
      }
      for (const write of knownTo(asked)) {
        const isExpected = write.kind === 'put' && !mayBeHidden(write, answeredAt);
        if (isExpected && !numbers.has(write.number) && !isReplaced(write, numbers, answeredAt)) {
          const message = `${where} (r=${r}) does not return ${describe(write)}, which nothing has replaced`;
          throw new Violation('P3', message, 'lost');
        }
        for (const [dot, covered] of readDots) {
          if (!contains(write.context, dot) || cut(key, dot, write.startedAt)) continue;
          const message = `${where} (r=${r}) returns ${describe(covered)}, which ${describe(write)} covered`;
          throw new Violation('P4', message, 'resurrected');
        }
      }
      return read;
    },
  };
}

/**
 * Whether what was read explains why `write` is not in it: a delete that knew it, or a put that knew it and is
 * itself there, expired or replaced. A put that is nowhere to be seen and that nothing replaced was never applied, so it
 * replaced nothing.
 */
function isReplaced(
  write: WriteAttempt,
  read: ReadonlySet<number>,
  now: number,
  visited = new Set<WriteAttempt>(),
): boolean {
  for (const by of write.replacedBy) {
    if (visited.has(by)) continue;
    visited.add(by);
    if (by.kind === 'delete' || read.has(by.number) || mayBeHidden(by, now)) return true;
    if (isReplaced(by, read, now, visited)) return true;
  }
  return false;
}

/** Puts of which a dot is in the context. */
export function knownIn(context: CausalContext, writes: readonly WriteAttempt[]): WriteAttempt[] {
  return writes.filter((write) => [...write.dots].some((dot) => contains(context, parseDot(dot) as Dot)));
}
