/**
 * The four ways by which an operation reaches a cluster: unary and Session, at the router and at a storage node.
 * Requests go out as bytes, so that a test can send what no generated client would.
 */
import assert from 'node:assert/strict';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, type ClientDuplexStream, credentials, Metadata, status } from '@grpc/grpc-js';
import {
  DeleteRequest,
  DeleteResponse,
  GetRequest,
  GetResponse,
  OperationError,
  Outcome,
  PutRequest,
  PutResponse,
  Reason,
  type Result,
  SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { ReasonName } from '../../services/core/failure.ts';
import type { Cluster } from './cluster.ts';

export type Kind = 'get' | 'put' | 'delete';
export type Answer = Omit<Result, 'id'>;

export interface Call {
  readonly get?: Partial<GetRequest>;
  readonly put?: Partial<PutRequest>;
  readonly delete?: Partial<DeleteRequest>;
}

export interface Door {
  /** For the message of an assertion, and to make keys that no other door touches. */
  readonly name: string;
  readonly isSession: boolean;
  call(call: Call, timeoutMs?: number): Promise<Answer>;
  /** The request as these bytes. */
  raw(kind: Kind, request: Uint8Array, timeoutMs?: number): Promise<Answer>;
  close(): void;
}

const service = '/cartwheel.kv.v1.KeyValueService';
const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
/** Siblings of 1 MiB, all at once where a test asks for them. */
const channelOptions = { 'grpc.max_receive_message_length': 32 * 1024 * 1024, 'grpc.max_send_message_length': -1 };

const requests = { get: GetRequest, put: PutRequest, delete: DeleteRequest };
const responses = { get: GetResponse, put: PutResponse, delete: DeleteResponse };
const fields: Readonly<Record<Kind, number>> = { get: 3, put: 4, delete: 5 };

export function openDoors(cluster: Pick<Cluster, 'router' | 'nodes'>): readonly Door[] {
  const node = cluster.nodes[0];
  assert.ok(node);
  return [
    unaryDoor('unary at the router', cluster.router.address),
    sessionDoor('session at the router', cluster.router.address),
    unaryDoor('unary at a storage node', node.address),
    sessionDoor('session at a storage node', node.address),
  ];
}

export function newClient(address: string): Client {
  return new Client(address, credentials.createInsecure(), { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 });
}

export function unaryDoor(name: string, address: string): Door {
  const client = newClient(address);
  return door(
    name,
    false,
    () => client.close(),
    (kind, request, timeoutMs) => {
      const path = `${service}/${{ get: 'Get', put: 'Put', delete: 'Delete' }[kind]}`;
      const { decode } = responses[kind];
      const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
      return new Promise<Answer>((resolve) => {
        client.makeUnaryRequest(
          path,
          asIs,
          (bytes: Buffer) => decode(bytes),
          request,
          new Metadata(),
          options,
          (error, response) => {
            if (error === null) return resolve({ [kind]: response });
            const trailer = error.metadata.get('cartwheel-error-bin')[0];
            if (!(trailer instanceof Buffer)) return resolve({ error: withoutTrailer(error.code, error.details) });
            const failure = OperationError.decode(trailer);
            assert.equal(failure.code, error.code, 'the status and the trailer name one code');
            resolve({ error: failure });
          },
        );
      });
    },
  );
}

/** One stream for all its calls. */
export function sessionDoor(name: string, address: string): Door {
  const client = newClient(address);
  const waiting = new Map<bigint, (answer: Answer) => void>();
  let lastId = 0n;
  const stream = openRawSession(client);
  stream.on('data', ({ results }: SessionResponse) => {
    for (const result of results) {
      waiting.get(result.id)?.(result);
      waiting.delete(result.id);
    }
  });
  stream.on('error', (error: { code?: number; message: string }) => {
    for (const resolve of waiting.values()) resolve({ error: withoutTrailer(error.code ?? -1, error.message) });
    waiting.clear();
  });
  // A channel that is closed lets its streams go on.
  const close = () => {
    stream.cancel();
    client.close();
  };
  return door(name, true, close, (kind, request, timeoutMs) => {
    const id = ++lastId;
    return new Promise<Answer>((resolve) => {
      waiting.set(id, resolve);
      stream.write(sessionRequest([operation(id, kind, request, timeoutMs)]));
    });
  });
}

function door(name: string, isSession: boolean, close: () => void, raw: Door['raw']): Door {
  return {
    name,
    isSession,
    raw,
    call(call, timeoutMs) {
      const [kind] = Object.keys(call) as [Kind];
      return raw(kind, encode(kind, call), timeoutMs);
    },
    close,
  };
}

/** A Session whose requests are bytes. */
export function openRawSession(client: Client): ClientDuplexStream<Uint8Array, SessionResponse> {
  return client.makeBidiStreamRequest(`${service}/Session`, asIs, (bytes: Buffer) => SessionResponse.decode(bytes));
}

/** The bytes of one request; absent fields are the defaults. */
export function encode(kind: Kind, call: Call): Uint8Array {
  const { fromPartial, encode: write } = requests[kind] as typeof GetRequest;
  return write(fromPartial((call[kind] ?? {}) as Partial<GetRequest>)).finish();
}

/** The bytes of one Operation with a get, put or delete. */
export function operation(id: bigint, kind: Kind, request: Uint8Array, timeoutMs = 0): Uint8Array {
  return new BinaryWriter()
    .uint32(8)
    .uint64(id)
    .uint32(16)
    .uint32(timeoutMs)
    .uint32(tag(fields[kind]))
    .bytes(request)
    .finish();
}

/** The bytes of one Operation with a cancel. */
export function cancelOperation(id: bigint, targetId: bigint): Uint8Array {
  const cancel = new BinaryWriter().uint32(8).uint64(targetId).finish();
  return new BinaryWriter().uint32(8).uint64(id).uint32(tag(6)).bytes(cancel).finish();
}

/** The bytes of one SessionRequest. */
export function sessionRequest(operations: readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const each of operations) writer.uint32(tag(2)).bytes(each);
  return writer.finish();
}

