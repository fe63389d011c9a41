/**
 * The spans of an operation, one for each seam it passes; each function wraps what is on one side of a seam, and is used
 * where operations are traced only: without traces they are not there, and cost nothing.
 *
 *     client ─► traced execute ─► traced pool ─►  traced execute ─► traced peers ─►  traced replica
 *               router: SERVER    CLIENT          coordinator:      CLIENT           SERVER
 *                                                 SERVER ─► traced replica (its own): INTERNAL
 */
import type { Operation } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../core/failure.ts';
import type { PartOfOperation, Span, Tracing } from '../../core/ports.ts';
import type { Peers, Replica, Traced } from '../../core/quorum/peers.ts';
import { fromOperationError } from '../errors.ts';
import type { SessionPool } from '../routing/session-pool.ts';
import type { Execute } from '../streams/session-server.ts';

/** What a process was asked to do, from its arrival to the answer. */
export function tracedExecute(execute: Execute, tracing: Tracing): Execute {
  return (operation, arrival) => {
    const { traceparent } = operation;
    const parent = traceparent ?? arrival.traceparent;
    const part: PartOfOperation = { name: nameOf(operation), kind: 'SERVER', startedAt: arrival.arrivedAt };
    const span = arrival.relayed ? tracing.begin(part, parent) : tracing.beginTrace(part, parent);
    if (span === undefined) {
      // Whoever comes next is not to decide anew.
      return execute(traceparent === undefined ? operation : { ...operation, traceparent: undefined }, arrival);
    }
    describe(span, operation);
    return ending(span, () => execute({ ...operation, traceparent: span.traceparent }, arrival));
  };
}

/** One attempt at another process. */
export function tracedPool<Pool extends Pick<SessionPool, 'send'>>(pool: Pool, tracing: Tracing): Pool {
  return {
    ...pool,
    async send(address, body, patienceMs, signal) {
      const attempt = body.put?.attempt ?? body.delete?.attempt ?? 0;
      const attributes = { 'server.address': address, 'cartwheel.attempt': attempt };
      const part: PartOfOperation = { name: 'send to coordinator', kind: 'CLIENT', attributes };
      const span = tracing.begin(part, body.traceparent);
      if (span === undefined) return pool.send(address, body, patienceMs, signal);
      const answer = await pool.send(address, { ...body, traceparent: span.traceparent }, patienceMs, signal);
      if (answer instanceof Failure) span.end(answer);
      else span.end(answer.error === undefined ? undefined : fromOperationError(answer.error));
      return answer;
    },
  };
}

/** What a coordinator asks of other replicas. */
export function tracedPeers<P extends Peers>(peers: P, tracing: Tracing): P {
  const traced = new WeakMap<Replica, Replica>();
  return {
    ...peers,
    replica(nodeId) {
      const replica = peers.replica(nodeId);
      let known = traced.get(replica);
      if (known === undefined) {
        known = tracedReplica(replica, tracing, 'CLIENT', { 'cartwheel.replica': nodeId });
        traced.set(replica, known);
      }
      return known;
    },
  };
}

/** What a replica does of an operation. */
export function tracedReplica(
  replica: Replica,
  tracing: Tracing,
  kind: PartOfOperation['kind'],
  attributes: Readonly<Record<string, string>> = {},
): Replica {
  const traced = <M extends Traced, T>(name: string, message: M, run: (message: M) => Promise<T>): Promise<T> => {
    const span = tracing.begin({ name, kind, attributes }, message.traceparent);
    if (span === undefined) return run(message);
    return ending(span, () => run({ ...message, traceparent: span.traceparent }));
  };
  return {
    ...replica,
    write: (message) => traced('write replica', message, (sent) => replica.write(sent)),
    read: (message) => traced('read replica', message, (sent) => replica.read(sent)),
    inspect: (message) => traced('inspect replica', message, (sent) => replica.inspect(sent)),
  };
}

async function ending<T>(span: Span, run: () => Promise<T>): Promise<T> {
  try {
    const result = await run();
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

function nameOf({ get, put }: Operation): string {
  if (get !== undefined) return 'get';
  return put === undefined ? 'delete' : 'put';
}

/** Never the key or the value: whoever reads traces may not be allowed to read the data. */
function describe(span: Span, { get, put, delete: remove }: Operation): void {
  const request = get ?? put ?? remove;
  span.set('cartwheel.namespace', request?.namespace || 'default');
  if (put !== undefined) span.set('cartwheel.value_bytes', put.value.length);
  if (get?.r !== undefined) span.set('cartwheel.r', get.r);
  const w = (put ?? remove)?.w;
  if (w !== undefined) span.set('cartwheel.w', w);
}
