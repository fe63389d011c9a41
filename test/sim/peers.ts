/**
 * The port Peers over a simulated wire: replica operations as the frames of replica.proto, one in each. Whom to ask
 * is decided as in services/platform/streams/peers.ts: by the connection, and by who is silent.
 */
import {
  ExchangeRequest,
  ExchangeResponse,
  ReplicaStatus,
  ReplicateRequest,
  ReplicateResponse,
} from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../../services/core/failure.ts';
import type { Clock } from '../../services/core/ports.ts';
import { digestOfKnown, isKnown } from '../../services/core/quorum/known-record.ts';
import { createPeerHealth, lookEveryMs, type PeerHealth } from '../../services/core/quorum/peer-health.ts';
import {
  EraMoved,
  LeftBehind,
  type Peers,
  type Replica,
  type ReplicaCopyReport,
  type ReplicaInspectMessage,
  RingMoved,
} from '../../services/core/quorum/peers.ts';
import { epochOfParts, partsOfEpoch } from '../../services/core/ring/ring.ts';
import { parseDot, printDot } from '../../services/core/versioning/causal-context.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { wireVersion } from '../../services/platform/streams/handshake.ts';
import { requestOf } from '../../services/platform/streams/replica-service.ts';
import type { Marks } from './marks.ts';
import { ConnectionLost, type Wire } from './wire.ts';

const id = 1;
const noBytes = new Uint8Array(0);

interface Peer {
  readonly health: PeerHealth;
  /** What is not answered: whom to tell that the node is silent. */
  readonly waiting: Set<() => void>;
  cancelLook: (() => void) | undefined;
}

export function createSimulatedPeers(
  self: string,
  wire: Wire,
  clock: Pick<Clock, 'now' | 'after'>,
  jitter: () => number,
  marks: Marks,
): Peers {
  const peers = new Map<string, Peer>();
  const listeners = new Set<(nodeId: string) => void>();
  const leftOf = (deadline: number) => Math.max(1, Math.ceil(deadline - clock.now()));

  function peerOf(to: string): Peer {
    let peer = peers.get(to);
    if (peer === undefined) {
      peer = { health: createPeerHealth(), waiting: new Set(), cancelLook: undefined };
      if (wire.up(to)) peer.health.connected(clock.now());
      peers.set(to, peer);
    }
    return peer;
  }

  function tell(to: string): void {
    for (const listener of listeners) listener(to);
  }

  wire.onChange((to, up) => {
    const { health } = peerOf(to);
    if (up) {
      health.connected(clock.now());
      tell(to);
    } else health.lost();
  });

  function heard(to: string): void {
    const { health, waiting } = peerOf(to);
    const wasTrusted = health.trusted;
    health.heard(clock.now(), waiting.size);
    if (!wasTrusted && health.trusted) {
      marks.add('a suspected node was trusted again');
      tell(to);
    }
  }

  function watch(to: string): void {
    peerOf(to).cancelLook ??= clock.after(lookEveryMs, () => look(to));
  }

  function look(to: string): void {
    const peer = peerOf(to);
    peer.cancelLook = undefined;
    const finding = peer.health.look(clock.now(), jitter());
    if (finding === 'suspect') {
      marks.add('a silent node was suspected');
      for (const tellSilent of [...peer.waiting]) tellSilent();
    } else if (finding === 'probe') {
      const probe = ReplicateRequest.encode({ hello: undefined, writes: [], reads: [], probe: true }).finish();
      wire.call(to, 'replica', probe).then(
        () => heard(to),
        () => {},
      );
    }
    if (peer.health.watchful) watch(to);
  }

  async function ask(
    to: string,
    request: Partial<ReplicateRequest>,
    duplicable: boolean,
    onSilent: () => void = () => {},
  ): Promise<ReplicaCopyReport & { readonly same: boolean }> {
    const hello = { wireVersion, clusterId: '', nodeId: self, replicas: 0, peerId: to };
    const bytes = ReplicateRequest.encode(ReplicateRequest.fromPartial({ hello, ...request })).finish();
    const { health, waiting } = peerOf(to);
    const silent = () => onSilent();
    waiting.add(silent);
    health.sent(clock.now());
    watch(to);
    let answer: Uint8Array;
    try {
      answer = await wire.call(to, 'replica', bytes, duplicable);
    } catch (error) {
      waiting.delete(silent);
      throw error instanceof ConnectionLost ? unreachable(error.message) : error;
    }
    waiting.delete(silent);
    heard(to);
    const [result] = ReplicateResponse.decode(answer).results;
    if (result?.status === ReplicaStatus.OK) {
      return {
        record: result.record.length === 0 ? undefined : result.record,
        owed: result.owed,
        knownDot: parseDot(result.knownDot),
        same: result.same,
      };
    }
    if (result?.status === ReplicaStatus.RING_MOVED) {
      marks.add('a replica knew a newer ring');
      throw new RingMoved(to);
    }
    if (result?.status === ReplicaStatus.ERA_MOVED) {
      marks.add('a replica was in a later era');
      throw new EraMoved(to, Number(result.era));
    }
    if (result?.status === ReplicaStatus.LEFT_BEHIND) {
      marks.add('a node that had left came back out of date');
      throw new LeftBehind(result.message);
    }
    throw new Failure('STORAGE_FAILED', `node ${to}: ${result?.message}`, { outcome: 'UNKNOWN' });
  }

  function replicaOn(to: string): Replica {
    const read = ({ key, requestId, deadline, onSilent, epoch, known }: ReplicaInspectMessage, inspect: boolean) => {
      const asked = {
        ...{ id, key: Buffer.from(key), timeoutMs: leftOf(deadline), inspect },
        requestId: Buffer.from(requestId ?? noBytes),
        ...partsOfEpoch(epoch),
        known: inspect ? undefined : digestOfKnown(known, xxh64),
      };
      return ask(to, { reads: [asked] }, false, onSilent);
    };
    return {
      async write({ key, record, era, sync, buffered = false, hintedFor, request, deadline, onSilent, epoch }) {
        const write = {
          ...{ id, key: Buffer.from(key), record: Buffer.from(record), sync, buffered, hintedFor },
          timeoutMs: leftOf(deadline),
          more: false,
          requestId: Buffer.from(request?.id ?? noBytes),
          dotActor: request?.dot.actor ?? 0n,
          dotCounter: BigInt(request?.dot.counter ?? 0),
          ...partsOfEpoch(epoch),
          era: BigInt(era),
        };
        await ask(to, { writes: [write] }, true, onSilent);
      },
      async read(message) {
        const { record, same } = await read(message, false);
        if (same) marks.add('a replica had what the reader knew');
        return same ? message.known : record;
      },
      inspect: (message) => read(message, true),
      async exchange(request) {
        let answer: Uint8Array;
        try {
          answer = await wire.call(to, 'exchange', ExchangeRequest.encode(request).finish());
        } catch (error) {
          throw error instanceof ConnectionLost ? unreachable(error.message) : error;
        }
        if (answer.length === 0) throw new Failure('STORAGE_FAILED', `node ${to} could not answer an exchange`);
        return ExchangeResponse.decode(answer.subarray(1));
      },
      scan: () => Promise.reject(new Failure('NOT_IMPLEMENTED', 'the simulation lists no keys')),
    };
  }

  return {
    reachable: (nodeId) => peerOf(nodeId).health.trusted,
    connected: (nodeId) => wire.up(nodeId),
    onReachable: (listener) => listeners.add(listener),
    replica: replicaOn,
  };
}

