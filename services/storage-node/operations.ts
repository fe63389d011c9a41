/**
 * One operation as it comes from a client: validated, placed, and run here where this node is a home of
 * its key; else sent on to the homes that can be reached, one after the other, and run here where there is none.
 */

import type { Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, type Until } from '../core/cancellation.ts';
import { Failure, type ReasonName } from '../core/failure.ts';
import { RingMoved } from '../core/quorum/peers.ts';
import {
  type ValidGet,
  type ValidPut,
  type ValidWrite,
  validateDelete,
  validateGet,
  validatePut,
} from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import type { Arrival } from '../platform/streams/session-server.ts';
import { coordinateGet } from './coordinate-get.ts';
import { coordinateDelete, coordinatePut } from './coordinate-put.ts';
import { type Asked, learnNewerRing, notEnoughReplicas, type Place, placeOf, type StorageNode } from './node.ts';

/** Sends an operation on to another storage node. */
export type Forward = (nodeId: string, operation: Operation, until: Until) => Promise<Omit<Result, 'id'>>;

export async function runOperation(
  node: StorageNode,
  forward: Forward,
  operation: Operation,
  arrival: Arrival,
): Promise<Omit<Result, 'id'>> {
  const startedAt = node.clock.now();
  try {
    const valid = validated(node, operation);
    const result = await runPlaced(node, forward, operation, valid, arrival);
    const milliseconds = node.clock.now() - startedAt;
    node.metrics.operation[valid.kind].observe(milliseconds);
    node.background.foreground(milliseconds);
    return result;
  } catch (error) {
    if (!(error instanceof Cancelled)) node.metrics.failedOperations.add(1);
    throw error;
  }
}

/** Runs it where it belongs. */
async function runPlaced(
  node: StorageNode,
  forward: Forward,
  operation: Operation,
  valid: Valid,
  arrival: Arrival,
): Promise<Omit<Result, 'id'>> {
  const { forwarded, cancellation, deadline } = arrival;
  const asked = { deadline, cancellation, traceparent: operation.traceparent };
  const { storageKey, strict } = valid.request;
  for (;;) {
    const place = placeOf(currentRing(node), storageKey);
    const isHome = place.homes.some(({ id }) => id === node.id);
    if (!forwarded && !isHome) {
      const answer = await sendOn(node, forward, place, operation, arrival);
      if (answer !== undefined) return answer;
    }
    if (strict && !isHome) throw notEnoughReplicas(place, 1, 0);
    if (!isHome && !place.ids.includes(node.id)) throw notInList(node, place);
    node.hotKeys.observe(storageKeyText(storageKey), valid.kind === 'get');
    try {
      return await runHere(node, place, valid, asked);
    } catch (error) {
      if (!(error instanceof RingMoved)) throw error;
      if (cancellation.cancelled) throw new Cancelled('UNKNOWN');
      if (node.clock.now() >= deadline) throw new Failure('DEADLINE', 'the ring changed until the deadline passed');
      await learnNewerRing(node, place, error);
    }
  }
}

type Valid =
  | { readonly kind: 'get'; readonly request: ValidGet }
  | { readonly kind: 'put'; readonly request: ValidPut }
  | { readonly kind: 'delete'; readonly request: ValidWrite };

function validated(node: StorageNode, { get, put, delete: remove }: Operation): Valid {
  const { replicas } = currentRing(node);
  if (get !== undefined) return { kind: 'get', request: validateGet(get, replicas, node.validation) };
  if (put !== undefined) return { kind: 'put', request: validatePut(put, replicas, node.validation) };
  if (remove !== undefined) return { kind: 'delete', request: validateDelete(remove, replicas, node.validation) };
  throw new Failure('OPERATION_INVALID', 'the operation has no get, put or delete', { field: 'operation' });
}

async function runHere(node: StorageNode, place: Place, valid: Valid, asked: Asked): Promise<Omit<Result, 'id'>> {
  switch (valid.kind) {
    case 'get':
      return { get: await coordinateGet(node, place, valid.request, asked) };
    case 'put':
      return { put: await coordinatePut(node, place, valid.request, asked) };
    case 'delete':
      return { delete: await coordinateDelete(node, place, valid.request, asked) };
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
