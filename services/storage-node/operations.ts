/**
 * One operation as it comes from a client: validated, placed, and run here where this node is a home of
 * its key; else sent on to the homes that can be reached, one after the other, and run here where there is none.
 */

import type { Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, type Until } from '../core/cancellation.ts';
import { Failure, type ReasonName } from '../core/failure.ts';
import { RingMoved } from '../core/quorum/peers.ts';
import { type Located, validateDelete, validateGet, validatePut } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import type { Arrival } from '../platform/streams/session-server.ts';
import { coordinateGet } from './coordinate-get.ts';
import { coordinateDelete, coordinatePut } from './coordinate-put.ts';
import { learnNewerRing, notEnoughReplicas, type Place, placeOf, type StorageNode } from './node.ts';

/** Sends an operation on to another storage node. */
export type Forward = (nodeId: string, operation: Operation, until: Until) => Promise<Omit<Result, 'id'>>;

export async function runOperation(
  node: StorageNode,
  forward: Forward,
  operation: Operation,
  arrival: Arrival,
): Promise<Omit<Result, 'id'>> {
  const { deadline, forwarded, cancellation } = arrival;
  const asked = { deadline, cancellation, traceparent: operation.traceparent };
  const startedAt = node.clock.now();
  const { operation: latency, failedOperations } = node.metrics;
  const ring = currentRing(node);
  const { get, put, delete: remove } = operation;
  /** Runs it where it belongs. */
  const placed = async <V extends Located & { readonly strict: boolean }>(
    request: V,
    run: (place: Place, request: V) => Promise<Omit<Result, 'id'>>,
  ) => {
    for (;;) {
      const place = placeOf(currentRing(node), request.storageKey);
      const isHome = place.homes.some(({ id }) => id === node.id);
      if (!forwarded && !isHome) {
        const answer = await sendOn(node, forward, place, operation, arrival);
        if (answer !== undefined) return answer;
      }
      if (request.strict && !isHome) throw notEnoughReplicas(place, 1, 0);
      if (!isHome && !place.ids.includes(node.id)) throw notInList(node, place);
      node.hotKeys.observe(storageKeyText(request.storageKey), get !== undefined);
      try {
        return await run(place, request);
      } catch (error) {
        if (!(error instanceof RingMoved)) throw error;
        if (cancellation.cancelled) throw new Cancelled('UNKNOWN');
        if (node.clock.now() >= deadline) throw new Failure('DEADLINE', 'the ring changed until the deadline passed');
        await learnNewerRing(node, place, error);
      }
    }
  };
  const observe = (name: keyof typeof latency) => {
    const milliseconds = node.clock.now() - startedAt;
    latency[name].observe(milliseconds);
    node.background.foreground(milliseconds);
  };
  try {
    if (get !== undefined) {
      const result = await placed(validateGet(get, ring.replicas, node.validation), async (place, request) => {
        return { get: await coordinateGet(node, place, request, asked) };
      });
      observe('get');
      return result;
    }
    if (put !== undefined) {
      const result = await placed(validatePut(put, ring.replicas, node.validation), async (place, request) => {
        return { put: await coordinatePut(node, place, request, asked) };
      });
      observe('put');
      return result;
    }
    if (remove !== undefined) {
      const result = await placed(validateDelete(remove, ring.replicas, node.validation), async (place, request) => {
        return { delete: await coordinateDelete(node, place, request, asked) };
      });
      observe('delete');
      return result;
    }
    throw new Failure('OPERATION_INVALID', 'the operation has no get, put or delete', { field: 'operation' });
  } catch (error) {
    if (!(error instanceof Cancelled)) failedOperations.add(1);
    throw error;
  }
}

/** Undefined where no home can be reached. A write whose outcome is unknown is not tried again: its client is told. */
async function sendOn(
  node: StorageNode,
  forward: Forward,
  place: Place,
  operation: Operation,
  until: Until,
): Promise<Omit<Result, 'id'> | undefined> {
  let tried = 0;
  for (const { id } of place.homes) {
    if (!node.peers.reachable(id)) continue;
    if (tried++ > 0) node.extra.charge();
    node.metrics.forwarded.add(1);
    try {
      return await forward(id, operation, until);
    } catch (error) {
      const isElsewhere = error instanceof Failure && isOfThatNode.has(error.reason);
      if (!isElsewhere || (error.outcome === 'UNKNOWN' && operation.get === undefined)) throw error;
    }
  }
  return undefined;
}

/** Another node may do better. */
const isOfThatNode: ReadonlySet<ReasonName> = new Set([
  'DRAINING',
  'NO_RING',
  'NOT_ENOUGH_REPLICAS',
  'OVERLOADED',
  'STORAGE_FAILED',
]);

function notInList(node: StorageNode, { partition, ring }: Place): Failure {
  const { term, sequence } = ring.version;
  const message = `node ${node.id} is not in the preference list of partition ${partition} in ring ${term}.${sequence}`;
  return new Failure('NOT_ENOUGH_REPLICAS', message);
}
