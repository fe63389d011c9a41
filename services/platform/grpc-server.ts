/**
 * The gRPC port of a service: transport limits, health, reflection, metrics of calls, and a graceful end.
 *
 * It owns the listening socket and looks at the first bytes of each connection before grpc-js does, so that
 * strangers (HTTP/1, TLS, silence) get a short answer and cost one log line a second. It knows nothing of what
 * the services do, and never touches a message of a stream.
 *
 *     socket ─► preface checked (PREFACE_DEADLINE_MS) ─► HTTP/2 session of grpc-js (keepalive) ─► handler
 *
 * I1 Connections, streams a connection, message sizes and the time for a preface and a unary request have caps.
 * I2 A handler made by unary(), serverStream() or bidi() cannot throw into the process: what it throws is the
 *    call's answer.
 */

import { readFileSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerInterceptor,
  type ServerOptions,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { HistogramHandle, Log, Metrics } from '../core/ports.ts';
import { listen } from './admin-http.ts';
import { asFailure, toServiceError } from './errors.ts';
import { sparingly } from './logging.ts';

export interface GrpcLimits {
  /** A message that is larger ends its call with RESOURCE_EXHAUSTED. */
  readonly maxReceiveMessageBytes: number;
  /** Calls at a time on one connection; a client queues what is more. */
  readonly maxConcurrentStreams: number;
  /** Connections at a time; what is more is closed at once. An idle one costs about 30 KB. */
  readonly maxConnections: number;
  /** Time for the 24 bytes with which an HTTP/2 client begins. */
  readonly prefaceDeadlineMs: number;
  /** Each connection is pinged this often … */
  readonly keepaliveIntervalMs: number;
  /** … and cut off without an answer in this time. The answer has 17 bytes: a peer of 1 byte a second is too slow. */
  readonly keepaliveTimeoutMs: number;
  /** A connection without a call for this long is closed; clients open another when they need it. */
  readonly maxConnectionIdleMs: number;
  /**
   * A connection that is so old, give or take a tenth, is told to take no more calls, so that clients behind a load
   * balancer find their way to servers that are new; the age of a session has to be above it (streams/session-server.ts).
   * Infinity: never.
   */
  readonly maxConnectionAgeMs: number;
  /** From then on what still goes on there has so long. */
  readonly maxConnectionAgeGraceMs: number;
  /** From the headers of a unary call to the end of its request (4 MiB at 140 KB/s). */
  readonly unaryRequestDeadlineMs: number;
}

export const DEFAULT_GRPC_LIMITS: GrpcLimits = {
  maxReceiveMessageBytes: 4 * 1_024 * 1_024,
  maxConcurrentStreams: 1_024,
  maxConnections: 4_096,
  prefaceDeadlineMs: 5_000,
  keepaliveIntervalMs: 20_000,
  keepaliveTimeoutMs: 10_000,
  maxConnectionIdleMs: 15 * 60_000,
  maxConnectionAgeMs: Number.POSITIVE_INFINITY,
  maxConnectionAgeGraceMs: Number.POSITIVE_INFINITY,
  unaryRequestDeadlineMs: 30_000,
};

export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

export interface GrpcServer {
  /** HOST:PORT as it is bound. */
  readonly address: string;
  /** What grpc.health.v1 answers, for the whole server and each service. NOT_SERVING until it is set. */
  setServing(isServing: boolean): void;
  /**
   * Says NOT_SERVING, accepts no more, tells clients to go (GOAWAY), waits for calls in flight, and cuts off what
   * is left after `graceMs`. Streams without an end (sessions, watches) are the service's to end first. Idempotent.
   */
  drain(graceMs: number): Promise<void>;
}

const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const TLS_HANDSHAKE_BYTE = 0x16;
const HTTP1_ANSWER =
  'HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n' +
  'this port speaks gRPC (HTTP/2 without TLS); /livez, /readyz and /metrics are on the admin port\n';
/**
 * Fields of one message, not counting those of messages in it. Ours have a few thousand operations or members at most;
 * 4 MiB of empty ones would be two million objects, and seconds of this process for each message.
 */
const MAX_FIELDS = 16_384;
/** How often slow unary requests are looked for; no timer per call. */
const SWEEP_INTERVAL_MS = 1_000;

/** A FileDescriptorSet of our contracts, and of grpc.health.v1. */
const DESCRIPTORS = fileURLToPath(new URL('../../proto/gen/descriptors.binpb', import.meta.url));

/** Rejects with the address in the message when it cannot be bound. */
export async function startGrpcServer(options: {
  readonly listen: string;
  readonly services: readonly GrpcService[];
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limits?: Partial<GrpcLimits>;
}): Promise<GrpcServer> {
  const { services, log, metrics } = options;
  const limits: GrpcLimits = { ...DEFAULT_GRPC_LIMITS, ...options.limits };
  const strangers = sparingly(log);
  const requests = new SlowRequests(limits.unaryRequestDeadlineMs);
  const server = new Server({
    'grpc.max_receive_message_length': limits.maxReceiveMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.maxConcurrentStreams,
    'grpc.keepalive_time_ms': limits.keepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    'grpc.max_connection_idle_ms': limits.maxConnectionIdleMs,
    ...ageOptions(limits),
    'grpc.enable_channelz': 0,
    interceptors: [measureCalls(metrics, requests)],
  });

  const names: string[] = [];
  for (const { definition, implementation } of services) {
    names.push(serviceName(Object.values(definition)[0]?.path ?? ''));
    server.addService(loggingUndecodable(definition, strangers), implementation);
  }
  const healthOf = (isServing: boolean) => (isServing ? 'SERVING' : 'NOT_SERVING');
  const health = new HealthImplementation(Object.fromEntries(['', ...names].map((name) => [name, healthOf(false)])));
  health.addToServer(server);
  reflectionOf(names).addToServer(server);

  const sockets = new Set<Socket>();
  const notAdmitted = new Set<Socket>();
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    notAdmitted.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      notAdmitted.delete(socket);
    });
    admit(socket, limits.prefaceDeadlineMs, strangers, () => {
      notAdmitted.delete(socket);
      injector.injectConnection(socket);
    });
  });
  listener.maxConnections = limits.maxConnections;
  listener.on('drop', (peer) => {
    strangers.warn(
      { peer: peer?.remoteAddress, maxConnections: limits.maxConnections },
      'connection refused: too many',
    );
  });
  metrics.gauge('cartwheel_grpc_connections', 'Open connections on the gRPC port.', () => sockets.size);
  const address = await listen(listener, options.listen, '--listen');
  listener.on('error', (error) => log.error({ err: error }, 'the gRPC port failed'));

  const setServing = (isServing: boolean): void => {
    for (const name of ['', ...names]) health.setStatus(name, healthOf(isServing));
  };
  let drained: Promise<void> | undefined;
  return {
    address,
    setServing,
    drain(graceMs: number): Promise<void> {
      drained ??= (async () => {
        setServing(false);
        for (const socket of notAdmitted) socket.destroy();
        await endGracefully(listener, server, sockets, graceMs);
        requests.stop();
      })();
      return drained;
    },
  };
}

