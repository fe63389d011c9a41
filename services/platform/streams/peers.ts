/**
 * The other storage nodes, each over one Replicate stream that is kept open while the node is in the ring.
 *
 * Owns the streams: connecting, frames, back-pressure, and what "reachable" means. Knows nothing of records.
 *
 * I1 A node is reachable while its stream is up and welcomed. A node that is stopped without closing its
 *    connection is noticed by the pings of the channel (session-client.ts), within 10 s.
 * I2 Every operation settles: with the answer, or with the loss of the stream.
 * I3 At most `bytesInFlightMax` bytes are unanswered a peer; beyond that operations fail at once.
 */
import { type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js';
import {
  type ReplicaRead,
  type ReplicaResult,
  ReplicaServiceClient,
  ReplicaStatus,
  type ReplicateRequest,
  type ReplicateResponse,
  type ReplicaWrite,
} from '../../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock, CounterHandle, HistogramHandle, Log, Metrics, Random } from '../../core/ports.ts';
import type { Peers, Replica, ScannedPage } from '../../core/quorum/peers.ts';
import type { Ring } from '../../core/ring/ring.ts';
import { fromServiceError } from '../errors.ts';
import type { RingSource } from '../ring-source.ts';
import { createFrameGate } from './frame-gate.ts';
import { type HandshakeTerms, handshakeOf, refusalOf } from './handshake.ts';
import { createJoiner, piecesOf } from './pieces.ts';
import { streamChannelOptions } from './session-client.ts';

/** Room for the largest record (core/requests/limits.ts) four times. */
export const bytesInFlightMax = 64 * 1024 * 1024;
const frameWindow = 8;
const retryDelayMsMin = 100;
const retryDelayMsMax = 2_000;
const scanTimeoutMs = 10_000;

export interface PeersOptions {
  readonly rings: RingSource;
  readonly terms: () => HandshakeTerms;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface PeerView {
  readonly nodeId: string;
  readonly reachable: boolean;
  readonly inFlight: number;
}

export interface ConnectedPeers extends Peers {
  view(): readonly PeerView[];
  close(): void;
}

export function createPeers(options: PeersOptions): ConnectedPeers {
  const { rings, terms, metrics } = options;
  const measures = replicationMeasures(metrics);
  const peers = new Map<string, Peer>();
  let closed = false;
  metrics.gauge('cartwheel_peers_reachable', 'Storage nodes whose stream is up', () => {
    return [...peers.values()].filter((peer) => peer.reachable).length;
  });
  metrics.gauge('cartwheel_peer_operations_in_flight', 'Replica operations without an answer', () => {
    return [...peers.values()].reduce((sum, peer) => sum + peer.inFlight, 0);
  });

  /** A stream to every other node of the ring, at the address that the ring has for it. */
  function follow(ring: Ring): void {
    if (closed) return;
    const wanted = new Map(ring.nodes.map(({ id, address }) => [id, address]));
    wanted.delete(terms().nodeId);
    for (const [id, peer] of peers) {
      if (wanted.get(id) === peer.address) continue;
      peer.close();
      peers.delete(id);
    }
    for (const [id, address] of wanted) {
      if (!peers.has(id)) peers.set(id, connectPeer(id, address, options, measures));
    }
  }

  const unsubscribe = rings.subscribe(follow);
  const known = rings.current();
  if (known !== undefined) follow(known);

  return {
    reachable: (nodeId) => peers.get(nodeId)?.reachable ?? false,
    replica(nodeId) {
      const peer = peers.get(nodeId);
      if (peer === undefined) throw new Error(`node ${nodeId} is not in the ring`);
      return peer.replica;
    },
    view: () => [...peers.values()].map(({ nodeId, reachable, inFlight }) => ({ nodeId, reachable, inFlight })),
    close() {
      closed = true;
      unsubscribe();
      for (const peer of peers.values()) peer.close();
      peers.clear();
    },
  };
}

interface Peer extends PeerView {
  readonly address: string;
  readonly replica: Replica;
  close(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly sentAt: number;
  readonly roundTrip: HistogramHandle;
  resolve(record: Buffer): void;
  reject(failure: Failure): void;
}

type Item = { readonly write: ReplicaWrite } | { readonly read: ReplicaRead };

function connectPeer(nodeId: string, address: string, options: PeersOptions, measures: ReplicationMeasures): Peer {
  const { clock, log, random, terms } = options;
  const channel = new ReplicaServiceClient(address, credentials.createInsecure(), {
    ...streamChannelOptions,
    'grpc-node.flow_control_window': 8 * 1024 * 1024,
  });
  const waiting = new Map<number, Waiting>();
  let stream: ClientDuplexStream<ReplicateRequest, ReplicateResponse> | undefined;
  let joiner = createJoiner();
  let gate = newGate();
  let bytesInFlight = 0;
  let lastId = 0;
  let welcomed = false;
  let retryDelayMs = retryDelayMsMin;
  let cancelRetry = () => {};
  let closed = false;

  function newGate() {
    return createFrameGate<Item>({
      write(items) {
        measures.out.frames.add(1);
        return stream?.write(frameOf(items)) ?? true;
      },
      endOfTurn: (run) => clock.endOfTurn(run),
      window: frameWindow,
      queueBytesMax: Number.POSITIVE_INFINITY, // bounded by I3: what the gate refused would never be answered
    });
  }

  function connect(): void {
    const opened = channel.replicate();
    stream = opened;
    opened.on('data', (response: ReplicateResponse) => receive(opened, response));
    opened.on('drain', () => gate.drained());
    opened.on('error', (error: Error) => lose(opened, error.message));
    opened.on('end', () => lose(opened, 'it ended the stream'));
    opened.write({ hello: handshakeOf(terms(), nodeId), writes: [], reads: [] });
  }

  function receive(from: typeof stream, { welcome, results }: ReplicateResponse): void {
    if (from !== stream) return;
    if (welcome !== undefined) {
      const refusal = refusalOf(welcome, terms());
      if (refusal !== undefined) {
        lose(from, refusal);
        return;
      }
      welcomed = true;
      retryDelayMs = retryDelayMsMin;
      log.info({ nodeId, address }, 'peer reachable');
    }
    const now = clock.now();
    let answered = 0;
    for (const result of results) {
      const record = joiner.add(result.id, result.record, result.more);
      const operation = waiting.get(result.id);
      if (record === undefined || operation === undefined) continue;
      waiting.delete(result.id);
      bytesInFlight -= operation.bytes;
      answered++;
      operation.roundTrip.observe(now - operation.sentAt);
      if (result.status === ReplicaStatus.OK) operation.resolve(record as Buffer);
      else operation.reject(refused(nodeId, result));
    }
    if (results.length > 0) measures.in.frames.add(1);
    if (answered === 0) return;
    measures.in.operations.add(answered);
    gate.answered(answered);
  }

  function lose(from: typeof stream, why: string): void {
    if (from === undefined || from !== stream) return;
    stream = undefined;
    from.cancel();
    gate.close();
    gate = newGate();
    joiner = createJoiner();
    if (welcomed) log.warn({ nodeId, address, why, inFlight: waiting.size }, 'peer lost');
    welcomed = false;
    const lost = [...waiting.values()];
    waiting.clear();
    bytesInFlight = 0;
    for (const operation of lost) operation.reject(unreachable(nodeId, why));
    if (closed) return;
    cancelRetry = clock.after(retryDelayMs / 2 + random.below(retryDelayMs), connect);
    retryDelayMs = Math.min(retryDelayMs * 2, retryDelayMsMax);
  }

  function send(roundTrip: HistogramHandle, bytes: number, itemsOf: (id: number) => Iterable<Item>): Promise<Buffer> {
    if (!welcomed) return Promise.reject(unreachable(nodeId, 'there is no stream'));
    if (bytesInFlight + bytes > bytesInFlightMax) {
      const message = `${bytesInFlight} bytes are in flight to node ${nodeId}, the limit is ${bytesInFlightMax}`;
      return Promise.reject(new Failure('OVERLOADED', message, { retryAfterMs: 100 }));
    }
    lastId = (lastId % 0xffff_ffff) + 1;
    const id = lastId;
    return new Promise((resolve, reject) => {
      waiting.set(id, { bytes, sentAt: clock.now(), roundTrip, resolve, reject });
      bytesInFlight += bytes;
      measures.out.operations.add(1);
      let items = 0;
      for (const item of itemsOf(id)) {
        gate.push(item, 'write' in item ? item.write.record.length + 64 : bytes);
        items++;
      }
      gate.answered(items - 1); // the pieces of one operation have one answer
    });
  }

  const replica: Replica = {
    async write({ key, record, sync, deadline }) {
      const timeoutMs = leftOf(deadline, clock);
      await send(measures.write, key.length + record.length + 24, function* (id) {
        for (const { piece, more } of piecesOf(record)) {
          yield { write: { id, key: key as Buffer, record: piece as Buffer, sync, timeoutMs, more } };
        }
      });
    },

    async read({ key, deadline }) {
      const timeoutMs = leftOf(deadline, clock);
      const itemsOf = (id: number): Item[] => [{ read: { id, key: key as Buffer, timeoutMs } }];
      const record = await send(measures.read, key.length + 16, itemsOf);
      return record.length === 0 ? undefined : record;
    },

    scan({ start, end, namespace, prefix, limit }) {
      const request = {
        start: Buffer.from(start),
        end: end === undefined ? Buffer.alloc(0) : Buffer.from(end),
        namespace,
        prefix: Buffer.from(prefix),
        limit,
      };
      return new Promise<ScannedPage>((resolve, reject) => {
        channel.scanKeys(request, new Metadata(), { deadline: clock.wallNow() + scanTimeoutMs }, (error, response) => {
          if (error) reject(fromServiceError(error));
          else resolve({ keys: response.keys, next: response.next.length === 0 ? undefined : response.next });
        });
      });
    },
  };

  connect();
  return {
    nodeId,
    address,
    replica,
    get reachable() {
      return welcomed;
    },
    get inFlight() {
      return waiting.size;
    },
    close() {
      closed = true;
      cancelRetry();
      lose(stream, 'it left the ring, or this process is stopping');
      channel.close();
    },
  };
}

/** Operations by frames, in each direction, say how well the frames fill. */
interface ReplicationMeasures {
  /** From `send` to the answer, whatever it says. */
  readonly read: HistogramHandle;
  readonly write: HistogramHandle;
  readonly out: FrameCounters;
  readonly in: FrameCounters;
}

interface FrameCounters {
  readonly frames: CounterHandle;
  readonly operations: CounterHandle;
}

function replicationMeasures(metrics: Metrics): ReplicationMeasures {
  const roundTrip = (what: string) =>
    metrics.histogram('cartwheel_replication_seconds', 'Operations on other replicas, from here and back', { what });
  const counters = (direction: string): FrameCounters => ({
    frames: metrics.counter(
      'cartwheel_replication_frames_total',
      'Frames to other replicas (out) and of their answers (in)',
      {
        direction,
      },
    ),
    operations: metrics.counter('cartwheel_replication_operations_total', 'Operations in those frames', { direction }),
  });
  return { read: roundTrip('read'), write: roundTrip('write'), out: counters('out'), in: counters('in') };
}

function frameOf(items: readonly Item[]): ReplicateRequest {
  const frame: ReplicateRequest = { hello: undefined, writes: [], reads: [] };
  for (const item of items) {
    if ('write' in item) frame.writes.push(item.write);
    else frame.reads.push(item.read);
  }
  return frame;
}

function leftOf(deadline: number, clock: Clock): number {
  return Math.max(1, Math.ceil(deadline - clock.now()));
}

function unreachable(nodeId: string, why: string): Failure {
  return new Failure('NOT_ENOUGH_REPLICAS', `no answer from node ${nodeId}: ${why}`, { outcome: 'UNKNOWN' });
}

function refused(nodeId: string, { status, message }: ReplicaResult): Failure {
  const text = `node ${nodeId}: ${message}`;
  switch (status) {
    case ReplicaStatus.OVERLOADED:
      return new Failure('OVERLOADED', text);
    case ReplicaStatus.EXPIRED:
      return new Failure('DEADLINE', text, { outcome: 'UNKNOWN' });
    case ReplicaStatus.NOT_OWNER:
      return new Failure('NOT_ENOUGH_REPLICAS', text);
    default:
      return new Failure('STORAGE_FAILED', text, { outcome: 'UNKNOWN' });
  }
}
