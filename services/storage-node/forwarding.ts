/**
 * Sends operations on to other storage nodes, over one Session stream each, opened at first need, and given up when the node
 * leaves the ring, or has another address there.
 */
import { Failure } from '../core/failure.ts';
import type { Clock, Random, Tracing } from '../core/ports.ts';
import { addressesOf, nodeById } from '../core/ring/ring.ts';
import type { RingSource } from '../platform/ring-source.ts';
import { createSessionPool } from '../platform/routing/session-pool.ts';
import { tracedPool } from '../platform/tracing/traced.ts';
import type { Forward } from './operations.ts';

export interface Forwarding {
  readonly forward: Forward;
  close(): void;
}

export function createForwarding(
  rings: RingSource,
  clock: Clock,
  random: Random,
  nodeId: string,
  tracing: Tracing | undefined,
): Forwarding {
  const sessions = createSessionPool({
    name: `storage-node/${nodeId}`,
    clock,
    random,
    hop: 'forwarded',
    ring: () => rings.current(),
  });
  const unsubscribe = rings.subscribe((ring) => sessions.keepOnly(addressesOf(ring)));
  const pool = tracing === undefined ? sessions : tracedPool(sessions, tracing);
  return {
    async forward(to, operation, { deadline, cancellation }) {
      const ring = rings.current();
      const node = ring && nodeById(ring, to);
      if (node === undefined) throw new Failure('NOT_ENOUGH_REPLICAS', `node ${to} has left the ring`);
      const timeoutMs = Math.max(1, Math.ceil(deadline - clock.now()));
      const answer = await pool.send(node.address, { ...operation, timeoutMs }, timeoutMs, cancellation);
      if (answer instanceof Failure) throw answer;
      return answer;
    },
    close() {
      unsubscribe();
      pool.close();
    },
  };
}
