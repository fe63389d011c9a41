/**
 * KeyValueService, as routers and storage nodes both serve it: a unary call is a session of one operation.
 * Knows nothing of what an operation does.
 */
import { once } from 'node:events';
import type { ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import type {
  ExplainRequest,
  ExplainResponse,
  KeyValueServiceServer,
  ListKeysRequest,
  ListKeysResponse,
  Operation,
  Result,
  WatchRingRequest,
  WatchRingResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Log } from '../core/ports.ts';
import type { RequestLimits } from '../core/requests/limits.ts';
import { encodeRing } from '../core/ring/codec.ts';
import { deltaOf } from '../core/ring/delta.ts';
import { compareVersions, type Ring } from '../core/ring/ring.ts';
import { fromOperationError } from './errors.ts';
import { bidi, serverStream, unary, whenOver } from './grpc-server.ts';
import type { RingSource } from './ring-source.ts';
import type { SessionServer } from './streams/session-server.ts';
import { traceparentOf } from './streams/traceparent-of.ts';

/** Streams of WatchRing at a time. */
export const watchersMax = 4_096;

export interface KeyValueServiceOptions {
  readonly sessions: SessionServer;
  readonly rings: RingSource;
  /** Of the ring. */
  clusterId(): string;
  readonly clock: Clock;
  readonly limits: RequestLimits;
  readonly log: Log;
  /** Whether what clients say of traces is looked at. */
  readonly traced?: boolean;
  explain(request: ExplainRequest, deadline: number): Promise<ExplainResponse>;
  /** Pages in order; it is asked for the next one only when the last is sent. */
  listKeys(request: ListKeysRequest): AsyncIterable<ListKeysResponse>;
}

export function createKeyValueService(options: KeyValueServiceOptions): KeyValueServiceServer {
  const { sessions, clock, limits, log } = options;
  let watchers = 0;

  async function one(call: ServerUnaryCall<unknown, unknown>, body: Partial<Operation>): Promise<Omit<Result, 'id'>> {
    const operation: Operation = { id: 1n, timeoutMs: 0, ...body };
    if (options.traced) operation.traceparent = traceparentOf(call.metadata);
    const result = await sessions.runOne(call.getPeer(), operation, deadlineOf(call), whenOver(call));
    if (result.error !== undefined) throw fromOperationError(result.error);
    return result;
  }

  function deadlineOf(call: ServerUnaryCall<unknown, unknown>): number {
    const asked = Number(call.getDeadline()) - clock.wallNow();
    return clock.now() + Math.min(Number.isFinite(asked) ? asked : limits.timeoutMsDefault, limits.timeoutMsMax);
  }

  return {
    get: unary(log, async (request, call) => answered(await one(call, { get: request }), 'get')),
    put: unary(log, async (request, call) => answered(await one(call, { put: request }), 'put')),
    delete: unary(log, async (request, call) => answered(await one(call, { delete: request }), 'delete')),
    session: bidi(log, (stream) => sessions.serve(stream)),
    explain: unary(log, (request: ExplainRequest, call) => options.explain(request, deadlineOf(call))),

    listKeys: serverStream(log, async (request: ListKeysRequest, call) => {
      for await (const page of options.listKeys(request)) await send(call, page);
    }),

    watchRing: serverStream(log, async (request: WatchRingRequest, call) => {
      if (watchers >= watchersMax) {
        throw new Failure('OVERLOADED', `${watchers} streams watch the ring, the limit is ${watchersMax}`, {
          retryAfterMs: 1_000,
        });
      }
      watchers++;
      try {
        await watchRing(request, call, options);
      } finally {
        watchers--;
      }
    }),
  };
}

/**
 * Each newer ring: the first one whole, later ones as what has changed, where the peer takes that. Of several that came
 * while it was not reading only the last.
 */
async function watchRing(
  { known, deltas, clusterId: knownOf }: WatchRingRequest,
  call: ServerWritableStream<WatchRingRequest, WatchRingResponse>,
  { rings, ...options }: Pick<KeyValueServiceOptions, 'rings' | 'clusterId'>,
): Promise<void> {
  let sent: Ring | undefined;
  let wake = () => {};
  call.on('cancelled', () => wake());
  const unsubscribe = rings.subscribe(() => wake());
  try {
    while (!call.cancelled) {
      const ring = rings.current();
      const clusterId = options.clusterId();
      const told = sent?.version ?? (knownOf === '' || knownOf === clusterId ? known : undefined);
      if (ring !== undefined && (told === undefined || compareVersions(ring.version, told) > 0)) {
        const delta = deltas && sent !== undefined ? deltaOf(sent, ring) : undefined;
        sent = ring;
        await send(call, { ...(delta === undefined ? { ring: encodeRing(ring) } : { delta }), clusterId });
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    unsubscribe();
  }
}

async function send<Response>(call: ServerWritableStream<unknown, Response>, response: Response): Promise<void> {
  if (call.cancelled) throw new Failure('DEADLINE', 'the caller has gone');
  if (call.write(response)) return;
  const gone = new AbortController();
  const onCancelled = () => gone.abort();
  call.once('cancelled', onCancelled);
  try {
    await once(call, 'drain', { signal: gone.signal });
  } catch {
    throw new Failure('DEADLINE', 'the caller has gone');
  } finally {
    call.off('cancelled', onCancelled);
  }
}

function answered<Name extends 'get' | 'put' | 'delete'>(
  result: Omit<Result, 'id'>,
  name: Name,
): NonNullable<Result[Name]> {
  const answer = result[name];
  if (answer === undefined) throw new Error(`a ${name} was answered with something else`);
  return answer;
}
