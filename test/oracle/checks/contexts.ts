/**
 * What the contexts that clients get contain (P2, and docs/promises.md's second known trap): never a live value
 * that this client has not seen, or its next put would remove that value silently.
 *
 * A client has seen what was returned to it and what it wrote. Beyond that a context contains only the dots
 * of values that are gone: each replaced by some write that had seen it, or expired.
 */
import {
  type CausalContext,
  contains,
  type Dot,
  includes,
  parseDot,
} from '../../../services/core/versioning/causal-context.ts';
import { describe, type Ledger, mayBeHidden, type WriteAttempt } from '../ledger.ts';
import { Violation } from '../violation.ts';
import { knownIn } from './reads.ts';

export interface ContextAnswered {
  readonly key: string;
  readonly context: CausalContext;
  /** What the client had sent. */
  readonly sent: CausalContext;
  /** All that the client has seen on the way to this context. */
  readonly seen: ReadonlySet<WriteAttempt>;
  /** Of a put or a delete: its own dot. */
  readonly dot?: string;
  /** What has expired by then is gone too; not given where nothing expires. */
  readonly now?: number;
  /** It may cover values that were hidden from the client: the last writer wins. */
  readonly hides?: boolean;
  readonly where: string;
}

export function checkContext(
  ledger: Ledger,
  { key, context, sent, seen, dot, now = 0, hides = false, where }: ContextAnswered,
): void {
  if (!includes(context, sent))
    throw new Violation('P7', `the context that ${where} answered lacks some of the one sent`);
  if (dot !== undefined && !contains(context, parseDot(dot) as Dot)) {
    throw new Violation('P2', `the context that ${where} answered lacks its own dot ${dot}`);
  }
  if (hides) return;
  for (const write of knownIn(context, ledger.writesOf(key))) {
    if (write.kind === 'delete' || seen.has(write) || write.replacedBy.size > 0 || mayBeHidden(write, now)) continue;
    const message = `the context that ${where} answered covers ${describe(write)}, which its client has not seen`;
    throw new Violation('P2', `${message} and nothing has replaced: its next put would remove it silently`);
  }
}