/** grpc-js knows "never" by the absence of the option. */
function ageOptions({ maxConnectionAgeMs, maxConnectionAgeGraceMs }: GrpcLimits): ServerOptions {
  if (maxConnectionAgeMs === Number.POSITIVE_INFINITY) return {};
  return {
    'grpc.max_connection_age_ms': maxConnectionAgeMs,
    'grpc.max_connection_age_grace_ms': maxConnectionAgeGraceMs,
  };
}

/**
 * A unary handler that resolves with the response or throws a Failure. grpc-js leaves a promise that rejects
 * to the process.
 */
export function unary<Request, Response>(
  log: Log,
  handler: (request: Request, call: ServerUnaryCall<Request, Response>) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    try {
      callback(null, await handler(call.request, call));
    } catch (thrown) {
      callback(toServiceError(asFailure(thrown, log)));
    }
  };
}

/** Resolves when the status of a unary call is sent, after all of its answer, or when its caller has gone. */
export function whenOver(call: ServerUnaryCall<unknown, unknown>): Promise<void> {
  return overs.get(call.metadata)?.promise ?? Promise.resolve();
}

/** By the metadata that began a unary call: what its handler and the interceptor both have. */
const overs = new WeakMap<Metadata, PromiseWithResolvers<void>>();

/** A handler of a stream of responses, which ends when the promise resolves. */
export function serverStream<Request, Response>(
  log: Log,
  handler: (request: Request, call: ServerWritableStream<Request, Response>) => Promise<void>,
): handleServerStreamingCall<Request, Response> {
  return async (call) => {
    try {
      await handler(call.request, call);
      call.end();
    } catch (thrown) {
      if (!call.destroyed) call.emit('error', toServiceError(asFailure(thrown, log)));
    }
  };
}

