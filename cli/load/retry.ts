/** Trying again what may work later: with growing delays and jitter, for a bounded time. */
import { isOperationFailed } from '../connection.ts';
import { pause } from '../pause.ts';

const delayFirstMs = 20;
const delayLastMs = 2000;

/** gRPC codes that another attempt answers likewise: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, … */
const lastingCodes: ReadonlySet<number> = new Set([3, 5, 7, 9, 12, 16]);

export function isLasting(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code !== 'number' || lastingCodes.has(code);
}

/**
 * Runs `attempt`, told how often it was run before, until it succeeds, fails in a way that lasts, `retryForMs` have passed since the first failure,
 * or `signal` is aborted; then throws its last error. `onRetry` is told of each failure that is tried again.
 */
export async function withRetries<Answer>(
  attempt: (before: number) => Promise<Answer>,
  options: { retryForMs: number; signal: AbortSignal; onRetry: (error: unknown) => void },
): Promise<Answer> {
  let deadline = Number.POSITIVE_INFINITY;
  let delayMs = delayFirstMs;
  for (let before = 0; ; before++) {
    try {
      return await attempt(before);
    } catch (error) {
      const now = performance.now();
      if (deadline === Number.POSITIVE_INFINITY) deadline = now + options.retryForMs;
      const wait = Math.max(delayMs * (0.5 + Math.random()), isOperationFailed(error) ? error.retryAfterMs : 0);
      if (isLasting(error) || options.signal.aborted || now + wait > deadline) throw error;
      options.onRetry(error);
      await pause(wait, options.signal);
      delayMs = Math.min(delayMs * 2, delayLastMs);
    }
  }
}
