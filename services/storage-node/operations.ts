/**
 * One operation as it comes from a client: validated, placed, and run here where this node is a home of
 * its key; else sent on to one that is.
 */

import type { Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import { type Located, validateDelete, validateGet, validatePut } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import type { Arrival } from '../platform/streams/session-server.ts';
import { coordinateGet } from './coordinate-get.ts';
import { coordinateDelete, coordinatePut } from './coordinate-put.ts';
import { notEnoughReplicas, type Place, placeOf, type StorageNode } from './node.ts';

/** Sends an operation on to another storage node. */
export type Forward = (nodeId: string, operation: Operation, deadline: number) => Promise<Omit<Result, 'id'>>;

export async function runOperation(
  node: StorageNode,
  forward: Forward,
  operation: Operation,
  { deadline, forwarded }: Arrival,
): Promise<Omit<Result, 'id'>> {
  const startedAt = node.clock.now();
  const { operation: latency, failedOperations } = node.metrics;
  const ring = currentRing(node);
  const { get, put, delete: remove } = operation;
  /** Runs it where it belongs. */
  const placed = async <V extends Located>(
    request: V,
    run: (place: Place, request: V) => Promise<Omit<Result, 'id'>>,
  ) => {
    const place = placeOf(ring, request.storageKey);
    if (place.homes.some(({ id }) => id === node.id)) return run(place, request);
    if (forwarded) throw notHome(node, place);
    return sendOn(node, forward, place, operation, deadline);
  };
  try {
    if (get !== undefined) {
      const result = await placed(validateGet(get, ring.replicas, node.validation), async (place, request) => {
        return { get: await coordinateGet(node, place, request, deadline) };
      });
      latency.get.observe(node.clock.now() - startedAt);
      return result;
    }
    if (put !== undefined) {
      const result = await placed(validatePut(put, ring.replicas, node.validation), async (place, request) => {
        return { put: await coordinatePut(node, place, request, deadline) };
      });
      latency.put.observe(node.clock.now() - startedAt);
      return result;
    }
    if (remove !== undefined) {
      const result = await placed(validateDelete(remove, ring.replicas, node.validation), async (place, request) => {
        return { delete: await coordinateDelete(node, place, request, deadline) };
      });
      latency.delete.observe(node.clock.now() - startedAt);
      return result;
    }
    throw new Failure('OPERATION_INVALID', 'the operation has no get, put or delete', { field: 'operation' });
  } catch (error) {
    failedOperations.add(1);
    throw error;
  }
}

async function sendOn(
  node: StorageNode,
  forward: Forward,
  place: Place,
  operation: Operation,
  deadline: number,
): Promise<Omit<Result, 'id'>> {
  const home = place.homes.find(({ id }) => node.peers.reachable(id));
  if (home === undefined) throw notEnoughReplicas(place, 1, 0);
  node.metrics.forwarded.add(1);
  return forward(home.id, operation, deadline);
}

function notHome(node: StorageNode, { partition, ring }: Place): Failure {
  const { term, sequence } = ring.version;
  return new Failure(
    'NOT_ENOUGH_REPLICAS',
    `node ${node.id} does not own partition ${partition} in ring ${term}.${sequence}`,
  );
}
