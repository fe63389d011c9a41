/**
 * Where the last writer wins, a node in whose record a value met what beats it has that value in its ledger of losers.
 *
 * Looks at what nodes write to their disks, and at what their coordinators write upon: a beaten value may be replaced
 * before it is ever on a disk. Nothing is asked of what a crash may have taken since.
 */
import { printDot } from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../../services/core/versioning/record.ts';
import type { Ledger } from '../../oracle/ledger.ts';
import { Violation } from '../../oracle/violation.ts';
import type { Marks } from '../marks.ts';
import { beatenIn } from './last-writer.ts';

export interface LosersCheck {
  /** The node has, or had, this record. */
  held(node: string, key: string, record: KeyRecord): void;
  /** All dots in the ledger of the node. */
  listed(node: string, dots: ReadonlySet<string>): void;
}

export interface LosersOptions {
  readonly ledger: Ledger;
  readonly marks: Marks;
  crashesOf(node: string): number;
}

interface Lost {
  readonly key: string;
  readonly crashes: number;
}

export function createLosersCheck({ ledger, marks, crashesOf }: LosersOptions): LosersCheck {
  /** By node and dot. */
  const lostAt = new Map<string, Map<string, Lost>>();
  return {
    held(node, key, record) {
      for (const { loser, winner } of beatenIn(record)) {
        const lost = lostAt.get(node) ?? new Map<string, Lost>();
        lostAt.set(node, lost.set(printDot(loser.dot), { key, crashes: crashesOf(node) }));
        if (winner.contends === 'delete') marks.add('a delete beat a value that it had not seen');
        if (ledger.writerOf(key, loser.value)?.outcome === 'acknowledged')
          marks.add('an acknowledged value was beaten');
      }
    },
    listed(node, dots) {
      for (const [dot, { key, crashes }] of lostAt.get(node) ?? []) {
        if (dots.has(dot) || crashes < crashesOf(node)) continue;
        throw new Violation('last writer', `${dot} of ${key} was beaten at ${node}, and is not in its ledger`, 'lost');
      }
    },
  };
}
