/**
 * The birth rule, seen from outside (docs/promises.md, the first known trap): no dot ever names two writes, and
 * nothing is stored or sent that nobody wrote (P4). Looks at every record on every disk and in every
 * message, and at every receipt.
 */

import { printDot } from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../../services/core/versioning/record.ts';
import { describe, type Ledger, type WriteAttempt } from '../ledger.ts';
import { Violation } from '../violation.ts';

export interface DotCheck {
  /** A record of this key that was seen anywhere. */
  record(key: string, record: KeyRecord, where: string): void;
  /** A receipt, or a sibling in an answer, said that this dot names this write. */
  named(dot: string, write: WriteAttempt, where: string): void;
  /** Of a write that the ledger has dropped. */
  forget(write: WriteAttempt): void;
}

export function createDotCheck(ledger: Ledger): DotCheck {
  const writers = new Map<string, WriteAttempt>();

  function named(dot: string, write: WriteAttempt, where: string): void {
    if (write.outcome === 'not applied') {
      const message = `${describe(write)} was said to be not applied, and its dot ${dot} is in ${where}`;
      throw new Violation('P5', message, 'unexplained');
    }
    // Births are made for one key: a dot on two keys is one drawn twice.
    const known = writers.get(dot);
    if (known !== undefined && known.number !== write.number) {
      const both = `${describe(known)} and ${describe(write)}`;
      throw new Violation('birth rule', `the dot ${dot} names two writes: ${both}, the second in ${where}`);
    }
    writers.set(dot, write);
    write.dots.add(dot);
  }

  return {
    named,
    forget(write) {
      for (const dot of write.dots) writers.delete(dot);
    },
    record(key, { siblings }, where) {
      for (const { dot, value, requestId, contends } of siblings) {
        if (contends === 'delete') continue; // it has no value to tell whose it is
        const write = ledger.writerOf(key, value);
        if (write === undefined) {
          const message = `${where} has a value of ${key} that nobody wrote: ${Buffer.from(value)}`;
          throw new Violation('P4', message, 'unexplained');
        }
        if (write.requestId !== undefined && Buffer.compare(write.requestId, requestId) !== 0) {
          throw new Violation('P5', `${describe(write)} is in ${where} under another request id`);
        }
        named(printDot(dot), write, where);
      }
    },
  };
}
