/**
 * ReplicaService, from the side that keeps the replica: frames of reads and writes in, frames of results out.
 *
 * I1 Every operation gets one result. Whether this node takes a record its replica decides (local-replica.ts).
 * I2 At most `operationsMax` operations of one stream are under way; more are answered OVERLOADED. How many of them run
 *    at a time their memory decides (lanes.ts).
 * I3 Records too large for one message come and go in pieces (pieces.ts), at most `joiningBytesMax` at a time.
 * I4 A record is stored only under a key that some client can name: anything else would stand in the way of whoever
 *    lists the keys.
 * I5 Beyond `unreadBytesPause` of answers that the peer does not read nothing more is read from it; without progress
 *    for `stalledMs` it is cut off.
 */
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import {
  type Handshake,
  type ReplicaResult,
  type ReplicaServiceServer,
  ReplicaServiceService,
  ReplicaStatus,
  type ReplicateRequest,
  ReplicateResponse,
  type ReplicaWrite,
} from '../../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Malformed } from '../../core/codec/bytes.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock, Log, Metrics } from '../../core/ports.ts';
import { isKnown } from '../../core/quorum/known-record.ts';
import {
  EraMoved,
  LeftBehind,
  type RememberedRequest,
  type Replica,
  type ReplicaCopyReport,
  RingMoved,
} from '../../core/quorum/peers.ts';
import { requestLimits } from '../../core/requests/limits.ts';
import { epochOfParts } from '../../core/ring/ring.ts';
import { isStorageKey } from '../../core/ring/storage-key.ts';
import { eraOf, firstEra } from '../../core/stability/era.ts';
import { counterMax, printDot } from '../../core/versioning/causal-context.ts';
import { bidi, unary } from '../grpc-server.ts';
import { xxh64 } from '../hash.ts';
import { sparingly } from '../logging.ts';
import { createRefusals, type Refusals } from '../refusals.ts';
import { createFrameGate } from './frame-gate.ts';
import { type HandshakeTerms, handshakeOf, refusalOf } from './handshake.ts';
import { createLanes, type Lane } from './lanes.ts';
import { createJoiner, piecesOf } from './pieces.ts';
import { serializer } from './serializer.ts';

export const operationsMax = 8_192;
/** Room for the largest record (core/requests/limits.ts) twice. */
export const unreadBytesPause = 32 * 1024 * 1024;
export const stalledMs = 30_000;
/** Room for the largest record four times a stream; a coordinator sends no more (peers.ts). */
const laneLimits = { laneBytes: 64 * 1024 * 1024, totalBytes: 256 * 1024 * 1024, runningMax: 1_024 };
const operationBytes = 256;
const timeoutMsDefault = 10_000;
const scanKeysMax = 2_048;

/** The service as it is served: the answers of replication streams have a serializer of their own. */
export const replicaDefinition = {
  ...ReplicaServiceService,
  replicate: { ...ReplicaServiceService.replicate, responseSerialize: serializer(ReplicateResponse) },
};

