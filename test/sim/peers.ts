/** The port Peers over a simulated wire: replica operations as the frames of replica.proto, one in each. */
import { ReplicaStatus, ReplicateRequest, ReplicateResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../../services/core/failure.ts';
import type { Clock } from '../../services/core/ports.ts';
import type { Peers, Replica } from '../../services/core/quorum/peers.ts';
import { ConnectionLost, type Wire } from './wire.ts';

const id = 1;

export function createSimulatedPeers(wire: Wire, clock: Pick<Clock, 'now'>): Peers {
  const leftOf = (deadline: number) => Math.max(1, Math.ceil(deadline - clock.now()));

  async function ask(to: string, request: ReplicateRequest, duplicable: boolean): Promise<Buffer> {
    const bytes = ReplicateRequest.encode(request).finish();
    let answer: Uint8Array;
    try {
      answer = await wire.call(to, 'replica', bytes, duplicable);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      throw new Failure('NOT_ENOUGH_REPLICAS', error.message, { outcome: 'UNKNOWN' });
    }
    const [result] = ReplicateResponse.decode(answer).results;
    if (result?.status === ReplicaStatus.OK) return result.record;
    throw new Failure('STORAGE_FAILED', `node ${to}: ${result?.message}`, { outcome: 'UNKNOWN' });
  }

  function replicaOn(to: string): Replica {
    return {
      async write({ key, record, sync, deadline }) {
        const write = {
          id,
          key: Buffer.from(key),
          record: Buffer.from(record),
          sync,
          timeoutMs: leftOf(deadline),
          more: false,
        };
        await ask(to, { hello: undefined, writes: [write], reads: [] }, true);
      },
      async read({ key, deadline }) {
        const read = { id, key: Buffer.from(key), timeoutMs: leftOf(deadline) };
        const record = await ask(to, { hello: undefined, writes: [], reads: [read] }, false);
        return record.length === 0 ? undefined : record;
      },
      scan: () => Promise.reject(new Failure('NOT_IMPLEMENTED', 'the simulation lists no keys')),
    };
  }

  return { reachable: (nodeId) => wire.up(nodeId), replica: replicaOn };
}

/** The other end: one frame, run on the replica, answered as replica-service.ts does. */
export async function serveReplica(
  replica: Replica,
  clock: Pick<Clock, 'now'>,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const { writes, reads } = ReplicateRequest.decode(bytes);
  const [write] = writes;
  const [read] = reads;
  let record: Uint8Array | undefined;
  let status: ReplicaStatus = ReplicaStatus.OK;
  let message = '';
  try {
    if (write !== undefined) await replica.write({ ...write, deadline: clock.now() + write.timeoutMs });
    else if (read !== undefined) record = await replica.read({ ...read, deadline: clock.now() + read.timeoutMs });
  } catch (error) {
    status = ReplicaStatus.FAILED;
    message = error instanceof Error ? error.message : String(error);
  }
  const result = { id, status, record: Buffer.from(record ?? []), message, more: false };
  return ReplicateResponse.encode({ welcome: undefined, results: [result] }).finish();
}
