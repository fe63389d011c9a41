import type { Receipt } from '../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure, type OutcomeName, type ReasonName } from '../services/core/failure.ts';
import { reasonCode } from '../services/platform/errors.ts';

/** An operation that was not answered OK. */
export class OperationFailed extends Error {
  /** By the names of kv.proto, without REASON_. */
  readonly reason: ReasonName;
  /** The gRPC status code. */
  readonly code: number;
  /** NOT_APPLIED: nothing was written. UNKNOWN: send it again with the same request id to be sure. */
  readonly outcome: OutcomeName;
  /** Of the request, where one of its fields was wrong; else empty. */
  readonly field: string;
  /** 0 where the server named none. */
  readonly retryAfterMs: number;
  /** What a write had reached when it failed. */
  readonly receipt: Receipt | undefined;

  constructor(failure: Failure) {
    super(failure.message, { cause: failure });
    this.name = 'OperationFailed';
    this.reason = failure.reason;
    this.code = reasonCode(failure.reason, failure.outcome);
    this.outcome = failure.outcome;
    this.field = failure.details.field ?? '';
    this.retryAfterMs = failure.details.retryAfterMs ?? 0;
    this.receipt = failure.details.receipt;
  }
}

/** A Failure as callers of the client see it; what is none stays what it is. */
export function failed(error: unknown): unknown {
  return error instanceof Failure ? new OperationFailed(error) : error;
}

/** What `run` returns; its Failure becomes that. */
export function asFailed<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw failed(error);
  }
}
