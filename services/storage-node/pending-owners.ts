/**
 * A write on its way to the nodes that are pending for its partition: those that take it over, or have just given it up.
 *
 * They do not count among the W. The write waits for them all the same, as long as they are not silent, because each
 * that has not got it takes one off the homes that the write rests on (docs/ring-changes.md).
 */
import type { ReplicaAck } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Alarm } from '../core/deadlines.ts';
import type { ReplicaWriteMessage } from '../core/quorum/peers.ts';
import type { Place, StorageNode } from './node.ts';

export interface PendingWrites {
  /** Resolves when each has acknowledged it, failed or become silent, or at the deadline. Never rejects. */
  readonly settled: Promise<unknown>;
  /** Resolves when each has acknowledged it or failed. */
  readonly over: Promise<unknown>;
  acks(durable: boolean): readonly ReplicaAck[];
  /** Ids of those that have not acknowledged it, so far. */
  missed(): string[];
}

const nothingPending: PendingWrites = {
  settled: Promise.resolve(),
  over: Promise.resolve(),
  acks: () => [],
  missed: () => [],
};

export function writeToPending(
  node: StorageNode,
  { pending }: Place,
  message: Omit<ReplicaWriteMessage, 'hintedFor' | 'onSilent'>,
): PendingWrites {
  if (pending.length === 0) return nothingPending;
  const { deadlines, peers, metrics } = node;
  // What the coordinator itself keeps it need not be sent.
  const acknowledged = new Set(pending.flatMap(({ id }) => (id === node.id ? [id] : [])));
  const others = pending.filter(({ id }) => id !== node.id && peers.reachable(id));
  const alarms: Alarm[] = [];
  const sent = others.map(({ id }) => {
    const { promise: silence, resolve: onSilent } = Promise.withResolvers<void>();
    alarms.push(deadlines.set(message.deadline, onSilent));
    const over = peers
      .replica(id)
      .write({ ...message, hintedFor: '', onSilent })
      .then(
        () => void acknowledged.add(id),
        (error: unknown) => metrics.replicaFailed(id, 'write', error),
      );
    return { over, settled: Promise.race([over, silence]) };
  });
  const settled = Promise.all(sent.map((one) => one.settled)).then(() => {
    for (const alarm of alarms) alarm.cancel();
  });
  return {
    settled,
    over: Promise.all(sent.map(({ over }) => over)),
    acks: (durable) =>
      pending
        .filter(({ id }) => acknowledged.has(id))
        .map(({ id, zone }) => ({ nodeId: id, zone, durable, hintedFor: '', pending: true })),
    missed: () => pending.flatMap(({ id }) => (acknowledged.has(id) ? [] : [id])),
  };
}
