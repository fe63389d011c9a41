/**
 * One operation, sent to one of several processes that can run it, and to the next one when that is gone.
 *
 * I1 Every attempt of a write carries the same request id, so that two attempts that both arrive are one write.
 * I2 Each process is tried at most once, in the order given: the ready ones before the others.
 * I3 A process that does not answer gets its share of the time that is left, so that the others are tried too. It is
 *    told, and begins nothing later: a first attempt that were carried out after a second one was acknowledged could
 *    come after what others have written since.
 * I4 Attempts beyond the first are bound to a share of all operations (core/quorum/extra-budget.ts): where most fail,
 *    trying each one everywhere would keep them failing.
 * I5 A failure that is passed on says NOT_APPLIED only if no attempt can have been applied.
 * I6 What a process answered is passed on before what befell the way to another. Once one has answered that too
 *    few replicas are there, only those that are ready are tried: waiting for the connection to another, most
 *    likely one of the missing, would keep the answer, with its numbers, from the client.
 */
import type { OperationError, PutRequest, Result } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Until } from '../../core/cancellation.ts';
import { Failure, type ReasonName } from '../../core/failure.ts';
import type { Clock } from '../../core/ports.ts';
import type { ExtraBudget } from '../../core/quorum/extra-budget.ts';
import { fromOperationError } from '../errors.ts';
import type { OperationBody } from '../streams/session-client.ts';
import type { SessionPool } from './session-pool.ts';

export interface DispatchPorts {
  readonly pool: Pick<SessionPool, 'ready' | 'send'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly extra: ExtraBudget;
  /** For writes whose client gave none. */
  newRequestId(): Buffer;
  /** A process was asked, the `attempt`th of the operation; the last one to be told of gave the answer. */
  onAttempt?(address: string, attempt: number): void;
}

/** Another process may do better. `DEADLINE`: its share of the time is over, not the operation's. */
const worthAnotherTry: ReadonlySet<ReasonName> = new Set([
  'DEADLINE',
  'DRAINING',
  'NO_RING',
  'NOT_ENOUGH_REPLICAS',
  'STORAGE_FAILED',
]);

/** Second attempts that may be saved up: a session has at most so many operations in flight when its process ends. */
export const attemptsSavedMax = 1_024;

/** The last one asked knows the deadline itself, and says more about it than silence does. */
const answerGraceMs = 100;

/** Throws the Failure of the last attempt that was answered; of the last one where none was. */
export async function dispatch(
  { pool, clock, extra, newRequestId, onAttempt }: DispatchPorts,
  addresses: readonly string[],
  operation: OperationBody,
  { deadline, cancellation }: Until,
): Promise<Omit<Result, 'id' | 'error'>> {
  const body = withRequestId(operation, newRequestId);
  let failure: Failure | undefined;
  let answered = false;
  let readyOnly = false;
  let mayBeApplied = false;
  let attempt = 0;
  const candidates = readyFirst(addresses, pool);
  extra.earn();
  for (let i = 0; i < candidates.length; i++) {
    const address = candidates[i] as string;
    if (readyOnly && !pool.ready(address)) continue;
    const timeoutMs = Math.ceil(deadline - clock.now());
    if (timeoutMs <= 0) {
      failure = deadlinePassed(attempt, failure);
      break;
    }
    if (attempt > 0 && !extra.spend()) break;
    const isLast = i === candidates.length - 1;
    const share = Math.ceil(timeoutMs / (candidates.length - i));
    onAttempt?.(address, attempt);
    const patienceMs = isLast ? share + answerGraceMs : share;
    const answer = await pool.send(address, attemptOf(body, attempt, share), patienceMs, cancellation);
    if (!(answer instanceof Failure) && answer.error === undefined) return answer;
    const latest = answer instanceof Failure ? answer : fromOperationError(answer.error as OperationError);
    if (latest.outcome === 'UNKNOWN') mayBeApplied = true;
    if (!(answer instanceof Failure)) {
      failure = latest;
      answered = true;
      readyOnly ||= latest.reason === 'NOT_ENOUGH_REPLICAS';
    } else if (!answered) failure = latest;
    if (cancellation.cancelled || !worthAnotherTry.has(latest.reason)) break;
    attempt++;
  }
  failure ??= new Failure('NOT_ENOUGH_REPLICAS', 'there is no process to send the operation to');
  if (mayBeApplied && failure.outcome !== 'UNKNOWN') {
    throw new Failure(failure.reason, failure.message, { ...failure.details, outcome: 'UNKNOWN' });
  }
  throw failure;
}

/** Each once: two nodes of a ring have one address where one has taken the other's place. */
function readyFirst(addresses: readonly string[], pool: Pick<SessionPool, 'ready'>): readonly string[] {
  const order: string[] = [];
  for (const address of addresses) if (pool.ready(address) && !order.includes(address)) order.push(address);
  for (const address of addresses) if (!order.includes(address)) order.push(address);
  return order;
}

function deadlinePassed(attempts: number, last: Failure | undefined): Failure {
  if (last === undefined) return new Failure('DEADLINE', 'the deadline passed before anything was sent');
  const sent = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new Failure('DEADLINE', `the deadline passed after ${sent}; the last: ${last.message}`);
}

function withRequestId(operation: OperationBody, newRequestId: () => Buffer): OperationBody {
  const { put, delete: remove } = operation;
  if (put !== undefined && put.requestId.length === 0)
    return { ...operation, put: { ...put, requestId: newRequestId() } };
  if (remove !== undefined && remove.requestId.length === 0) {
    return { ...operation, delete: { ...remove, requestId: newRequestId() } };
  }
  return operation;
}

/** A client may have counted as far as the field goes; one more would end the stream, for all that are on it. */
const attemptMax = 2 ** 32 - 1;

function attemptOf(operation: OperationBody, attempt: number, timeoutMs: number): OperationBody {
  if (attempt === 0) return { ...operation, timeoutMs };
  const again = <R extends Pick<PutRequest, 'attempt'>>(write: R): R => ({
    ...write,
    attempt: Math.min(write.attempt + attempt, attemptMax),
  });
  const { put, delete: remove } = operation;
  return { ...operation, timeoutMs, put: put && again(put), delete: remove && again(remove) };
}