function unreachable(message: string): Failure {
  return new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN' });
}

/** The other end: one frame, run on the replica, answered as replica-service.ts does. */
export async function serveReplica(
  replica: Replica,
  clock: Pick<Clock, 'now'>,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const { hello, writes, reads, probe } = ReplicateRequest.decode(bytes);
  if (probe) return ReplicateResponse.encode(ReplicateResponse.fromPartial({ alive: true })).finish();
  const [write] = writes;
  const [read] = reads;
  let copy: ReplicaCopyReport = { record: undefined, owed: [] };
  let status: ReplicaStatus = ReplicaStatus.OK;
  let message = '';
  let era = 0;
  let same = false;
  try {
    if (write !== undefined) {
      const request = requestOf(write.requestId, write.dotActor, write.dotCounter);
      const epoch = epochOfParts(write.ringTerm, write.ringSequence);
      const era = Number(write.era);
      const deadline = clock.now() + write.timeoutMs;
      await replica.write({ ...write, epoch, era, request, deadline, from: hello?.nodeId });
    } else if (read?.inspect) {
      const { key, requestId } = read;
      const deadline = clock.now() + read.timeoutMs;
      copy = await replica.inspect({ key, deadline, ...(requestId.length > 0 && { requestId }) });
    } else if (read !== undefined) {
      const epoch = epochOfParts(read.ringTerm, read.ringSequence);
      const record = await replica.read({ ...read, known: undefined, epoch, deadline: clock.now() + read.timeoutMs });
      same = isKnown(record, read.known, xxh64);
      copy = { record: same ? undefined : record, owed: [] };
    }
  } catch (error) {
    if (error instanceof EraMoved) era = error.era;
    status = statusOf(error);
    message = error instanceof Error ? error.message : String(error);
  }
  const { record = noBytes, owed, knownDot } = copy;
  const result = { id, status, record: Buffer.from(record), message, more: false, owed: [...owed] };
  const known = knownDot === undefined ? '' : printDot(knownDot);
  return ReplicateResponse.encode(
    ReplicateResponse.fromPartial({ results: [{ ...result, same, knownDot: known, era: BigInt(era) }] }),
  ).finish();
}

function statusOf(error: unknown): ReplicaStatus {
  if (error instanceof EraMoved) return ReplicaStatus.ERA_MOVED;
  if (error instanceof LeftBehind) return ReplicaStatus.LEFT_BEHIND;
  return error instanceof RingMoved ? ReplicaStatus.RING_MOVED : ReplicaStatus.FAILED;
}

/** The other end of one step of an exchange: nothing where it failed, else a byte and the answer. */
export async function serveExchange(replica: Replica, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    const answer = await replica.exchange(ExchangeRequest.decode(bytes));
    return Buffer.concat([Buffer.of(1), ExchangeResponse.encode(answer).finish()]);
  } catch (error) {
    if (error instanceof Failure) return noBytes;
    throw error;
  }
}
