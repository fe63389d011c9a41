/** The session pool that dispatch.ts wants, over a simulated wire: messages as kv.proto has them. */
import { type Operation, Result, SessionRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { ageOf } from '../../services/core/remote-clock.ts';
import type { SessionPool } from '../../services/platform/routing/session-pool.ts';
import type { Oracle } from './oracle.ts';
import type { Scheduler } from './scheduler.ts';
import { ConnectionLost, type Wire } from './wire.ts';

export interface SimulatedPoolOptions {
  readonly wire: Wire;
  /** Whoever sends is a storage node that sends an operation on. */
  readonly forwarded: boolean;
  readonly scheduler: Pick<Scheduler, 'now'>;
  readonly oracle: Pick<Oracle, 'asked'>;
  after(ms: number, run: () => void): () => void;
}

/** Addresses are names of nodes. */
export function createSimulatedPool(options: SimulatedPoolOptions): Pick<SessionPool, 'ready' | 'send'> {
  const { wire, forwarded, scheduler, oracle, after } = options;
  const overdue = new Set<string>();
  return {
    ready: (address) => wire.up(address) && !overdue.has(address),
    send(address, body, patienceMs) {
      const id = forwarded ? forwardedId : directId;
      const sentAtMs = scheduler.now();
      const request = { hello: undefined, operations: [{ ...body, id, cancel: undefined }], sentAtMs };
      const requestId = body.put?.requestId;
      if (requestId !== undefined) oracle.asked(address, requestId, sentAtMs + patienceMs);
      return new Promise((resolve, reject) => {
        const cancelAlarm = after(patienceMs, () => {
          overdue.add(address);
          resolve(new Failure('DEADLINE', `no answer from ${address}`, { outcome: 'UNKNOWN' }));
        });
        wire
          .call(address, 'session', SessionRequest.encode(request).finish())
          .then((answer) => {
            overdue.delete(address);
            resolve(Result.decode(answer));
          })
          .catch((error) => {
            if (!(error instanceof ConnectionLost)) return reject(error);
            const outcome = error.sent ? 'UNKNOWN' : 'NOT_APPLIED';
            resolve(new Failure('NOT_ENOUGH_REPLICAS', error.message, { outcome }));
          })
          .finally(cancelAlarm);
      });
    },
  };
}

/** What a message of such a pool asks for, and how long it was on its way. */
export function receive(bytes: Uint8Array, now: number): { readonly operation: Operation; readonly ageMs: number } {
  const { operations, sentAtMs } = SessionRequest.decode(bytes);
  return { operation: operations[0] as Operation, ageMs: ageOf(sentAtMs, now) };
}

/** Sessions carry this in their metadata; here the operation's id tells. */
const directId = 1n;
export const forwardedId = 2n;
