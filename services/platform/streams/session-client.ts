/**
 * One Session stream to one router or storage node, from the side that sends operations. Used by the client,
 * by routers and by storage nodes that send an operation on.
 *
 * Owns ids, frames, back-pressure and the stream's life. Knows nothing of keys, rings or retries: when the
 * stream is lost every operation in flight fails, and its owner decides what to do.
 *
 * I1 Every operation given to `send` gets exactly one answer: a result, or the failure of the stream.
 * I2 No operation is sent that the server would end the stream for: one that is larger than its `max_message_bytes`.
 * I3 At most `bytesInFlightMax` bytes and the server's `max_in_flight` operations are unanswered or waiting.
 * I4 What an operation waits here, and is on its way, counts against its deadline (core/remote-clock.ts). So none is sent
 *    before the server's welcome, which tells its clock: one that lay in a link could be made after it was given up.
 * I5 None is sent to another node than was meant: an address may lead to one of another cluster by now.
 */
import { type ClientDuplexStream, type ClientOptions, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  KeyValueServiceClient,
  KeyValueServiceService,
  type Operation,
  type Result,
  type RingVersion,
  SessionRequest,
  type SessionResponse,
  type SessionWelcome,
} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../core/failure.ts';
import { createRemoteClock } from '../../core/remote-clock.ts';
import { requestLimits } from '../../core/requests/limits.ts';
import { ShortLivedMap } from '../../core/short-lived-map.ts';
import { channelOptions, openChannel } from '../channel.ts';
import { servesNoKeys } from '../errors.ts';
import { connectTimeoutMs, whenReady } from '../when-ready.ts';
import { createFrameGate, type FrameGate } from './frame-gate.ts';
import { serializer } from './serializer.ts';

export const bytesInFlightMax = 32 * 1024 * 1024;

/** While fewer operations are unanswered nothing waits for a fuller frame; see frame-gate.ts, I3. */
const frameWindow = 8;
/** Of a message, beside the operation as it is estimated. */
const messageOverheadBytes = 1024;
const serializeRequest = serializer(SessionRequest);

/** A stream of operations that a router, or another storage node, sends on for their clients. */
export type Hop = 'routed' | 'forwarded';

/** What the metadata of such a stream says. What was forwarded is never sent on again. */
export const hopMetadata: Readonly<Record<Hop, string>> = {
  routed: 'cartwheel-routed',
  forwarded: 'cartwheel-forwarded',
};

/**
 * Streams carry megabytes: with HTTP/2's default window of 64 KiB they stand still for each. Pings find a
 * peer that is stopped, or a connection that is half open.
 */
export const streamChannelOptions: ClientOptions = {
  ...channelOptions,
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.max_send_message_length': -1,
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.enable_channelz': 0,
  'grpc-node.flow_control_window': 4 * 1024 * 1024,
};

/** An operation without its id, which the session gives it. */
export type OperationBody = Omit<Operation, 'id' | 'cancel'>;

export interface SessionClient {
  readonly address: string;
  /** The server has welcomed this session: what is sent goes out at once. */
  readonly ready: boolean;
  /** False once the stream is lost or the server said it goes away: send nothing new here. */
  readonly open: boolean;
  /** Operations without an answer. */
  readonly inFlight: number;
  /** `onResult` is called once: with the result, or with the failure of the stream. */
  send(body: OperationBody, bytes: number, onResult: (result: Result | Failure) => void): bigint;
  cancel(id: bigint): void;
  /** Ends the stream; operations in flight fail. */
  close(): void;
}

export interface SessionClientOptions {
  readonly address: string;
  /** name/version, for the server's log. */
  readonly name: string;
  readonly ring?: RingVersion | undefined;
  /** Undefined: the operations are this process's own. */
  readonly hop?: Hop | undefined;
  /** Why who listens there was not meant, with both names; undefined: it was. Without this whoever does will do. */
  strangerIn?(welcome: SessionWelcome): string | undefined;
  /** Milliseconds, monotonic. */
  now(): number;
  endOfTurn(run: () => void): void;
  after(ms: number, run: () => void): () => void;
  /** The server has welcomed the session. */
  onReady?(): void;
  /** The stream has ended, by whatever cause. Called once. */
  onClose?(failure: Failure): void;
}

