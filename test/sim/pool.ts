/** The session pool that dispatch.ts wants, over a simulated wire: operations and results as kv.proto has them. */
import { Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import type { SessionPool } from '../../services/platform/routing/session-pool.ts';
import { ConnectionLost, type Wire } from './wire.ts';

/** Addresses are names of nodes. `forwarded`: whoever sends is a storage node that sends an operation on. */
export function createSimulatedPool(wire: Wire, forwarded: boolean): Pick<SessionPool, 'ready' | 'send'> {
  return {
    ready: (address) => wire.up(address),
    async send(address, body) {
      const bytes = Operation.encode({ ...body, id: forwarded ? forwardedId : directId, cancel: undefined }).finish();
      try {
        return Result.decode(await wire.call(address, 'session', bytes));
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        return new Failure('NOT_ENOUGH_REPLICAS', error.message, { outcome: error.sent ? 'UNKNOWN' : 'NOT_APPLIED' });
      }
    },
  };
}

/** Sessions carry this in their metadata; here the operation's id tells. */
export const directId = 1n;
export const forwardedId = 2n;
