/**
 * A real client (client/) under observation: each of its operations goes into the ledger and the history, and each
 * answer to the checks. The counterpart of test/sim/client.ts.
 *
 * Owns nothing but that: what to do next is the workload's.
 */
import { type CartwheelClient, OperationFailed, type PutAnswer } from '../../client/index.ts';
import { checkContext } from '../oracle/checks/contexts.ts';
import { type Copy, describe, type WriteAttempt } from '../oracle/ledger.ts';
import { Violation } from '../oracle/violation.ts';
import { lastWriterWins, namespaceOf } from '../sim/keys.ts';
import { type Counts, countOne } from './counts.ts';
import type { History } from './history.ts';
import type { Oracle } from './oracle.ts';
import type { Violations } from './violations.ts';

/** A context, and what its client had seen when it got it. */
export interface Token {
  readonly bytes: Buffer;
  readonly seen: ReadonlySet<WriteAttempt>;
}

export interface ReadResult {
  readonly token: Token;
  readonly values: readonly Uint8Array[];
  readonly divergent: boolean;
}

export interface WriteOptions {
  readonly token?: Token | undefined;
  readonly w?: number | undefined;
  readonly timeoutMs: number;
  /** How often it is tried again while its outcome is unknown. */
  readonly retries?: number;
  readonly item?: string | undefined;
  readonly items?: readonly string[];
}

export interface ObservedClient {
  /** Undefined where the read failed. */
  get(
    key: string,
    options: { readonly r?: number | undefined; readonly timeoutMs: number },
  ): Promise<ReadResult | undefined>;
  /** Undefined where it was not acknowledged. */
  put(key: string, options: WriteOptions): Promise<Token | undefined>;
  delete(key: string, options: WriteOptions & { readonly token: Token }): Promise<Token | undefined>;
}

export interface ObservedClientOptions {
  readonly name: string;
  readonly client: CartwheelClient;
  /** N, and what writes ask for that name no W. */
  readonly replicas: number;
  readonly oracle: Oracle;
  readonly history: History;
  readonly counts: Counts;
  readonly violations: Violations;
  /** Ids of nodes whose disks are gone; undefined: none will be. */
  readonly lostDisks: ReadonlySet<string> | undefined;
  now(): number;
  newRequestId(): Buffer;
}

export const emptyToken: Token = { bytes: Buffer.alloc(0), seen: new Set() };

