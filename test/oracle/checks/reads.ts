/**
 * What a read returns (P2, P3, P4): while faults go on only where the homes of the read and those of the write must
 * meet (R + W > N, fallbacks not counted); once they are over and hints are delivered, always.
 */
import { type CausalContext, contains, type Dot, parseDot } from '../../../services/core/versioning/causal-context.ts';
import type { Ledger, WriteAttempt } from '../ledger.ts';
import { describe } from '../ledger.ts';
import { Violation } from '../violation.ts';
import type { DotCheck } from './dots-name-one-write.ts';

export interface ReadAnswered {
  readonly key: string;
  /** How many homes it rests on. */
  readonly homes: number;
  /** Faults are over, hints are delivered, and all homes were asked. */
  readonly afterwards: boolean;
  /** Writes acknowledged by then must be seen. */
  readonly startedAt: number;
  readonly siblings: readonly { readonly dot: string; readonly value: Uint8Array }[];
  readonly where: string;
}

export interface ReadCheckOptions {
  readonly ledger: Ledger;
  readonly dots: DotCheck;
  /** N. */
  readonly replicas: number;
  /** Clock entries were cut: a sibling that was covered may show again (ARCHITECTURE.md 4). */
  cut(): boolean;
}

export interface ReadCheck {
  /** Returns the writes whose values were read. */
  answered(read: ReadAnswered): Set<WriteAttempt>;
}

export function createReadCheck({ ledger, dots, replicas, cut }: ReadCheckOptions): ReadCheck {
  return {
    answered({ key, homes, afterwards, startedAt, siblings, where }) {
      const read = new Set<WriteAttempt>();
      const readDots: [Dot, WriteAttempt][] = [];
      for (const { dot, value } of siblings) {
        const write = ledger.writerOf(key, value);
        if (write === undefined)
          throw new Violation('P4', `${where} returned a value of ${key} that nobody wrote: ${Buffer.from(value)}`);
        if (read.has(write)) throw new Violation('P5', `${where} returned ${describe(write)} twice`);
        dots.named(dot, write, where);
        read.add(write);
        readDots.push([parseDot(dot) as Dot, write]);
      }
      for (const write of ledger.writesOf(key)) {
        const { endedAt = Number.POSITIVE_INFINITY, homeAcks, outcome } = write;
        if (outcome !== 'acknowledged' || endedAt > startedAt) continue;
        if (homeAcks + homes <= replicas && !afterwards) continue;
        if (write.kind === 'put' && write.replacedBy.size === 0 && !read.has(write)) {
          throw new Violation(
            'P3',
            `${where} (${homes} homes) does not return ${describe(write)}, which nothing has replaced`,
          );
        }
        if (cut()) continue;
        for (const [dot, covered] of readDots) {
          if (!contains(write.context, dot)) continue;
          throw new Violation(
            'P4',
            `${where} (${homes} homes) returns ${describe(covered)}, which ${describe(write)} covered`,
          );
        }
      }
      return read;
    },
  };
}

/** Puts of which a dot is in the context. */
export function knownIn(context: CausalContext, writes: readonly WriteAttempt[]): WriteAttempt[] {
  return writes.filter((write) => [...write.dots].some((dot) => contains(context, parseDot(dot) as Dot)));
}
