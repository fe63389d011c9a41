/**
 * What clients get of a process: how long their operations take, from their arrival to the answer, and why they fail.
 * The objectives (docs/slo.md) are computed from it.
 *
 * I1 An operation counts once in a cluster: where its client sent it, not where it was sent on to.
 * I2 A failure that is the service's fault has its series before the first one: a counter that begins at 1 shows no
 *    increase.
 */
import { status } from '@grpc/grpc-js';
import type { Operation } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure, type ReasonName } from '../../core/failure.ts';
import type { CounterHandle, Metrics } from '../../core/ports.ts';
import { reasonCode, reasonNames } from '../errors.ts';

export interface OperationMetrics {
  /** It began so long after its arrival. */
  waited(milliseconds: number): void;
  answered(operation: Operation, milliseconds: number): void;
  failed(operation: Operation, thrown: unknown): void;
}

/** Of a stream between processes of the cluster (I1). */
export const uncounted: OperationMetrics = { waited() {}, answered() {}, failed() {} };

const clientsFaults: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
]);

type Kind = 'get' | 'put' | 'delete' | 'none';

export function createOperationMetrics(metrics: Metrics): OperationMetrics {
  const wait = metrics.histogram(
    'cartwheel_operation_wait_seconds',
    'Operations of clients, from their arrival until there was room to run them',
  );
  const taking = (operation: Kind) =>
    metrics.histogram('cartwheel_operation_seconds', 'Operations of clients, from their arrival to the answer', {
      operation,
    });
  const took = { get: taking('get'), put: taking('put'), delete: taking('delete') };
  const failures = new Map<string, CounterHandle>();
  function failuresOf(operation: Kind, reason: ReasonName): CounterHandle {
    const key = `${operation} ${reason}`;
    const known = failures.get(key);
    if (known !== undefined) return known;
    const fault = faultOf(reason);
    const made = metrics.counter('cartwheel_failed_operations_total', 'Operations of clients that failed', {
      ...{ operation, reason, fault },
    });
    failures.set(key, made);
    return made;
  }
  for (const reason of reasonNames) {
    if (faultOf(reason) === 'service') for (const kind of ['get', 'put', 'delete'] as const) failuresOf(kind, reason);
  }

  return {
    waited: (milliseconds) => wait.observe(milliseconds),
    answered(operation, milliseconds) {
      const kind = kindOf(operation);
      if (kind !== 'none') took[kind].observe(milliseconds);
    },
    failed(operation, thrown) {
      failuresOf(kindOf(operation), thrown instanceof Failure ? thrown.reason : 'INTERNAL').add(1);
    },
  };
}

function faultOf(reason: ReasonName): 'client' | 'service' {
  return clientsFaults.has(reasonCode(reason, 'NOT_APPLIED')) ? 'client' : 'service';
}

function kindOf({ get, put, delete: remove }: Operation): Kind {
  if (get !== undefined) return 'get';
  if (put !== undefined) return 'put';
  return remove === undefined ? 'none' : 'delete';
}
