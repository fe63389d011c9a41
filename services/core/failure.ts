import type { Reason as Reasons, Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';

/** The closed list of reasons of kv.proto, by name. */
export type ReasonName = Exclude<keyof typeof Reasons, 'UNSPECIFIED'>;

/** NOT_APPLIED: safe to send again as a new write. UNKNOWN: send again with the same request id. */
export type OutcomeName = 'NOT_APPLIED' | 'UNKNOWN';

export interface FailureDetails {
  /** Of the request, for the INVALID_ARGUMENT reasons. */
  readonly field?: string;
  readonly outcome?: OutcomeName;
  readonly retryAfterMs?: number;
  /** What a write had reached when it failed. */
  readonly receipt?: Receipt;
}

/**
 * An answer that is not OK: what the client gets as OperationError. Thrown by the functions that run an
 * operation, caught once, where the operation is answered. Anything else that is thrown is a bug, and
 * is answered as REASON_INTERNAL.
 */
export class Failure extends Error {
  readonly reason: ReasonName;
  readonly details: FailureDetails;

  constructor(reason: ReasonName, message: string, details: FailureDetails = {}) {
    super(message);
    this.name = 'Failure';
    this.reason = reason;
    this.details = details;
  }

  /** What became of a write; nothing happened unless the failure says otherwise. */
  get outcome(): OutcomeName {
    return this.details.outcome ?? 'NOT_APPLIED';
  }
}