interface Waiting {
  readonly operation: Operation;
  readonly since: number;
}

interface InFlight {
  readonly bytes: number;
  readonly onResult: (result: Result | Failure) => void;
}

export function openSession(options: SessionClientOptions): SessionClient {
  const { address, now, onClose } = options;
  const channel = openChannel(KeyValueServiceClient, address, streamChannelOptions);
  const metadata = new Metadata();
  if (options.hop !== undefined) metadata.set(hopMetadata[options.hop], '1');
  const inFlight = new ShortLivedMap<bigint, InFlight>();
  let stream: ClientDuplexStream<SessionRequest, SessionResponse> | undefined;
  let bytesInFlight = 0;
  let operationsMax = 1_024;
  /** Undefined until the welcome. */
  let messageBytesMax: number | undefined;
  let unwelcomed: (Waiting & { readonly bytes: number })[] = [];
  let lastId = 0n;
  let ready = false;
  let open = true;
  let closed = false;

  const serverClock = createRemoteClock();

  const gate: FrameGate<Waiting> = createFrameGate({
    write(waiting) {
      const sentAt = now();
      const operations = waiting.map(({ operation, since }) => shortened(operation, sentAt - since));
      return stream?.write({ hello: undefined, operations, sentAtMs: serverClock.at(sentAt) ?? 0 }) ?? false;
    },
    endOfTurn: options.endOfTurn,
    after: options.after,
    window: frameWindow,
    queueBytesMax: bytesInFlightMax,
    patient: true,
  });

  function lose(failure: Failure): void {
    if (closed) return;
    closed = true;
    open = false;
    gate.close();
    stream?.cancel();
    channel.close();
    for (const { onResult } of inFlight.takeAll()) onResult(failure);
    onClose?.(failure);
  }

  /** Answers an operation here. */
  function settle(id: bigint, answer: Failure): void {
    const waiting = inFlight.take(id);
    if (waiting === undefined) return;
    bytesInFlight -= waiting.bytes;
    waiting.onResult(answer);
  }

  function sendUnwelcomed(): void {
    const waiting = unwelcomed;
    unwelcomed = [];
    for (const { operation, since, bytes } of waiting) {
      if (isTooLarge(bytes)) settle(operation.id, tooLarge(operation, address, mostBytes()));
      else if (!gate.push({ operation, since }, bytes)) settle(operation.id, overloaded());
    }
  }

  /** 0: the server names no limit. */
  function mostBytes(): number {
    return messageBytesMax || bytesInFlightMax;
  }

  function isTooLarge(bytes: number): boolean {
    return bytes + messageOverheadBytes > mostBytes();
  }

  function overloaded(): Failure {
    const message = `${inFlight.size} operations of ${bytesInFlight} bytes are in flight to ${address}`;
    const limits = `the limits are ${operationsMax} and ${bytesInFlightMax}`;
    return new Failure('OVERLOADED', `${message}; ${limits}`, { retryAfterMs: 100 });
  }

  function receive(response: SessionResponse): void {
    const { welcome, results, goAway, clockMs } = response;
    if (clockMs > 0) serverClock.heard(clockMs, now());
    if (welcome !== undefined) {
      const stranger = options.strangerIn?.(welcome);
      if (stranger !== undefined) {
        lose(gone(address, stranger, 'NOT_APPLIED'));
        return;
      }
      operationsMax = Math.max(1, welcome.maxInFlight);
      messageBytesMax = welcome.maxMessageBytes;
      ready = true;
      sendUnwelcomed();
      options.onReady?.();
    }
    if (goAway !== undefined) open = false;
    let answered = 0;
    for (const result of results) {
      const waiting = inFlight.take(result.id);
      if (waiting === undefined) continue;
      bytesInFlight -= waiting.bytes;
      answered++;
      waiting.onResult(result);
    }
    if (answered > 0) gate.answered(answered);
    if (!open && inFlight.size === 0) lose(gone(address, 'it went away', 'NOT_APPLIED'));
  }

  whenReady(channel, Date.now() + connectTimeoutMs, (error) => {
    if (closed) return;
    if (error) return lose(gone(address, `no connection within ${connectTimeoutMs} ms`, 'NOT_APPLIED'));
    const { path, responseDeserialize } = KeyValueServiceService.session;
    stream = channel.makeBidiStreamRequest(path, serializeRequest, responseDeserialize, metadata);
    stream.on('data', receive);
    stream.on('drain', () => gate.drained());
    stream.on('error', (cause: ServiceError) => {
      // What is no method there was not carried out.
      if (cause.code === status.UNIMPLEMENTED) lose(gone(address, servesNoKeys, 'NOT_APPLIED'));
      else lose(gone(address, cause.message));
    });
    stream.on('end', () => lose(gone(address, 'it ended the session')));
    stream.write({ hello: { client: options.name, ring: options.ring }, operations: [], sentAtMs: 0 });
    gate.drained();
  });

  return {
    address,
    get ready() {
      return ready && open;
    },
    get open() {
      return open;
    },
    get inFlight() {
      return inFlight.size;
    },
    send(body, bytes, onResult) {
      const id = ++lastId;
      const full = inFlight.size >= operationsMax || bytesInFlight + bytes > bytesInFlightMax;
      if (!open) onResult(gone(address, 'the session is closed', 'NOT_APPLIED'));
      else if (isTooLarge(bytes)) onResult(tooLarge(body, address, mostBytes()));
      else if (full) onResult(overloaded());
      else {
        const waiting = { operation: { ...body, id }, since: now() };
        if (messageBytesMax === undefined) unwelcomed.push({ ...waiting, bytes });
        else if (!gate.push(waiting, bytes)) {
          onResult(overloaded());
          return id;
        }
        inFlight.set(id, { bytes, onResult });
        bytesInFlight += bytes;
      }
      return id;
    },
    cancel(targetId) {
      if (!inFlight.has(targetId)) return;
      const waiting = unwelcomed.findIndex(({ operation }) => operation.id === targetId);
      if (waiting >= 0) {
        unwelcomed.splice(waiting, 1);
        settle(targetId, gone(address, 'it was cancelled before it was sent', 'NOT_APPLIED'));
        return;
      }
      const cancel = { operation: { id: ++lastId, timeoutMs: 0, cancel: { targetId } }, since: now() };
      if (gate.push(cancel, 16)) gate.answered(1); // it has no answer of its own
    },
    close: () => lose(gone(address, 'the session was closed here')),
  };
}

