/**
 * The other storage nodes, each over one Replicate stream that is kept open while the node is in the ring.
 *
 * Owns the streams: connecting, frames, back-pressure, and what "reachable" means. Knows nothing of records.
 *
 * I1 A node is reachable while its stream is up and welcomed, and it is not suspected (core/quorum/peer-health.ts).
 * I2 Every operation settles: with the answer, or with the loss of the stream. Who asked is told before that when the
 *    node comes to be suspected.
 * I3 At most `bytesInFlightMax` bytes are unanswered a peer; beyond that operations fail at once.
 * I4 Nothing that another node says is taken for the peer's: streams begin with a handshake, and each call beside them
 *    names whom it is for.
 */
import { type ClientDuplexStream, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  type ExchangeResponse,
  type Handshake,
  type ReplicaRead,
  type ReplicaResult,
  ReplicaServiceClient,
  ReplicaServiceService,
  ReplicaStatus,
  ReplicateRequest,
  type ReplicateResponse,
  type ReplicaWrite,
  type ScanKeysResponse,
} from '../../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock, CounterHandle, HistogramHandle, Log, Metrics, Random } from '../../core/ports.ts';
import { digestOfKnown } from '../../core/quorum/known-record.ts';
import { createPeerHealth, lookEveryMs, silenceMs } from '../../core/quorum/peer-health.ts';
import {
  EraMoved,
  LeftBehind,
  type Peers,
  type Replica,
  type ReplicaCopyReport,
  type ReplicaInspectMessage,
  RingMoved,
  type ScannedPage,
} from '../../core/quorum/peers.ts';
import { partsOfEpoch, type Ring } from '../../core/ring/ring.ts';
import { ShortLivedMap } from '../../core/short-lived-map.ts';
import { eraOf, firstEra } from '../../core/stability/era.ts';
import { parseDot } from '../../core/versioning/causal-context.ts';
import { openChannel } from '../channel.ts';
import { fromServiceError } from '../errors.ts';
import { xxh64 } from '../hash.ts';
import { createRefusals, type Refusals } from '../refusals.ts';
import type { RingSource } from '../ring-source.ts';
import { createFrameGate } from './frame-gate.ts';
import { type HandshakeTerms, handshakeOf, identityOf, refusalOfWelcome } from './handshake.ts';
import { createJoiner, piecesOf } from './pieces.ts';
import { serializer } from './serializer.ts';
import { streamChannelOptions } from './session-client.ts';

