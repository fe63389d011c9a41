/**
 * Failures and their forms on the wire: Failure (core) ↔ OperationError (kv.proto) ↔ gRPC status with the
 * OperationError in the binary trailer.
 *
 * It knows nothing of what the failures mean; who decides between them is whoever throws one.
 *
 * I1 Every reason has exactly one gRPC code (two for NOT_ENOUGH_REPLICAS, by outcome), the one that kv.proto names.
 * I2 Whatever is not a Failure is a bug: it gets a random id, which the answer and the log both have, and its
 *    own text never leaves the process.
 */
import { randomBytes } from 'node:crypto';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { OperationError, Outcome, Reason } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Duration } from '../../proto/gen/google/protobuf/duration.ts';
import { Failure, type FailureDetails, type OutcomeName, type ReasonName } from '../core/failure.ts';
import type { Log } from '../core/ports.ts';

/** The trailer that carries an OperationError beside a unary status. */
export const ERROR_TRAILER = 'cartwheel-error-bin';

/** Characters of a message that are sent; HTTP/2 peers refuse header blocks of more than 8 to 16 KiB. */
const MAX_MESSAGE_CHARACTERS = 1_024;

/** What a gRPC server is that does not know our key/value service, such as a membership process. */
export const servesNoKeys = 'it is not a router or storage node';

const CODES: Readonly<Record<ReasonName, status>> = {
  KEY_EMPTY: status.INVALID_ARGUMENT,
  KEY_TOO_LARGE: status.INVALID_ARGUMENT,
  VALUE_TOO_LARGE: status.INVALID_ARGUMENT,
  QUORUM_INVALID: status.INVALID_ARGUMENT,
  CONTEXT_INVALID: status.INVALID_ARGUMENT,
  CONTEXT_REQUIRED: status.INVALID_ARGUMENT,
  NAMESPACE_INVALID: status.INVALID_ARGUMENT,
  DURABILITY_INVALID: status.INVALID_ARGUMENT,
  REQUEST_ID_TOO_LONG: status.INVALID_ARGUMENT,
  TTL_INVALID: status.INVALID_ARGUMENT,
  PAGE_TOKEN_INVALID: status.INVALID_ARGUMENT,
  OPERATION_INVALID: status.INVALID_ARGUMENT,
  NAMESPACE_UNKNOWN: status.NOT_FOUND,
  REQUEST_ID_REUSED: status.FAILED_PRECONDITION,
  PLACEMENT_IMPOSSIBLE: status.FAILED_PRECONDITION,
  PLACEMENT_UNMET: status.ABORTED,
  NOT_ENOUGH_REPLICAS: status.UNAVAILABLE,
  DEADLINE: status.DEADLINE_EXCEEDED,
  OVERLOADED: status.RESOURCE_EXHAUSTED,
  DRAINING: status.UNAVAILABLE,
  NO_RING: status.UNAVAILABLE,
  STORAGE_FAILED: status.INTERNAL,
  NOT_IMPLEMENTED: status.UNIMPLEMENTED,
  INTERNAL: status.INTERNAL,
  NAMESPACE_EXISTS: status.ALREADY_EXISTS,
  NAMESPACE_CONFLICT: status.FAILED_PRECONDITION,
  CHANGE_IMPOSSIBLE: status.FAILED_PRECONDITION,
  CHANGE_CONFLICT: status.FAILED_PRECONDITION,
};

export const reasonNames = Object.keys(CODES) as readonly ReasonName[];

const REASON_NAMES: ReadonlyMap<number, ReasonName> = new Map(reasonNames.map((name) => [Reason[name], name]));

/** The gRPC status code of a reason. */
export function reasonCode(reason: ReasonName, outcome: OutcomeName): status {
  if (reason === 'NOT_ENOUGH_REPLICAS' && outcome === 'UNKNOWN') return status.ABORTED;
  return CODES[reason];
}

/** Makes a Failure of whatever was thrown; what is not one already is logged under a new random id. */
export function asFailure(thrown: unknown, log: Log): Failure {
  if (thrown instanceof Failure) return thrown;
  const id = randomBytes(8).toString('hex');
  log.error({ id, err: thrown }, 'a request failed in a way that nobody expected');
  return new Failure('INTERNAL', `internal error ${id}; the server's log has it under this id`, { outcome: 'UNKNOWN' });
}