export interface ReplicaServiceOptions {
  readonly replica: Replica;
  readonly terms: () => HandshakeTerms;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ReplicaService {
  readonly service: ReplicaServiceServer;
  /** Ends every stream: the process is stopping. */
  end(): void;
}

export function createReplicaService(options: ReplicaServiceOptions): ReplicaService {
  const { replica, log, metrics, terms } = options;
  const refusals = createRefusals('replication', log, metrics);
  /** Throws where this is not the node that was meant: what it says would be taken for the word of another one. */
  const checkMeant = (hello: Handshake | undefined) => {
    const refusal = hello && refusalOf(hello, terms());
    if (hello === undefined || refusal === undefined) return;
    refusals.refused(hello.nodeId, refusal, 'this process');
    throw new Failure('NOT_ENOUGH_REPLICAS', refusal);
  };
  const lanes = createLanes(laneLimits);
  const strangers = sparingly(log);
  const streams = new Set<ServerDuplexStream<ReplicateRequest, ReplicateResponse>>();
  const service: ReplicaServiceServer = {
    replicate: bidi(log, (stream) => {
      streams.add(stream);
      const gone = () => streams.delete(stream);
      stream.on('cancelled', gone);
      stream.on('end', gone);
      serveStream(stream, lanes.open(), strangers, refusals, options);
    }),

    exchange: unary(log, async (request) => {
      checkMeant(request.hello);
      return replica.exchange(request);
    }),
    scanKeys: unary(log, async ({ start, end, namespace, prefix, limit, hello }) => {
      checkMeant(hello);
      const page = await replica.scan({
        start,
        end: end.length === 0 ? undefined : end,
        namespace,
        prefix,
        limit: Math.min(limit || scanKeysMax, scanKeysMax),
      });
      return {
        keys: page.keys.map(({ key, checksum, siblings }) => ({ key: Buffer.from(key), checksum, siblings })),
        next: page.next === undefined ? Buffer.alloc(0) : Buffer.from(page.next),
      };
    }),
  };
  return {
    service,
    end() {
      for (const stream of streams) stream.end();
    },
  };
}

function serveStream(
  stream: ServerDuplexStream<ReplicateRequest, ReplicateResponse>,
  lane: Lane,
  strangers: Pick<Log, 'warn'>,
  refusals: Refusals,
  { replica, terms, clock }: ReplicaServiceOptions,
): void {
  const joiner = createJoiner();
  /** Id of the node at the other end; undefined until it has greeted. */
  let from: string | undefined;
  let underWay = 0;
  let paused = false;
  let ended = false;
  let stallWatch: (() => void) | undefined;

  const gate = createFrameGate<ReplicaResult>({
    write(results) {
      const flowing = stream.write({ welcome: undefined, results, alive: false });
      if (!flowing) stallWatch ??= clock.after(stalledMs, cutOff);
      resume();
      return flowing;
    },
    endOfTurn: (run) => clock.endOfTurn(run),
    after: (ms, run) => clock.after(ms, run),
    window: Number.POSITIVE_INFINITY,
    queueBytesMax: Number.POSITIVE_INFINITY, // bounded by unreadBytesPause and what runs (lanes.ts)
  });

  function cutOff(): void {
    const details = `no answer was read for ${stalledMs} ms`;
    strangers.warn({ peer: stream.getPeer(), unreadBytes: gate.queueBytes }, 'a replication stream stood still');
    refuse(status.RESOURCE_EXHAUSTED, details);
  }

  function refuse(code: status, details: string): void {
    if (ended) return;
    stream.emit('error', { code, details });
    finish();
  }

  function finish(): void {
    ended = true;
    stallWatch?.();
    lane.close();
    gate.close();
  }

  function resume(): void {
    if (!paused || gate.queueBytes > unreadBytesPause) return;
    paused = false;
    lane.release();
    stream.resume();
  }

  function greet({ hello }: ReplicateRequest): boolean {
    const refusal = hello === undefined ? 'the first message has no handshake' : refusalOf(hello, terms());
    if (refusal !== undefined) {
      refusals.refused(hello?.nodeId ?? 'a stranger', refusal, 'this process', { peer: stream.getPeer() });
      refuse(status.FAILED_PRECONDITION, refusal);
      return false;
    }
    from = hello?.nodeId;
    refusals.accepted(from ?? '');
    stream.write({ welcome: handshakeOf(terms(), ''), results: [], alive: false });
    return true;
  }

  /** Runs `work` when there is room for it. */
  function enter(operation: Pick<ReplicaWrite, 'id' | 'key' | 'timeoutMs'>, carried: number, work: Work): void {
    const { id, key, timeoutMs } = operation;
    const refused = underWay >= operationsMax ? overloaded(id) : refusalOfKey(id, key, !work.isRead);
    if (refused !== undefined) {
      answer(refused);
      return;
    }
    underWay++;
    const deadline = clock.now() + (timeoutMs || timeoutMsDefault);
    lane.enter(operationBytes + carried, work.isRead, (cost) => void run(id, deadline, cost, work));
  }

  async function run(id: number, deadline: number, cost: number, { isRead, run: work }: Work): Promise<void> {
    let bytes: number | undefined;
    try {
      await undefined; // or many that fail at once would call each other, through the lane
      if (clock.now() >= deadline) throw new Failure('DEADLINE', 'the deadline passed while the operation waited');
      const report = await work(deadline);
      const { record = empty } = report;
      bytes = record.length;
      const owed = report.owed as string[];
      const knownDot = report.knownDot === undefined ? '' : printDot(report.knownDot);
      const { same = false } = report;
      const base = { id, status: ReplicaStatus.OK, message: '', owed, knownDot, era: 0n, same };
      for (const { piece, more } of piecesOf(record)) {
        answer({ ...base, record: piece as Buffer, more });
      }
    } catch (error) {
      const era = error instanceof EraMoved ? BigInt(error.era) : 0n;
      answer({ ...refusal(id, statusOf(error), error instanceof Error ? error.message : String(error)), era });
      if (!(error instanceof Failure || error instanceof RingMoved)) {
        strangers.warn({ err: error, peer: stream.getPeer() }, 'a replica operation failed');
      }
    }
    underWay--;
    lane.leave(cost, isRead ? bytes : undefined);
  }

  function answer(result: ReplicaResult): void {
    if (ended) return;
    gate.push(result, result.record.length + 16);
    if (paused || gate.queueBytes <= unreadBytesPause) return;
    paused = true;
    lane.hold();
    stream.pause();
  }

  function refusalOfKey(id: number, key: Uint8Array, isWrite: boolean): ReplicaResult | undefined {
    if (isWrite ? !isStorageKey(key, xxh64) : key.length < 8) {
      return refusal(id, ReplicaStatus.FAILED, `the ${key.length} bytes of the storage key are none`);
    }
    return undefined;
  }

  stream.on('data', (request: ReplicateRequest) => {
    if (ended || (from === undefined && !greet(request))) return;
    for (const write of request.writes) {
      const { key, sync, buffered, hintedFor, requestId, dotActor, dotCounter, ringTerm, ringSequence } = write;
      const { traceparent, era } = write;
      const record = joiner.add(write.id, write.record, write.more);
      if (record === undefined) continue;
      enter(write, record.length, {
        isRead: false,
        async run(deadline) {
          await replica.write({
            key,
            record,
            sync,
            buffered,
            hintedFor,
            request: requestOf(requestId, dotActor, dotCounter),
            deadline,
            traceparent,
            epoch: epochOfParts(ringTerm, ringSequence),
            era: eraOf(era) ?? firstEra,
            from,
          });
          return nothing;
        },
      });
    }
    for (const read of request.reads) {
      const { key, inspect, requestId, ringTerm, ringSequence, traceparent, known } = read;
      enter(read, 0, {
        isRead: true,
        async run(deadline) {
          if (inspect)
            return replica.inspect({ key, deadline, traceparent, ...(requestId.length > 0 && { requestId }) });
          const record = await replica.read({
            key,
            deadline,
            traceparent,
            epoch: epochOfParts(ringTerm, ringSequence),
          });
          return isKnown(record, known, xxh64) ? nothingNew : { record, owed: nothing.owed };
        },
      });
    }
    if (request.probe) stream.write({ welcome: undefined, results: [], alive: true });
  });
  stream.on('drain', () => {
    stallWatch?.();
    stallWatch = undefined;
    gate.drained();
  });
  stream.on('end', () => {
    finish();
    stream.end();
  });
  stream.on('cancelled', finish);
  stream.on('error', finish);
}

interface Work {
  readonly isRead: boolean;
  run(deadline: number): Promise<Report>;
}

interface Report extends ReplicaCopyReport {
  /** The record is the one that the reader knows. */
  readonly same?: true;
}

const empty = Buffer.alloc(0);
const nothing: Report = { record: undefined, owed: [] };
const nothingNew: Report = { ...nothing, same: true };

/** Undefined where there is none, or none that a client could have sent. */
export function requestOf(id: Uint8Array, actor: bigint, counter: bigint): RememberedRequest | undefined {
  const isOne = id.length > 0 && id.length <= requestLimits.requestIdBytesMax && counter > 0n && counter <= counterMax;
  return isOne ? { id, dot: { actor, counter: Number(counter) } } : undefined;
}

function overloaded(id: number): ReplicaResult {
  return refusal(id, ReplicaStatus.OVERLOADED, `${operationsMax} operations of this stream are under way, the limit`);
}

function refusal(id: number, status: ReplicaResult['status'], message: string): ReplicaResult {
  return { id, status, record: empty, message, more: false, owed: [], knownDot: '', era: 0n, same: false };
}

function statusOf(error: unknown): ReplicaResult['status'] {
  if (error instanceof EraMoved) return ReplicaStatus.ERA_MOVED;
  if (error instanceof LeftBehind) return ReplicaStatus.LEFT_BEHIND;
  if (error instanceof RingMoved) return ReplicaStatus.RING_MOVED;
  if (error instanceof Malformed) return ReplicaStatus.FAILED;
  if (!(error instanceof Failure)) return ReplicaStatus.FAILED;
  if (error.reason === 'DEADLINE') return ReplicaStatus.EXPIRED;
  if (error.reason === 'NOT_ENOUGH_REPLICAS') return ReplicaStatus.NOT_OWNER;
  return error.reason === 'OVERLOADED' ? ReplicaStatus.OVERLOADED : ReplicaStatus.FAILED;
}
