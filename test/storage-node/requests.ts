/** Requests with everything unsaid, and what the tests ask of their answers. */
import assert from 'node:assert/strict';
import type {
  DeleteRequest,
  DeleteResponse,
  GetRequest,
  GetResponse,
  PutRequest,
  PutResponse,
  Result,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';

const nothing = Buffer.alloc(0);

export function get(key: string, changes: Partial<GetRequest> = {}): { get: GetRequest } {
  const request = { namespace: '', key: Buffer.from(key), sessionContext: nothing, maxBytes: 0, dots: [] };
  return { get: { ...request, ...changes } };
}

export function put(key: string, value: string | Buffer, changes: Partial<PutRequest> = {}): { put: PutRequest } {
  const request: PutRequest = {
    namespace: '',
    key: Buffer.from(key),
    value: Buffer.from(value as string),
    context: nothing,
    durability: 0,
    requestId: nothing,
    attempt: 0,
    ttl: undefined,
    require: undefined,
  };
  return { put: { ...request, ...changes } };
}

export function remove(key: string, context: Buffer, changes: Partial<DeleteRequest> = {}): { delete: DeleteRequest } {
  const request = {
    namespace: '',
    key: Buffer.from(key),
    context,
    durability: 0 as const,
    requestId: nothing,
    attempt: 0,
  };
  return { delete: { ...request, ...changes } };
}

export async function gotten(result: Promise<Omit<Result, 'id'>>): Promise<GetResponse> {
  const { get: response } = await result;
  assert.ok(response !== undefined);
  return response;
}

export async function stored(result: Promise<Omit<Result, 'id'>>): Promise<PutResponse> {
  const { put: response } = await result;
  assert.ok(response !== undefined);
  return response;
}

export async function removed(result: Promise<Omit<Result, 'id'>>): Promise<DeleteResponse> {
  const { delete: response } = await result;
  assert.ok(response !== undefined);
  return response;
}

export function valuesOf({ siblings }: Pick<GetResponse, 'siblings'>): string[] {
  return siblings.map(({ value }) => Buffer.from(value).toString()).sort();
}

export async function failureOf(result: Promise<unknown>): Promise<Failure> {
  const failure = await result.then(
    () => assert.fail('a failure was expected'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof Failure, `${failure instanceof Error ? failure.stack : failure}`);
  return failure;
}
