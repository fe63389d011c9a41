/**
 * Session streams, from the side that answers: routers and storage nodes alike.
 *
 * Owns ids, frames, limits and the end of a stream. Knows nothing of what an operation does: `execute`
 * does it.
 *
 * I1 Every operation gets one result, an error where it makes no sense; the stream lives on. (A cancel has none.)
 * I2 A stream has at most `operationsMax` operations in flight, cancelled ones that still run among them; more are
 *    answered REASON_OVERLOADED. How many of them run at a time their memory decides (lanes.ts).
 * I3 Beyond `waitingBytesPause` of answers that the peer does not read, or of operations that wait, nothing more is
 *    read from it, and no operation of it starts. Without progress for `stalledMs` it is cut off; so is the one with
 *    the most unread answers where all together have more than `unreadBytesMax`.
 * I4 At most `sessionsMax` streams, and `sessionsOfConnectionMax` of one connection; more are refused with
 *    RESOURCE_EXHAUSTED.
 */
import { type ServerDuplexStream, type ServiceError, status } from '@grpc/grpc-js';
import type {
  Operation,
  OperationError,
  Result,
  RingVersion,
  SessionRequest,
} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { KeyValueServiceService, Outcome, Reason, SessionResponse } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, Cancelling, type Until } from '../../core/cancellation.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock, CounterHandle, Log, Metrics } from '../../core/ports.ts';
import { ageOf } from '../../core/remote-clock.ts';
import type { RequestLimits } from '../../core/requests/limits.ts';
import { compareVersions } from '../../core/ring/ring.ts';
import { ShortLivedMap } from '../../core/short-lived-map.ts';
import { asFailure, toOperationError } from '../errors.ts';
import { createFrameGate } from './frame-gate.ts';
import { createLanes, type Lane } from './lanes.ts';
import { createOperationMetrics, type OperationMetrics, uncounted } from './operation-metrics.ts';
import { serializer } from './serializer.ts';
import { type Hop, hopMetadata } from './session-client.ts';
import { traceparentOf } from './traceparent-of.ts';

export const sessionsMax = 4_096;
/** A client needs one; a proxy brings those of many clients on one connection. */
export const sessionsOfConnectionMax = 256;
export const operationsMax = 4_096;
export const messageBytesMax = 4 * 1024 * 1024;
/** A few of the largest answers. */
export const waitingBytesPause = 8 * 1024 * 1024;
/** Those of 16 sessions that stand still. */
export const unreadBytesMax = 256 * 1024 * 1024;
export const stalledMs = 30_000;
/** A session, and a connection with unary calls, runs 16 operations of 1 MiB at a time, the process 256. */
const laneLimits = { laneBytes: 16 * 1024 * 1024, totalBytes: 256 * 1024 * 1024, runningMax: 512 };
/** After its client was told to go: for what was on its way by then. */
const lastOperationsMs = 1_000;
const idBytes = 12;
/** One of today's version has 55. */
const traceparentCharactersMax = 128;
/** Of an operation beside its value and context. */
const operationBytes = 256;

/** The service as it is served: the answers of sessions have a serializer of their own. */
export const keyValueDefinition = {
  ...KeyValueServiceService,
  session: { ...KeyValueServiceService.session, responseSerialize: serializer(SessionResponse) },
};

/** What an operation came with, beside itself. */
export interface Arrival extends Until {
  /** A storage node sent it on: it must be answered here. */
  readonly forwarded: boolean;
  /** A router or a storage node sent it on for its client: they have decided whether it is traced. */
  readonly relayed?: boolean;
  /** On the monotonic clock, before it waited for room. */
  readonly arrivedAt?: number;
  /** Of all operations of the stream; one may have its own. Always undefined where nothing is traced. */
  readonly traceparent?: string | undefined;
}

/** Runs one operation; what it throws becomes the operation's error. */
export type Execute = (operation: Operation, arrival: Arrival) => Promise<Omit<Result, 'id'>>;