/** A handler of a stream both ways, which is the handler's own to end. Only what it throws at once is caught here. */
export function bidi<Request, Response>(
  log: Log,
  handler: (call: ServerDuplexStream<Request, Response>) => void,
): handleBidiStreamingCall<Request, Response> {
  return (call) => {
    try {
      handler(call);
    } catch (thrown) {
      call.emit('error', toServiceError(asFailure(thrown, log)));
    }
  };
}

/** Passes a socket on once it has begun as an HTTP/2 client does; ends all others. */
function admit(socket: Socket, deadlineMs: number, strangers: Pick<Log, 'warn'>, pass: () => void): void {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  const refuse = (why: string, answer?: string): void => {
    clearTimeout(deadline);
    socket.off('readable', look);
    strangers.warn({ peer }, `connection refused: ${why}`);
    if (answer === undefined) socket.destroy();
    else {
      socket.resume();
      socket.end(answer, () => socket.destroy());
    }
  };
  const deadline = setTimeout(() => refuse(`no HTTP/2 preface within ${deadlineMs} ms`), deadlineMs);
  let begun: Buffer = Buffer.alloc(0);
  const look = (): void => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    begun = Buffer.concat([begun, bytes]);
    const seen = begun.subarray(0, HTTP2_PREFACE.length);
    if (!HTTP2_PREFACE.subarray(0, seen.length).equals(seen)) {
      if (seen[0] === TLS_HANDSHAKE_BYTE) refuse('TLS on a port without it');
      else if (/^[A-Z]+ /.test(seen.toString('latin1'))) refuse('HTTP/1 on the gRPC port', HTTP1_ANSWER);
      else refuse('not HTTP/2');
      return;
    }
    if (seen.length < HTTP2_PREFACE.length) return;
    clearTimeout(deadline);
    socket.off('readable', look);
    socket.off('error', ignoreError);
    socket.unshift(begun);
    pass();
  };
  // A reset says nothing that the close does not.
  const ignoreError = (): void => {};
  socket.on('error', ignoreError);
  socket.once('close', () => clearTimeout(deadline));
  socket.on('readable', look);
}

/** The listener has closed when its last connection has; tryShutdown() says so before calls in flight are done. */
async function endGracefully(
  listener: NetServer,
  server: Server,
  sockets: Iterable<Socket>,
  graceMs: number,
): Promise<void> {
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  server.tryShutdown(() => {});
  const force = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, graceMs);
  await closed;
  clearTimeout(force);
}

/**
 * Measures each call from its headers to its status. It watches two methods of the call instead of wrapping it,
 * because a wrapper would take part in every message of a stream.
 */