/** Room for the largest record (core/requests/limits.ts) four times. */
export const bytesInFlightMax = 64 * 1024 * 1024;
const frameWindow = 8;
const retryDelayMsMin = 100;
const retryDelayMsMax = 2_000;
/** A machine that is gone answers nothing, not even that it does not listen. Name servers are given time as well. */
const welcomeTimeoutMs = 10_000;
const scanTimeoutMs = 10_000;
const exchangeTimeoutMs = 20_000;
const noBytes = Buffer.alloc(0);
const channelOptions = { ...streamChannelOptions, 'grpc-node.flow_control_window': 8 * 1024 * 1024 };
const serializeRequest = serializer(ReplicateRequest);

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
  const refusals = createRefusals('replication', options.log, metrics);
  const peers = new Map<string, Peer>();
  const listeners = new Set<(nodeId: string) => void>();
  const onReachable = (nodeId: string) => {
    for (const listener of listeners) listener(nodeId);
  };
  let closed = false;
  metrics.gauge('cartwheel_peers_reachable', 'Storage nodes whose stream is up', () => {
    return [...peers.values()].filter((peer) => peer.reachable).length;
  });
  metrics.gauge('cartwheel_peers', 'Other storage nodes of the ring', () => peers.size);
  metrics.gauge('cartwheel_peer_queue_bytes', 'Bytes of operations that wait for a frame to another replica', () => {
    return [...peers.values()].reduce((sum, peer) => sum + peer.queueBytes, 0);
  });
  metrics.gauge('cartwheel_peer_operations_in_flight', 'Replica operations without an answer', () => {
    return [...peers.values()].reduce((sum, peer) => sum + peer.inFlight, 0);
  });

  /** A stream to every other node of the ring, at the address that the ring has for it. */
  function follow(ring: Ring): void {
    if (closed) return;
    const present = ring.nodes.filter(({ status }) => status !== 'LEFT');
    const wanted = new Map(present.map(({ id, address }) => [id, address]));
    wanted.delete(terms().nodeId);
    for (const [id, peer] of peers) {
      if (wanted.get(id) === peer.address) continue;
      peer.close();
      peers.delete(id);
    }
    for (const [id, address] of wanted) {
      if (!peers.has(id)) peers.set(id, connectPeer(id, address, options, measures, refusals, onReachable));
    }
  }

  const unsubscribe = rings.subscribe(follow);
  const known = rings.current();
  if (known !== undefined) follow(known);

  return {
    reachable: (nodeId) => peers.get(nodeId)?.reachable ?? false,
    connected: (nodeId) => peers.get(nodeId)?.connected ?? false,
    onReachable(listener) {
      listeners.add(listener);
    },
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
  readonly connected: boolean;
  readonly address: string;
  readonly replica: Replica;
  readonly queueBytes: number;
  close(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly sentAt: number;
  readonly roundTrip: HistogramHandle;
  readonly onSilent: (() => void) | undefined;
  resolve(answer: ReplicaAnswer): void;
  reject(failure: Failure | RingMoved): void;
}

interface ReplicaAnswer {
  /** It has the record that was said to be known. */
  readonly same: boolean;
  readonly record: Buffer;
  readonly owed: readonly string[];
  readonly knownDot: string;
}

type Item = ReplicaWrite | ReplicaRead;

/** Of one operation, under its id: several where its record comes in pieces. */
type ItemsOf = (id: number) => readonly Item[];

function connectPeer(
  nodeId: string,
  address: string,
  options: PeersOptions,
  measures: ReplicationMeasures,
  refusals: Refusals,
  onReachable: (nodeId: string) => void,
): Peer {
  const { clock, log, random, terms } = options;
  /**
   * Another one for each stream. One that is kept asks the name service again only when its connection breaks: not while
   * it dials a machine that is gone, which takes minutes, and not where another node listens at the address by now.
   */
  let channel = openChannel(ReplicaServiceClient, address, channelOptions);
  const waiting = new ShortLivedMap<number, Waiting>();
  const health = createPeerHealth();
  let cancelLook: (() => void) | undefined;
  let stream: ClientDuplexStream<ReplicateRequest, ReplicateResponse> | undefined;
  let joiner = createJoiner();
  let gate = newGate();
  let bytesInFlight = 0;
  let lastId = 0;
  let welcomed = false;
  let retryDelayMs = retryDelayMsMin;
  let cancelRetry = () => {};
  let cancelWelcome = () => {};
  let closed = false;

  function newGate() {
    return createFrameGate<Item>({
      write(items) {
        measures.out.frames.add(1);
        return stream?.write(frameOf(items)) ?? true;
      },
      endOfTurn: (run) => clock.endOfTurn(run),
      after: (ms, run) => clock.after(ms, run),
      window: frameWindow,
      queueBytesMax: Number.POSITIVE_INFINITY, // bounded by I3: what the gate refused would never be answered
    });
  }

  function connect(): void {
    const { path, responseDeserialize } = ReplicaServiceService.replicate;
    const opened = channel.makeBidiStreamRequest(path, serializeRequest, responseDeserialize, new Metadata());
    stream = opened;
    opened.on('data', (response: ReplicateResponse) => receive(opened, response));
    opened.on('drain', () => gate.drained());
    opened.on('error', (error: ServiceError) => {
      if (opened === stream && !welcomed && error.code === status.FAILED_PRECONDITION) {
        refusals.refused(nodeId, error.details, 'the other one', { address });
      }
      lose(opened, error.message);
    });
    opened.on('end', () => lose(opened, 'it ended the stream'));
    opened.write({ hello: handshakeOf(terms(), nodeId), writes: [], reads: [], probe: false });
    cancelWelcome = clock.after(welcomeTimeoutMs, () => lose(opened, `no welcome within ${welcomeTimeoutMs} ms`));
  }

  function receive(from: typeof stream, { welcome, results }: ReplicateResponse): void {
    if (from !== stream) return;
    if (welcome !== undefined) {
      cancelWelcome();
      const refusal = refusalOfWelcome(welcome, terms(), nodeId);
      if (refusal !== undefined) {
        refusals.refused(nodeId, refusal, 'this process', { address });
        lose(from, refusal);
        return;
      }
      refusals.accepted(nodeId);
      welcomed = true;
      retryDelayMs = retryDelayMsMin;
      health.connected(clock.now());
      log.info({ nodeId, address }, 'peer reachable');
      onReachable(nodeId);
    }
    const now = clock.now();
    const wasTrusted = health.trusted;
    let answered = 0;
    for (const result of results) {
      measures.in.bytes.add(result.record.length);
      const record = joiner.add(result.id, result.record, result.more);
      const operation = record && waiting.take(result.id);
      if (operation === undefined) continue;
      bytesInFlight -= operation.bytes;
      answered++;
      operation.roundTrip.observe(now - operation.sentAt);
      if (result.status === ReplicaStatus.OK) {
        operation.resolve({
          record: record as Buffer,
          same: result.same,
          owed: result.owed,
          knownDot: result.knownDot,
        });
      } else operation.reject(refused(nodeId, result));
    }
    health.heard(now, waiting.size);
    if (!wasTrusted) {
      log.info({ nodeId, address }, 'peer answers again');
      onReachable(nodeId);
    }
    if (results.length > 0) measures.in.frames.add(1);
    if (answered === 0) return;
    measures.in.operations.add(answered);
    gate.answered(answered);
  }

  /** While there is something to look for: an answer that does not come, or a suspected node to probe. */
  function watch(): void {
    cancelLook ??= clock.after(lookEveryMs, look);
  }

  function look(): void {
    cancelLook = undefined;
    const finding = health.look(clock.now(), random.below(1_000) / 1_000);
    if (finding === 'suspect') {
      log.warn({ nodeId, address, silenceMs, inFlight: waiting.size }, 'peer silent');
      for (const { onSilent } of waiting.values()) onSilent?.();
    } else if (finding === 'probe') {
      stream?.write({ hello: undefined, writes: [], reads: [], probe: true });
    }
    if (health.watchful) watch();
  }

  function lose(from: typeof stream, why: string): void {
    if (from === undefined || from !== stream) return;
    stream = undefined;
    cancelWelcome();
    from.cancel();
    joiner = createJoiner();
    if (welcomed) log.warn({ nodeId, address, why, inFlight: waiting.size }, 'peer lost');
    welcomed = false;
    health.lost();
    gate.close();
    gate = newGate();
    const lost = waiting.takeAll();
    bytesInFlight = 0;
    for (const operation of lost) operation.reject(unreachable(nodeId, why));
    channel.close();
    if (closed) return;
    channel = openChannel(ReplicaServiceClient, address, channelOptions);
    cancelRetry = clock.after(retryDelayMs / 2 + random.below(retryDelayMs), connect);
    retryDelayMs = Math.min(retryDelayMs * 2, retryDelayMsMax);
  }

  function send(
    roundTrip: HistogramHandle,
    bytes: number,
    itemsOf: ItemsOf,
    onSilent: (() => void) | undefined,
  ): Promise<ReplicaAnswer> {
    if (!welcomed) return Promise.reject(unreachable(nodeId, 'there is no stream'));
    if (bytesInFlight + bytes > bytesInFlightMax) {
      const message = `${bytesInFlight} bytes are in flight to node ${nodeId}, the limit is ${bytesInFlightMax}`;
      return Promise.reject(new Failure('OVERLOADED', message, { retryAfterMs: 100 }));
    }
    lastId = (lastId % 0xffff_ffff) + 1;
    const id = lastId;
    return new Promise((resolve, reject) => {
      const now = clock.now();
      waiting.set(id, { bytes, sentAt: now, roundTrip, onSilent, resolve, reject });
      health.sent(now);
      watch();
      bytesInFlight += bytes;
      measures.out.operations.add(1);
      measures.out.bytes.add(bytes);
      const items = itemsOf(id);
      for (const item of items) gate.push(item, isWrite(item) ? item.record.length + 64 : bytes);
      if (items.length > 1) gate.answered(items.length - 1); // the pieces of one operation have one answer
    });
  }

  async function ask(message: ReplicaInspectMessage, inspect: boolean): Promise<ReplicaAnswer> {
    const { requestId = noBytes, deadline, onSilent, epoch, traceparent } = message;
    const key = message.key as Buffer;
    const timeoutMs = leftOf(deadline, clock);
    const { ringTerm, ringSequence } = partsOfEpoch(epoch);
    const known = inspect ? undefined : digestOfKnown(message.known, xxh64);
    const itemsOf: ItemsOf = (id) => [
      { id, key, timeoutMs, inspect, requestId: requestId as Buffer, ringTerm, ringSequence, traceparent, known },
    ];
    return send(measures.read, key.length + 16, itemsOf, onSilent);
  }

  /** Makes a call beside the stream, which must be up: nobody else has said who is there. */
  function call<T>(
    make: (hello: Handshake, done: (error: ServiceError | null, response: T) => void) => void,
  ): Promise<T> {
    if (!welcomed) return Promise.reject(unreachable(nodeId, 'there is no stream'));
    return new Promise((resolve, reject) => {
      make(identityOf(terms(), nodeId), (error, response) => {
        if (error) reject(fromServiceError(error, address));
        else resolve(response);
      });
    });
  }

  const replica: Replica = {
    async write(message) {
      const { record, sync, buffered = false, hintedFor, request, deadline, onSilent, epoch, traceparent } = message;
      const key = message.key as Buffer;
      const requestId = (request?.id ?? noBytes) as Buffer;
      const dotActor = request?.dot.actor ?? 0n;
      const dotCounter = BigInt(request?.dot.counter ?? 0);
      const era = BigInt(message.era);
      const timeoutMs = leftOf(deadline, clock);
      const { ringTerm, ringSequence } = partsOfEpoch(epoch);
      // Field by field: to copy objects into each other costs more than to send them.
      const itemsOf: ItemsOf = (id) =>
        piecesOf(record).map(({ piece, more }) => ({
          id,
          key,
          record: piece as Buffer,
          more,
          sync,
          buffered,
          hintedFor,
          requestId,
          dotActor,
          dotCounter,
          timeoutMs,
          ringTerm,
          ringSequence,
          traceparent,
          era,
        }));
      await send(measures.write, key.length + record.length + 24, itemsOf, onSilent);
    },

    async read(message) {
      const { record, same } = await ask(message, false);
      if (same) return message.known;
      return record.length === 0 ? undefined : record;
    },

    async inspect(message): Promise<ReplicaCopyReport> {
      const { record, owed, knownDot } = await ask(message, true);
      return { record: record.length === 0 ? undefined : record, owed, knownDot: parseDot(knownDot) };
    },

    exchange(request) {
      return call<ExchangeResponse>((hello, done) => {
        const deadline = clock.wallNow() + exchangeTimeoutMs;
        channel.exchange({ ...request, hello }, new Metadata(), { deadline }, done);
      });
    },

    async scan({ start, end, namespace, prefix, limit }): Promise<ScannedPage> {
      const range = {
        start: Buffer.from(start),
        end: end === undefined ? Buffer.alloc(0) : Buffer.from(end),
        namespace,
        prefix: Buffer.from(prefix),
        limit,
      };
      const { keys, next } = await call<ScanKeysResponse>((hello, done) => {
        channel.scanKeys({ ...range, hello }, new Metadata(), { deadline: clock.wallNow() + scanTimeoutMs }, done);
      });
      return { keys, next: next.length === 0 ? undefined : next };
    },
  };

  connect();
  return {
    nodeId,
    address,
    replica,
    get connected() {
      return welcomed;
    },
    get reachable() {
      return health.trusted;
    },
    get inFlight() {
      return waiting.size;
    },
    get queueBytes() {
      return gate.queueBytes;
    },
    close() {
      closed = true;
      cancelRetry();
      cancelLook?.();
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
  readonly bytes: CounterHandle;
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
    operations: metrics.counter(
      'cartwheel_replication_operations_total',
      'Operations in frames to other replicas (out), and their answers (in)',
      { direction },
    ),
    bytes: metrics.counter(
      'cartwheel_replication_bytes_total',
      'Bytes of keys and records in frames to other replicas (out) and of their answers (in)',
      { direction },
    ),
  });
  return { read: roundTrip('read'), write: roundTrip('write'), out: counters('out'), in: counters('in') };
}

function frameOf(items: readonly Item[]): ReplicateRequest {
  const frame: ReplicateRequest = { hello: undefined, writes: [], reads: [], probe: false };
  for (const item of items) {
    if (isWrite(item)) frame.writes.push(item);
    else frame.reads.push(item);
  }
  return frame;
}

function isWrite(item: Item): item is ReplicaWrite {
  return 'record' in item;
}

function leftOf(deadline: number, clock: Clock): number {
  return Math.max(1, Math.ceil(deadline - clock.now()));
}

function unreachable(nodeId: string, why: string): Failure {
  return new Failure('NOT_ENOUGH_REPLICAS', `no answer from node ${nodeId}: ${why}`, { outcome: 'UNKNOWN' });
}

function refused(nodeId: string, { status, message, era }: ReplicaResult): Failure | RingMoved {
  const text = `node ${nodeId}: ${message}`;
  switch (status) {
    case ReplicaStatus.OVERLOADED:
      return new Failure('OVERLOADED', text);
    case ReplicaStatus.EXPIRED:
      return new Failure('DEADLINE', text, { outcome: 'UNKNOWN' });
    case ReplicaStatus.NOT_OWNER:
      return new Failure('NOT_ENOUGH_REPLICAS', text);
    case ReplicaStatus.RING_MOVED:
      return new RingMoved(nodeId);
    case ReplicaStatus.LEFT_BEHIND:
      return new LeftBehind(text);
    case ReplicaStatus.ERA_MOVED:
      return new EraMoved(nodeId, eraOf(era) ?? firstEra);
    default:
      return new Failure('STORAGE_FAILED', text, { outcome: 'UNKNOWN' });
  }
}
