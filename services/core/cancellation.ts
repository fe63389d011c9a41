/**
 * Whether anybody still waits for an operation. An AbortSignal says the same, and costs an EventTarget for each
 * operation; most are never cancelled.
 */
import { Failure, type OutcomeName } from './failure.ts';

export interface Cancellation {
  readonly cancelled: boolean;
  /** Calls `run` once it is cancelled: now, where it is already. Returns what forgets `run`. */
  onCancel(run: () => void): () => void;
}

/** How long an operation is waited for: whichever comes first. */
export interface Until {
  /** On the monotonic clock. */
  readonly deadline: number;
  readonly cancellation: Cancellation;
}

/** What its client has no way to cancel. */
export const neverCancelled: Cancellation = { cancelled: false, onCancel: () => () => {} };

/** The side that cancels. */
export class Cancelling implements Cancellation {
  #cancelled = false;
  #listeners: (() => void)[] = [];

  get cancelled(): boolean {
    return this.#cancelled;
  }

  onCancel(run: () => void): () => void {
    if (this.#cancelled) run();
    else this.#listeners.push(run);
    return () => {
      this.#listeners = this.#listeners.filter((listener) => listener !== run);
    };
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const run of listeners) run();
  }
}

/** How the work for an operation ends that nobody waits for. Its client has had its answer, and sees none of this. */
export class Cancelled extends Failure {
  constructor(outcome: OutcomeName) {
    super('DEADLINE', 'nobody waits for the operation any more', { outcome });
    this.name = 'Cancelled';
  }
}