/** The key of a field whose value is a length and bytes. */
function tag(field: number): number {
  return (field << 3) | 2;
}

function withoutTrailer(code: number, details: string): OperationError {
  return OperationError.fromPartial({ code, message: details, outcome: Outcome.UNKNOWN });
}

export interface Wanted {
  readonly reason: ReasonName;
  readonly code: status;
  readonly field?: string;
  readonly outcome?: 'NOT_APPLIED' | 'UNKNOWN';
  readonly message?: RegExp;
}

/** Asserts that the answer is this failure, and gives it. */
export function assertFailure(answer: Answer, wanted: Wanted, context: string): OperationError {
  const { error } = answer;
  const seen = error && `${reasonName(error.reason)}, ${status[error.code]}: ${error.message}`;
  assert.ok(error, `${context}: wanted ${wanted.reason}, and it went well`);
  assert.equal(reasonName(error.reason), wanted.reason, `${context}: ${seen}`);
  assert.equal(status[error.code], status[wanted.code], `${context}: ${seen}`);
  if (wanted.field !== undefined) assert.equal(error.field, wanted.field, `${context}: ${seen}`);
  const outcome = Outcome[wanted.outcome ?? 'NOT_APPLIED'];
  assert.equal(error.outcome, outcome, `${context}: the outcome of ${seen}`);
  if (wanted.message !== undefined) assert.match(error.message, wanted.message, context);
  return error;
}

export function assertGet(answer: Answer, context: string): GetResponse {
  assert.ok(answer.get, `${context}: ${answer.error?.message}`);
  return answer.get;
}

export function assertPut(answer: Answer, context: string): PutResponse {
  assert.ok(answer.put, `${context}: ${answer.error?.message}`);
  return answer.put;
}

function reasonName(reason: number): string {
  return Object.entries(Reason).find(([, number]) => number === reason)?.[0] ?? String(reason);
}
