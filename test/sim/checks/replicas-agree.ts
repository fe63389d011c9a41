/** Once faults are over and repairs are done, all homes of a key hold the same (P6, as far as reads bring it). */
import { printDot } from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../../services/core/versioning/record.ts';
import { Violation } from '../../oracle/violation.ts';

export interface HeldBy {
  readonly node: string;
  readonly record: KeyRecord;
}

/** By live dots: repair looks at nothing else, because clocks are cut by one coordinator at a time. */
export function checkAgreement(key: string, held: readonly HeldBy[]): void {
  const [first, ...others] = held.map(({ node, record }) => ({ node, digest: digestOf(record) }));
  for (const other of others) {
    if (first === undefined || other.digest === first.digest) continue;
    const both = `${first.node} has ${first.digest}, ${other.node} has ${other.digest}`;
    throw new Violation('P6', `the replicas of ${key} differ: ${both}`);
  }
}

function digestOf({ siblings }: KeyRecord): string {
  return `[${siblings.map(({ dot }) => printDot(dot)).join(' ')}]`;
}
