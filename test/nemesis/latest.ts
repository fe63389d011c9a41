/**
 * Where the last writer wins, by what clients are told alone: who won is never earlier than what its reader had to know.
 * All processes of a run have one wall clock, which is not earlier when a write is made than when its client began it,
 * and whatever replaces a write is later than that.
 */
import { contains, type Dot, parseDot } from '../../services/core/versioning/causal-context.ts';
import type { LatestRead } from '../oracle/checks/reads.ts';
import { describe, type Ledger, type WriteAttempt } from '../oracle/ledger.ts';
import { Violation } from '../oracle/violation.ts';

/** Of clocks that are set right by and by. */
const toleranceMs = 500;

export interface LatestOptions {
  readonly ledger: Ledger;
  /** What the wall clock said at a time of the ledger. */
  wallAt(ms: number): number;
  cut(key: string): boolean;
}

export function createLatestCheck({ ledger, wallAt, cut }: LatestOptions) {
  /** A delete may have been made since this write was begun. */
  function mayBeDeleted({ key, startedAt }: WriteAttempt): boolean {
    return ledger.writesOf(key).some(({ kind, outcome, endedAt = Number.POSITIVE_INFINITY }) => {
      return kind === 'delete' && outcome !== 'not applied' && (outcome !== 'acknowledged' || endedAt >= startedAt);
    });
  }

  return {
    answered({ key, siblings, known, where }: LatestRead): void {
      if (siblings.length > 1) throw new Violation('last writer', `${where} shows ${siblings.length} values`);
      const [shown] = siblings;
      for (const write of known) {
        if (shown !== undefined && contains(write.context, parseDot(shown.dot) as Dot) && !cut(key))
          throw new Violation('P4', `${where} shows ${shown.dot}, which ${describe(write)} covered`, 'resurrected');
        const { writtenAt } = shown ?? {};
        const isLater = writtenAt !== undefined && writtenAt.getTime() + toleranceMs >= wallAt(write.startedAt);
        if (isLater || (shown === undefined && (write.kind === 'delete' || mayBeDeleted(write)))) continue;
        const what = shown === undefined ? 'nothing' : `${shown.dot}, which is earlier,`;
        throw new Violation('P3', `${where} shows ${what} and must know ${describe(write)}`, 'lost');
      }
    },
  };
}