export function observe(options: ObservedClientOptions): ObservedClient {
  const { name, client, replicas, oracle, history, counts, violations, lostDisks, now, newRequestId } = options;
  const { ledger } = oracle;
  const majority = Math.floor(replicas / 2) + 1;

  /** What failed, unless it is a bug: of the server, which is a violation, or of ours. */
  function failureOf(error: unknown, key: string): OperationFailed {
    if (!(error instanceof OperationFailed)) throw error;
    countOne(counts.failures, error.reason);
    if (error.reason === 'INTERNAL' || error.reason.endsWith('INVALID')) {
      const message = `an operation on ${key} was answered ${error.reason}: ${error.message}`;
      violations.add(key, new Violation('no bug', message));
    }
    return error;
  }

  async function write(kind: 'put' | 'delete', key: string, options: WriteOptions): Promise<Token | undefined> {
    const { token = emptyToken, w, timeoutMs, retries = 0, item, items = [] } = options;
    const requestId = newRequestId();
    const namespace = namespaceOf(key);
    const attempt = ledger.begin({
      ...{ kind, key, client: name, w: w ?? majority, requestId, replaces: token.seen, item, items },
      context: oracle.contextOf(key, token.bytes),
      startedAt: now(),
    });
    history.note(name, `${kind} #${attempt.number}`, key, `w=${w ?? '-'}`);
    let mayBeApplied = false;
    for (let tried = 0; ; tried++) {
      try {
        const answer =
          attempt.value === undefined
            ? await client.delete(key, token.bytes, { namespace, w, requestId, attempt: tried, timeoutMs })
            : await client.put(key, attempt.value, {
                ...{ namespace, context: token.bytes, w, requestId, attempt: tried, timeoutMs },
              });
        return acknowledged(attempt, token, answer);
      } catch (error) {
        const failure = failureOf(error, key);
        const dot = failure.receipt?.dot ?? '';
        if (dot !== '') violations.attempt(key, () => oracle.dots.named(dot, attempt, 'the receipt of a failure'));
        mayBeApplied ||= failure.outcome === 'UNKNOWN';
        history.note(name, `${kind} failed #${attempt.number}`, key, `${failure.reason} ${failure.outcome} ${dot}`);
        if (tried >= retries || !mayBeApplied) break;
      }
    }
    ledger.end(attempt, mayBeApplied ? 'unknown' : 'not applied', now());
    counts[mayBeApplied ? 'unknown' : 'notApplied']++;
    if (!mayBeApplied && attempt.dots.size > 0) {
      violations.add(key, new Violation('P5', `${describe(attempt)} was said to be not applied`, 'unexplained'));
    }
    return undefined;
  }

  function acknowledged(attempt: WriteAttempt, sent: Token, { context: bytes, receipt }: PutAnswer): Token {
    const { key, kind } = attempt;
    const { dot, acks, pendingMissed } = receipt;
    const where = `the answer to ${kind} #${attempt.number} of ${name}`;
    const homed = acks.filter(({ durable, hintedFor, pending }) => durable && hintedFor === '' && !pending).length;
    const homes = homed - pendingMissed.length;
    ledger.end(attempt, 'acknowledged', now(), homes, lostDisks && copiesOf(receipt, lostDisks));
    counts.acknowledged++;
    history.note(name, `${kind} done #${attempt.number}`, key, `${dot} on ${homes} homes of ${acks.length} replicas`);
    const seen = new Set([...sent.seen, attempt]);
    violations.attempt(key, () => {
      if (acks.length < attempt.w) throw new Violation('P1', `${where} rests on ${acks.length} replicas`);
      oracle.dots.named(dot, attempt, where);
      if (attempt.dots.size === 2) counts.retried++;
      const context = oracle.contextOf(key, bytes);
      checkContext(ledger, { key, context, sent: attempt.context, seen, dot, hides: lastWriterWins(key), where });
    });
    return { bytes, seen };
  }

  return {
    async get(key, { r, timeoutMs }) {
      const startedAt = now();
      try {
        const { siblings, context, certificate } = await client.get(key, { namespace: namespaceOf(key), r, timeoutMs });
        const where = `a get of ${key} by ${name} at ${(startedAt / 1000).toFixed(3)} s`;
        const homes = certificate.homesAnswered;
        counts.reads++;
        history.note(
          name,
          'got',
          key,
          `${siblings.map(({ dot, value }) => `${shown(value)}=${dot}`)} of ${homes} homes`,
        );
        let seen = new Set<WriteAttempt>();
        violations.attempt(key, () => {
          seen = oracle.reads.answered({ key, r: homes, startedAt, siblings, where });
          const newContext = oracle.contextOf(key, context);
          checkContext(ledger, { key, context: newContext, sent: [], seen, hides: lastWriterWins(key), where });
        });
        const token = { bytes: context, seen };
        return { token, values: siblings.map(({ value }) => value), divergent: certificate.divergent };
      } catch (error) {
        const failure = failureOf(error, key);
        counts.readsFailed++;
        history.note(name, 'get failed', key, failure.reason);
        return undefined;
      }
    },
    put: (key, put) => write('put', key, put),
    delete: (key, remove) => write('delete', key, remove),
  };
}

function copiesOf({ acks, pendingMissed }: PutAnswer['receipt'], lostDisks: ReadonlySet<string>): readonly Copy[] {
  const copies = acks.map(({ nodeId, durable, hintedFor, pending }) => ({
    isHome: durable && hintedFor === '' && !pending,
    isPending: pending,
    // A fallback may have given it to its home, and the home may have lost it.
    isLost: () => lostDisks.has(nodeId) || lostDisks.has(hintedFor),
  }));
  const missed = pendingMissed.map(() => ({ isHome: false, isPending: true, isLost: () => true }));
  return [...copies, ...missed];
}

/** The number of its write. */
function shown(value: Buffer): string {
  const text = value.toString();
  return text.slice(0, text.indexOf('\n') === -1 ? undefined : text.indexOf('\n'));
}