export interface SessionServerOptions {
  readonly execute: Execute;
  readonly clock: Clock;
  readonly limits: RequestLimits;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Whether what clients say of traces is looked at. */
  readonly traced?: boolean;
  /**
   * The client of a session that is so old is asked to go, and opens another one; undefined: never. To have it come
   * over another connection, this has to be more than the age at which that is told to go.
   */
  readonly sessionAgeMs?: number | undefined;
  /** Of a storage node: its id. */
  readonly nodeId?: string | undefined;
  /** Empty, or undefined: not known. */
  readonly clusterId?: () => string;
  ringVersion(): RingVersion | undefined;
}

export interface SessionServer {
  serve(stream: ServerDuplexStream<SessionRequest, SessionResponse>): void;
  /**
   * Runs the one operation of a unary call from the connection `peer`, when there is room for it. The room is given
   * back when `answered` resolves.
   */
  runOne(peer: string, operation: Operation, deadline: number, answered: Promise<void>): Promise<Omit<Result, 'id'>>;
  /** Tells every client to go, takes nothing new, and resolves when all in flight is answered. */
  drain(): Promise<void>;
  readonly sessions: number;
}

export function createSessionServer(options: SessionServerOptions): SessionServer {
  const { execute, clock, log, metrics } = options;
  const sessions = new Set<Session>();
  const sessionsOf = new Map<string, number>();
  const unaryLanes = new Map<string, { readonly lane: Lane; calls: number }>();
  const lanes = createLanes(laneLimits);
  // Of their own: else two nodes that wait for what each has sent on to the other would wait until the deadline.
  const forwardedLanes = createLanes(laneLimits);
  const clients = createOperationMetrics(metrics);
  const cutOff = metrics.counter(
    'cartwheel_sessions_cut_off_total',
    'Sessions ended because nobody read their answers',
  );
  metrics.gauge(
    'cartwheel_operations_running_bytes',
    'What operations under way carry and are expected to answer',
    () => {
      return lanes.bytes + forwardedLanes.bytes;
    },
  );
  metrics.gauge('cartwheel_session_unread_bytes', 'Answers of Session streams that wait to be read', () => unread());
  const traffic = { out: sessionTraffic(metrics, 'out'), in: sessionTraffic(metrics, 'in') };
  metrics.gauge('cartwheel_sessions', 'Open Session streams', () => sessions.size);
  metrics.gauge('cartwheel_session_operations_in_flight', 'Operations of Session streams without an answer', () => {
    let count = 0;
    for (const session of sessions) count += session.inFlight;
    return count;
  });
  let draining = false;

  function unread(): number {
    let bytes = 0;
    for (const session of sessions) bytes += session.unreadBytes;
    return bytes;
  }

  function cutOffWorst(): void {
    const bytes = unread();
    if (bytes <= unreadBytesMax) return;
    const worst = [...sessions].reduce((a, b) => (b.unreadBytes > a.unreadBytes ? b : a));
    worst.cutOff(
      `${bytes} bytes of answers wait to be read here, the limit is ${unreadBytesMax}, and most are its own`,
    );
  }

  function refusalOf(peer: string): Partial<ServiceError> | undefined {
    if (draining) return { code: status.UNAVAILABLE, details: 'this process is going away' };
    if (sessions.size >= sessionsMax) {
      return { code: status.RESOURCE_EXHAUSTED, details: `${sessions.size} sessions are open, the limit` };
    }
    if ((sessionsOf.get(peer) ?? 0) < sessionsOfConnectionMax) return undefined;
    const details = `${sessionsOfConnectionMax} sessions of this connection are open, the limit`;
    return { code: status.RESOURCE_EXHAUSTED, details };
  }

  return {
    serve(stream) {
      const peer = stream.getPeer();
      const refusal = refusalOf(peer);
      if (refusal !== undefined) {
        stream.emit('error', refusal);
        return;
      }
      const hops = (hop: Hop) => stream.metadata.get(hopMetadata[hop]).length > 0;
      const forwarded = hops('forwarded');
      const relayed = forwarded || hops('routed');
      const measures = relayed ? uncounted : clients;
      const lane = (forwarded ? forwardedLanes : lanes).open();
      const session = openSession(stream, {
        ...options,
        forwarded,
        relayed,
        traceparent: options.traced ? traceparentOf(stream.metadata) : undefined,
        lane,
        measures,
        traffic,
        cutOff,
        onPaused: cutOffWorst,
      });
      sessions.add(session);
      sessionsOf.set(peer, (sessionsOf.get(peer) ?? 0) + 1);
      void session.over.then(() => {
        lane.close();
        sessions.delete(session);
        const left = (sessionsOf.get(peer) ?? 1) - 1;
        if (left === 0) sessionsOf.delete(peer);
        else sessionsOf.set(peer, left);
      });
    },

    async runOne(peer, operation, deadline, answered) {
      const arrivedAt = clock.now();
      const connection = unaryLanes.get(peer) ?? { lane: lanes.open(), calls: 0 };
      unaryLanes.set(peer, connection);
      connection.calls++;
      const cancellation = new Cancelling();
      void answered.then(() => cancellation.cancel());
      const cost = await new Promise<number>((resolve) => {
        connection.lane.enter(carriedBytes(operation), operation.get !== undefined, resolve);
      });
      clients.waited(clock.now() - arrivedAt);
      const run = async () => {
        if (cancellation.cancelled) throw new Cancelled('NOT_APPLIED');
        if (clock.now() >= deadline) throw waitedTooLong();
        const hops = { forwarded: false, relayed: false };
        return execute(operation, { deadline, cancellation, ...hops, arrivedAt, traceparent: undefined });
      };
      const running = run();
      running.then(
        () => clients.answered(operation, clock.now() - arrivedAt),
        (thrown) => {
          if (!cancellation.cancelled) clients.failed(operation, thrown);
        },
      );
      void Promise.allSettled([running, answered]).then(([{ status, ...settled }]) => {
        const result = status === 'fulfilled' ? (settled as { value: Omit<Result, 'id'> }).value : undefined;
        connection.lane.leave(cost, result?.get && resultBytes(result));
        if (--connection.calls === 0) unaryLanes.delete(peer);
      });
      return running;
    },

    async drain() {
      draining = true;
      const open = [...sessions];
      log.info({ sessions: open.length }, 'asking the sessions to go');
      await Promise.all(open.map((session) => session.drain()));
    },

    get sessions() {
      return sessions.size;
    },
  };
}

