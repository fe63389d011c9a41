/**
 * Where an operation goes: to a home of its key, or to a fallback where none answers. The router knows nothing of
 * versions, and keeps nothing.
 */
import type { ListKeysRequest, ListKeysResponse, Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import type { Hash64 } from '../core/ports.ts';
import type { RequestLimits } from '../core/requests/limits.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import type { Ring } from '../core/ring/ring.ts';
import { coordinatorsOf } from '../platform/routing/coordinators.ts';
import { type DispatchPorts, dispatch } from '../platform/routing/dispatch.ts';
import type { Arrival } from '../platform/streams/session-server.ts';

export interface Router extends DispatchPorts {
  readonly limits: RequestLimits;
  readonly hash: Hash64;
  ring(): Ring | undefined;
}

export async function routeOperation(
  router: Router,
  operation: Operation,
  { deadline }: Arrival,
): Promise<Omit<Result, 'id'>> {
  const { namespace, key } = requestOf(operation);
  const coordinators = coordinatorsOf(currentRing(router), namespace, key, router);
  return dispatch(router, coordinators, operation, deadline);
}

function requestOf({ get, put, delete: remove }: Operation) {
  const request = get ?? put ?? remove;
  if (request !== undefined) return request;
  throw new Failure('OPERATION_INVALID', 'the operation has no get, put or delete', { field: 'operation' });
}

/** Lists from any storage node; where one fails, the next goes on after the last page that came. */
export async function* routeListing(
  router: Pick<Router, 'ring'>,
  request: ListKeysRequest,
  list: (address: string, request: ListKeysRequest) => AsyncIterable<ListKeysResponse>,
): AsyncGenerator<ListKeysResponse> {
  let { pageToken } = request;
  let failure: unknown = new Failure('NO_RING', 'the ring has no nodes');
  for (const { address } of currentRing(router).nodes) {
    try {
      for await (const page of list(address, { ...request, pageToken })) {
        pageToken = page.pageToken;
        yield page;
      }
      return;
    } catch (error) {
      failure = error;
      if (error instanceof Failure && !mayDoBetter.has(error.reason)) throw error;
    }
  }
  throw failure;
}

const mayDoBetter = new Set(['NOT_ENOUGH_REPLICAS', 'DRAINING', 'NO_RING', 'STORAGE_FAILED', 'DEADLINE', 'INTERNAL']);