export function toOperationError(failure: Failure): OperationError {
  const { field, retryAfterMs, receipt } = failure.details;
  return {
    code: reasonCode(failure.reason, failure.outcome),
    reason: Reason[failure.reason],
    message: sendable(failure.message),
    field: field ?? '',
    outcome: Outcome[failure.outcome],
    retryAfter: retryAfterMs === undefined ? undefined : toDuration(retryAfterMs),
    receipt,
    context: Buffer.alloc(0),
  };
}

/** A reason or outcome that this build does not know reads as INTERNAL, and as UNKNOWN. */
export function fromOperationError(error: OperationError): Failure {
  const reason = REASON_NAMES.get(error.reason);
  const details: FailureDetails = {
    outcome: error.outcome === Outcome.NOT_APPLIED ? 'NOT_APPLIED' : 'UNKNOWN',
    ...(error.field !== '' && { field: error.field }),
    ...(error.retryAfter && { retryAfterMs: toMilliseconds(error.retryAfter) }),
    ...(error.receipt && { receipt: error.receipt }),
  };
  if (reason !== undefined) return new Failure(reason, error.message, details);
  return new Failure('INTERNAL', `unknown reason ${error.reason}: ${error.message}`, details);
}

/** The failure as grpc-js takes it in a callback or an `error` event. */
export function toServiceError(failure: Failure): ServiceError {
  const error = toOperationError(failure);
  const metadata = new Metadata();
  metadata.set(ERROR_TRAILER, Buffer.from(OperationError.encode(error).finish()));
  return Object.assign(new Error(error.message), { code: error.code, details: error.message, metadata });
}

/**
 * What a failed call to `address` says. Without a readable trailer the transport or a stranger answered, and whether
 * the request arrived is not known, except where the status itself says that it was not taken. What gRPC says of its
 * connections is in the cause, and not in the message, which a person reads.
 */
export function fromServiceError(error: ServiceError, address: string): Failure {
  const trailer = error.metadata?.get(ERROR_TRAILER)[0];
  if (trailer instanceof Uint8Array) {
    try {
      return fromOperationError(OperationError.decode(trailer));
    } catch {
      // A trailer that does not decode says less than the status.
    }
  }
  const said = `${address} answered ${status[error.code] ?? error.code}: ${error.details}`;
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return failureBecause(error, 'DEADLINE', `no answer from ${address} in time`);
    case status.RESOURCE_EXHAUSTED:
      return failureBecause(error, 'OVERLOADED', said);
    case status.UNAVAILABLE:
      return failureBecause(error, 'NOT_ENOUGH_REPLICAS', `no answer from ${address}: ${connectionProblem(error)}`);
    case status.UNIMPLEMENTED:
      return failureBecause(error, 'NOT_IMPLEMENTED', said, 'NOT_APPLIED');
    default:
      return failureBecause(error, 'INTERNAL', said);
  }
}

function failureBecause(
  cause: ServiceError,
  reason: ReasonName,
  message: string,
  outcome: OutcomeName = 'UNKNOWN',
): Failure {
  return Object.assign(new Failure(reason, message, { outcome }), { cause });
}

/** grpc-js begins so where no connection came about; all else happened to one that had. */
function connectionProblem({ details }: ServiceError): string {
  return details.startsWith('No connection established') ? 'it cannot be reached' : 'the connection was lost';
}

/** grpc-js percent-encodes the message and throws on half a surrogate pair. */
function sendable(message: string): string {
  const text = message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)}…` : message;
  return text.toWellFormed();
}

function toDuration(milliseconds: number): Duration {
  const whole = Math.max(0, Math.floor(milliseconds));
  return { seconds: BigInt(Math.floor(whole / 1_000)), nanos: (whole % 1_000) * 1_000_000 };
}

function toMilliseconds(duration: Duration): number {
  return Number(duration.seconds) * 1_000 + Math.floor(duration.nanos / 1_000_000);
}