/** An operation that has waited so long. 0 stays: the server's default. */
function shortened(operation: Operation, waitedMs: number): Operation {
  if (waitedMs < 1 || operation.timeoutMs === 0) return operation;
  return { ...operation, timeoutMs: Math.max(1, Math.floor(operation.timeoutMs - waitedMs)) };
}

/** By what most of it is. */
function tooLarge({ put, get, delete: remove }: OperationBody, address: string, most: number): Failure {
  const key = (put ?? get ?? remove)?.key.length ?? 0;
  const value = put?.value.length ?? 0;
  const context = (put?.context ?? remove?.context ?? get?.sessionContext)?.length ?? 0;
  const taken = `a message to ${address} has at most ${most} bytes`;
  const requestId = (put ?? remove)?.requestId.length ?? 0;
  if (requestId > requestLimits.requestIdBytesMax) {
    const message = `the request id has ${requestId} bytes, the limit is ${requestLimits.requestIdBytesMax}`;
    return new Failure('REQUEST_ID_TOO_LONG', message, { field: 'request_id' });
  }
  if (value >= key && value >= context) {
    return new Failure('VALUE_TOO_LARGE', `the value has ${value} bytes, and ${taken}`, { field: 'value' });
  }
  return key >= context
    ? new Failure('KEY_TOO_LARGE', `the key has ${key} bytes, and ${taken}`, { field: 'key' })
    : new Failure('CONTEXT_INVALID', `the context has ${context} bytes, and ${taken}`, { field: 'context' });
}

function gone(address: string, why: string, outcome: 'UNKNOWN' | 'NOT_APPLIED' = 'UNKNOWN'): Failure {
  return new Failure('NOT_ENOUGH_REPLICAS', `no answer from ${address}: ${why}`, { outcome });
}
