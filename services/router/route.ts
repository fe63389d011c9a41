/**
 * Where an operation goes: to a home of its key, or to a fallback where none answers. The router knows nothing of
 * versions, and keeps nothing.
 */
import type { ListKeysRequest, ListKeysResponse, Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Until } from '../core/cancellation.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Hash64, Metrics } from '../core/ports.ts';
import type { ExtraBudget } from '../core/quorum/extra-budget.ts';
import type { RequestLimits } from '../core/requests/limits.ts';
import { locate } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { addressesOf, type Ring } from '../core/ring/ring.ts';
import { storageKeyOfText, storageKeyText } from '../core/ring/storage-key.ts';
import type { HotKeys } from '../platform/hot-keys.ts';
import type { Balancer } from '../platform/routing/balancer.ts';
import { coordinatorsOf } from '../platform/routing/coordinators.ts';
import { dispatch } from '../platform/routing/dispatch.ts';
import { type Answer, createKeyFlights, type KeyLimits } from './key-flights.ts';

export interface RouterPorts {
  readonly balancer: Balancer;
  readonly hotKeys: HotKeys;
  readonly extra: ExtraBudget;
  readonly limits: RequestLimits;
  readonly hash: Hash64;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** For writes whose client gave none. */
  newRequestId(): Buffer;
  ring(): Ring | undefined;
  /** The usual ones where it is not given. */
  readonly keyLimits?: KeyLimits;
}

export interface Router {
  run(operation: Operation, until: Until): Promise<Answer>;
  close(): void;
}

export function createRouter(ports: RouterPorts): Router {
  const { balancer, clock, extra, hotKeys, metrics, newRequestId } = ports;

  // Placed when it is sent: the ring may have changed while it waited.
  async function send(key: string, operation: Operation, until: Until): Promise<Answer> {
    const coordinators = coordinatorsOf(currentRing(ports), storageKeyOfText(key));
    const addresses = balancer.order(coordinators, operation.get === undefined ? 'write' : 'read');
    return dispatch({ pool: balancer, clock, extra, newRequestId }, addresses, operation, until);
  }
  const flights = createKeyFlights(clock, metrics, send, ports.keyLimits);

  return {
    async run(operation, until) {
      const { namespace, key } = requestOf(operation);
      const name = storageKeyText(locate(namespace, key, ports).storageKey);
      hotKeys.observe(name, operation.get !== undefined);
      return flights.run(name, operation, until);
    },
    close: () => flights.close(),
  };
}

function requestOf({ get, put, delete: remove }: Operation) {
  const request = get ?? put ?? remove;
  if (request !== undefined) return request;
  throw new Failure('OPERATION_INVALID', 'the operation has no get, put or delete', { field: 'operation' });
}

/** Lists from any storage node; where one fails, the next goes on after the last page that came. */
export async function* routeListing(
  router: Pick<RouterPorts, 'ring'>,
  request: ListKeysRequest,
  list: (address: string, request: ListKeysRequest) => AsyncIterable<ListKeysResponse>,
): AsyncGenerator<ListKeysResponse> {
  let { pageToken } = request;
  let failure: unknown = new Failure('NO_RING', 'the ring has no nodes');
  for (const address of addressesOf(currentRing(router))) {
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
