/** The session pool that dispatch.ts wants, over a simulated wire: messages as kv.proto has them. */
import { type Operation, Result, SessionRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, Cancelling, neverCancelled } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import { ageOf } from '../../services/core/remote-clock.ts';
import type { SessionPool } from '../../services/platform/routing/session-pool.ts';
import type { Oracle } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import { ConnectionLost, type Wire } from './wire.ts';

export interface SimulatedPoolOptions {
  readonly wire: Wire;
  /** Whoever sends is a storage node that sends an operation on. */
  readonly forwarded: boolean;
  readonly scheduler: Pick<Scheduler, 'now'>;
  readonly oracle: Pick<Oracle, 'asked'>;
  /** For ids of operations. */
  readonly random: SeededRandom;
  after(ms: number, run: () => void): () => void;
}

/** Addresses are names of nodes. */
export function createSimulatedPool(options: SimulatedPoolOptions): Pick<SessionPool, 'ready' | 'send'> {
  const { wire, forwarded, scheduler, oracle, random, after } = options;
  const overdue = new Set<string>();

  /** It has no answer; it may be lost, or overtake what it cancels. */
  function cancel(address: string, targetId: bigint): void {
    const operations = [{ id: newId(random, forwarded), timeoutMs: 0, cancel: { targetId } }];
    const request = { hello: undefined, operations, sentAtMs: scheduler.now() };
    wire.call(address, 'session', SessionRequest.encode(request).finish()).catch(() => {});
  }

  return {
    ready: (address) => wire.up(address) && !overdue.has(address),
    send(address, body, patienceMs, cancellation = neverCancelled) {
      if (cancellation.cancelled) return Promise.resolve(new Cancelled('NOT_APPLIED'));
      const id = newId(random, forwarded);
      const sentAtMs = scheduler.now();
      const request = { hello: undefined, operations: [{ ...body, id, cancel: undefined }], sentAtMs };
      const requestId = body.put?.requestId;
      if (requestId !== undefined) oracle.asked(address, requestId, id, sentAtMs + patienceMs);
      return new Promise((resolve, reject) => {
        const cancelAlarm = after(patienceMs, () => {
          overdue.add(address);
          resolve(new Failure('DEADLINE', `no answer from ${address}`, { outcome: 'UNKNOWN' }));
        });
        const forget = cancellation.onCancel(() => {
          resolve(new Cancelled('UNKNOWN'));
          cancel(address, id);
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
          .finally(() => {
            cancelAlarm();
            forget();
          });
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
export function isForwarded(id: bigint): boolean {
  return (id & 1n) === 1n;
}

function newId(random: SeededRandom, forwarded: boolean): bigint {
  return ((random.u64() << 1n) % 2n ** 64n) | (forwarded ? 1n : 0n);
}

/** The operations of one end that are under way there. */
export interface UnderWay {
  /** Undefined for what is a cancel itself, and is done with that. */
  begin(operation: Operation): Cancelling | undefined;
  end(id: bigint): void;
}

/** `onCancel` is told of each that is cancelled while it is under way. */
export function createUnderWay(onCancel: (operation: Operation) => void = () => {}): UnderWay {
  const underWay = new Map<bigint, { readonly operation: Operation; readonly cancelling: Cancelling }>();
  return {
    begin(operation) {
      const { id, cancel } = operation;
      if (cancel !== undefined) {
        const target = underWay.get(cancel.targetId);
        target?.cancelling.cancel();
        if (target !== undefined) onCancel(target.operation);
        return undefined;
      }
      const cancelling = new Cancelling();
      underWay.set(id, { operation, cancelling });
      return cancelling;
    },
    end: (id) => void underWay.delete(id),
  };
}