/** Counts one frame, and what is in it. */
function sessionTraffic(metrics: Metrics, direction: 'in' | 'out'): (operations: number) => void {
  const frames = metrics.counter(
    'cartwheel_session_frames_total',
    'Messages of Session streams, from clients (in) and to them (out)',
    { direction },
  );
  const operations = metrics.counter(
    'cartwheel_session_operations_total',
    'Operations (in) and answers (out) in messages of Session streams',
    {
      direction,
    },
  );
  return (count) => {
    frames.add(1);
    operations.add(count);
  };
}

interface Session {
  readonly inFlight: number;
  readonly unreadBytes: number;
  readonly over: Promise<void>;
  cutOff(details: string): void;
  drain(): Promise<void>;
}

interface SessionOptions extends SessionServerOptions {
  readonly forwarded: boolean;
  readonly relayed: boolean;
  readonly traceparent: string | undefined;
  readonly lane: Lane;
  readonly measures: OperationMetrics;
  readonly traffic: Readonly<Record<'in' | 'out', (operations: number) => void>>;
  readonly cutOff: CounterHandle;
  /** Its peer does not read as fast as it asks. */
  onPaused(): void;
}

function openSession(
  stream: ServerDuplexStream<SessionRequest, SessionResponse>,
  { execute, clock, limits, log, ringVersion, forwarded, lane, measures, traffic, ...options }: SessionOptions,
): Session {
  const { relayed, traceparent } = options;
  /** By id, what is not answered yet; an id that was cancelled and came again names another operation. */
  const inFlight = new ShortLivedMap<bigint, Cancelling>();
  /** Those in flight, and cancelled ones that still run. */
  let unfinished = 0;
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  let toldRing: RingVersion | undefined;
  let stallWatch: (() => void) | undefined;
  let paused = false;
  let goingAway = false;
  let ended = false;

  const gate = createFrameGate<Result>({
    write(results) {
      traffic.out(results.length);
      const flowing = send({ results, newerRing: newerRing() });
      if (flowing) resume();
      endWhenDone();
      return flowing;
    },
    endOfTurn: (run) => clock.endOfTurn(run),
    after: (ms, run) => clock.after(ms, run),
    window: Number.POSITIVE_INFINITY,
    queueBytesMax: Number.POSITIVE_INFINITY, // bounded by waitingBytesPause and what runs (lanes.ts)
  });

  function send(response: Partial<SessionResponse>): boolean {
    if (ended) return true;
    const flowing = stream.write({
      welcome: undefined,
      results: [],
      newerRing: undefined,
      goAway: undefined,
      clockMs: clock.now(),
      ...response,
    });
    if (!flowing) stallWatch ??= clock.after(stalledMs, () => cutOff(`no answer was read for ${stalledMs} ms`));
    return flowing;
  }

  function cutOff(details: string): void {
    options.cutOff.add(1);
    log.warn({ peer: stream.getPeer(), unreadBytes: gate.queueBytes, details }, 'a session did not read its answers');
    finish({ code: status.RESOURCE_EXHAUSTED, details });
  }

  function finish(error?: Partial<ServiceError>): void {
    if (ended) return;
    ended = true;
    stallWatch?.();
    keepYoung();
    gate.close();
    for (const cancelling of inFlight.takeAll()) cancelling.cancel();
    if (error !== undefined) stream.emit('error', error);
    else stream.end();
    end();
  }

  /** Once, when the client routes by an older ring than ours. */
  function newerRing(): RingVersion | undefined {
    const ours = ringVersion();
    if (toldRing === undefined || ours === undefined || compareVersions(ours, toldRing) <= 0) return undefined;
    toldRing = ours;
    return ours;
  }

  function answer(result: Result, bytes: number): void {
    if (ended) return;
    gate.push(result, bytes + idBytes);
    pause();
  }

  function isUnread(): boolean {
    return gate.queueBytes > waitingBytesPause;
  }

  function isFull(): boolean {
    return isUnread() || lane.waitingBytes > waitingBytesPause;
  }

  function pause(): void {
    if (isUnread()) lane.hold();
    if (paused || !isFull()) return;
    paused = true;
    stream.pause();
    options.onPaused();
  }

  function resume(): void {
    if (!paused) return;
    if (!isUnread()) lane.release();
    if (isFull()) return;
    paused = false;
    stream.resume();
  }

  function refuse(operation: Operation, failure: Failure): void {
    measures.failed(operation, failure);
    answer({ id: operation.id, error: toOperationError(failure) }, 128);
  }

  async function run(
    operation: Operation,
    cancellation: Cancelling,
    arrivedAt: number,
    deadline: number,
    cost: number,
  ): Promise<void> {
    const { id } = operation;
    measures.waited(clock.now() - arrivedAt);
    /** Undefined: nobody waits for it. */
    let result: Omit<Result, 'id'> | undefined;
    try {
      // Never at once: many of these in a row would call each other, through the lane.
      if (cancellation.cancelled || clock.now() >= deadline) await undefined;
      if (cancellation.cancelled) throw new Cancelled('NOT_APPLIED');
      if (clock.now() >= deadline) throw waitedTooLong();
      result = await execute(operation, { deadline, cancellation, forwarded, relayed, arrivedAt, traceparent });
      measures.answered(operation, clock.now() - arrivedAt);
    } catch (thrown) {
      const failure = asFailure(thrown, log);
      if (!cancellation.cancelled) {
        measures.failed(operation, failure);
        result = { error: toOperationError(failure) };
      }
    }
    const bytes = result === undefined ? 0 : resultBytes(result);
    unfinished--;
    if (result !== undefined && inFlight.get(id) === cancellation) {
      inFlight.take(id);
      answer({ ...result, id }, bytes);
    }
    lane.leave(cost, result?.get && bytes);
    resume();
    endWhenDone();
  }

  /** Everything asked is answered, and the answers are on their way. */
  function isDone(): boolean {
    return goingAway && inFlight.size === 0 && gate.queueItems === 0;
  }

  function endWhenDone(): void {
    if (!goingAway || inFlight.size > 0) return;
    clock.endOfTurn(() => {
      if (isDone()) finish();
    });
  }

  /** `ageMs`: how long it was on its way. */
  function accept(operation: Operation, ageMs: number): void {
    const cancellation = new Cancelling();
    inFlight.set(operation.id, cancellation);
    unfinished++;
    const timeoutMs = Math.min(operation.timeoutMs || limits.timeoutMsDefault, limits.timeoutMsMax);
    const arrivedAt = clock.now();
    lane.enter(carriedBytes(operation), operation.get !== undefined, (cost) => {
      void run(operation, cancellation, arrivedAt, arrivedAt - ageMs + timeoutMs, cost);
    });
    pause();
  }

  function receive(operation: Operation, ageMs: number): void {
    // It is none, and is not to be carried from process to process.
    if (operation.traceparent !== undefined && operation.traceparent.length > traceparentCharactersMax) {
      operation.traceparent = undefined;
    }
    const { id, cancel } = operation;
    if (cancel !== undefined) {
      const cancelling = inFlight.take(cancel.targetId);
      if (cancelling !== undefined) {
        cancelling.cancel();
        answer({ id: cancel.targetId, error: cancelled }, 64);
      }
      endWhenDone();
    } else if (id === 0n || inFlight.has(id)) {
      const message = id === 0n ? 'an operation has an id that is not 0' : `operation ${id} is in flight already`;
      refuse(operation, new Failure('OPERATION_INVALID', message, { field: 'id' }));
    } else if (operation.get === undefined && operation.put === undefined && operation.delete === undefined) {
      refuse(
        operation,
        new Failure('OPERATION_INVALID', `operation ${id} has no get, put, delete or cancel`, { field: 'operation' }),
      );
    } else if (goingAway) {
      refuse(operation, new Failure('DRAINING', 'this process is going away'));
    } else if (unfinished >= operationsMax) {
      const message = `${unfinished} operations are in flight on this session, the limit`;
      refuse(operation, new Failure('OVERLOADED', message, { retryAfterMs: 50 }));
    } else {
      accept(operation, ageMs);
    }
  }

  stream.on('data', (request: SessionRequest) => {
    if (request.hello !== undefined) {
      log.debug({ client: request.hello.client, peer: stream.getPeer() }, 'a session began');
      toldRing = request.hello.ring;
    }
    traffic.in(request.operations.length);
    const ageMs = ageOf(request.sentAtMs, clock.now());
    for (const operation of request.operations) receive(operation, ageMs);
  });
  stream.on('drain', () => {
    stallWatch?.();
    stallWatch = undefined;
    gate.drained();
    resume(); // nothing may be left to write
  });
  stream.on('cancelled', () => finish());
  stream.on('error', () => finish());
  // The client has said all; what is in flight is still answered.
  stream.on('end', () => {
    goingAway = true;
    endWhenDone();
  });

  // What it had sent before it was told is still taken, and it ends the stream when all is answered.
  const { sessionAgeMs } = options;
  const keepYoung =
    sessionAgeMs === undefined
      ? () => {}
      : clock.after(sessionAgeMs, () => void send({ goAway: { reason: 'the session is old; open another one' } }));

  const { nodeId = '', clusterId = () => '' } = options;
  send({ welcome: { maxInFlight: operationsMax, maxMessageBytes: messageBytesMax, nodeId, clusterId: clusterId() } });

  return {
    get inFlight() {
      return inFlight.size;
    },
    get unreadBytes() {
      return gate.queueBytes;
    },
    over,
    cutOff,
    async drain() {
      send({ goAway: { reason: 'the process is stopping' } });
      const cancel = clock.after(lastOperationsMs, () => {
        goingAway = true;
        endWhenDone();
      });
      await over;
      cancel();
    },
  };
}

/** What it was doing may have happened. */
const cancelled: OperationError = Object.freeze({
  code: status.CANCELLED,
  reason: Reason.UNSPECIFIED,
  message: 'cancelled by the client',
  field: '',
  outcome: Outcome.UNKNOWN,
  retryAfter: undefined,
  receipt: undefined,
  context: Buffer.alloc(0),
});

function waitedTooLong(): Failure {
  return new Failure('DEADLINE', 'the deadline passed while the operation waited for others of its client');
}

function carriedBytes({ put }: Operation): number {
  return operationBytes + (put === undefined ? 0 : put.value.length);
}

/** Roughly: it decides when a frame is full, and how many reads run at a time. */
function resultBytes(result: Omit<Result, 'id'>): number {
  let bytes = 128;
  if (result.get !== undefined) for (const { value } of result.get.siblings) bytes += value.length + 64;
  return bytes;
}