function measureCalls(metrics: Metrics, requests: SlowRequests): ServerInterceptor {
  const byMethod = new Map<string, (code: number, milliseconds: number) => void>();
  const recorderOf = (path: string) => {
    const known = byMethod.get(path);
    if (known) return known;
    const byCode = new Map<number, HistogramHandle>();
    const recorder = (code: number, milliseconds: number): void => {
      let histogram = byCode.get(code);
      if (!histogram) {
        histogram = metrics.histogram('cartwheel_rpc_seconds', 'Calls answered; for a stream, how long it lived.', {
          service: serviceName(path),
          method: path.slice(path.lastIndexOf('/') + 1),
          code: status[code] ?? String(code),
        });
        byCode.set(code, histogram);
      }
      histogram.observe(milliseconds);
    };
    byMethod.set(path, recorder);
    return recorder;
  };

  return (method, call) => {
    const record = recorderOf(method.path);
    const isUnary = !method.requestStream && !method.responseStream;
    const startedAt = performance.now();
    const end = isUnary ? Promise.withResolvers<void>() : undefined;
    let isOver = false;
    const over = (code: number): void => {
      if (isOver) return;
      isOver = true;
      end?.resolve();
      if (isUnary) requests.delete(call);
      record(code, performance.now() - startedAt);
    };
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (sent) => {
      over(sent.code ?? status.UNKNOWN);
      sendStatus(sent);
    };
    const start = call.start.bind(call);
    call.start = (listener) => {
      const onCancel = listener.onCancel.bind(listener);
      listener.onCancel = () => {
        over(status.CANCELLED);
        onCancel();
      };
      if (end !== undefined) {
        const onReceiveMetadata = listener.onReceiveMetadata.bind(listener);
        listener.onReceiveMetadata = (metadata) => {
          overs.set(metadata, end);
          onReceiveMetadata(metadata);
        };
        requests.add(call, startedAt);
        const onReceiveHalfClose = listener.onReceiveHalfClose.bind(listener);
        listener.onReceiveHalfClose = () => {
          requests.delete(call);
          onReceiveHalfClose();
        };
      }
      start(listener);
    };
    // The type asks for grpc-js' own wrapper; what is used of it is the interface that `call` has.
    return call as ReturnType<ServerInterceptor>;
  };
}

type Call = Parameters<ServerInterceptor>[1];

/** Unary calls whose request has not arrived whole; those past the deadline are ended. */
class SlowRequests {
  // Insertion order is order of start: a sweep stops at the first one that is not late.
  readonly #startedAt = new Map<Call, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(deadlineMs: number) {
    this.#timer = setInterval(() => this.#sweep(deadlineMs), Math.min(SWEEP_INTERVAL_MS, deadlineMs)).unref();
  }

  add(call: Call, startedAt: number): void {
    this.#startedAt.set(call, startedAt);
  }

  delete(call: Call): void {
    this.#startedAt.delete(call);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #sweep(deadlineMs: number): void {
    const now = performance.now();
    for (const [call, startedAt] of this.#startedAt) {
      if (now - startedAt < deadlineMs) return;
      call.sendStatus({ code: status.DEADLINE_EXCEEDED, details: `request not complete after ${deadlineMs} ms` });
      this.#startedAt.delete(call);
    }
  }
}

/** grpc-js answers a message that does not decode with INTERNAL, and tells nobody here. */
function loggingUndecodable(definition: ServiceDefinition, strangers: Pick<Log, 'warn'>): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): unknown => {
        try {
          checkFields(bytes);
          return method.requestDeserialize(bytes);
        } catch (error) {
          strangers.warn({ method: method.path, bytes: bytes.length, err: error }, 'a request that does not decode');
          throw error;
        }
      };
      return [name, { ...method, requestDeserialize }];
    }),
  );
}

/** Throws where a message has too many fields; what is no message is for its decoder to refuse. */
function checkFields(bytes: Buffer): void {
  if (bytes.length < 2 * MAX_FIELDS) return;
  const reader = new BinaryReader(bytes);
  for (let fields = 0; reader.pos < reader.len; fields++) {
    if (fields === MAX_FIELDS) throw new Error(`a message of ${bytes.length} bytes has more than ${MAX_FIELDS} fields`);
    const [number, wireType] = reader.tag();
    reader.skip(wireType, number);
  }
}

/**
 * With descriptors as buf writes them: those that proto-loader makes name types in part only, and no imports, which
 * most reflection clients (grpcurl, buf curl) refuse.
 */
function reflectionOf(names: readonly string[]): ReflectionService {
  // Nothing but the files is looked at in a definition.
  const format = 'Protocol Buffer 3 EnumDescriptorProto';
  const all = { format, type: {}, fileDescriptorProtos: filesOf(readFileSync(DESCRIPTORS)) } as const;
  return new ReflectionService({ all }, { services: [...names, 'grpc.health.v1.Health'] });
}

/** Of a FileDescriptorSet, which has nothing else. */
function filesOf(descriptorSet: Buffer): Buffer[] {
  const reader = new BinaryReader(descriptorSet);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
}

/** `cartwheel.kv.v1.KeyValueService` of `/cartwheel.kv.v1.KeyValueService/Get`. */
function serviceName(path: string): string {
  return path.slice(1, path.lastIndexOf('/'));
}
