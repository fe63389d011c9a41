/**
 * The client: get, put, delete and update over Session streams, to routers, or (`direct`) straight to a
 * coordinator of the key, which saves the hop.
 *
 * I1 Every write has a request id, and every attempt of it the same one: trying again never makes a second
 *    sibling.
 */
import type {
  GetStatusResponse,
  ListHotKeysResponse,
  ListLosersResponse,
  ListNamespacesResponse,
} from '../proto/gen/cartwheel/admin/v1/admin.ts';
import type { ExplainResponse, GetResponse, Result, Ring as RingMessage } from '../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cancellation, neverCancelled, type Until } from '../services/core/cancellation.ts';
import { encodeDuration, millisecondsOf } from '../services/core/codec/duration.ts';
import { Failure } from '../services/core/failure.ts';
import { createExtraBudget } from '../services/core/quorum/extra-budget.ts';
import { requestLimits } from '../services/core/requests/limits.ts';
import { locate } from '../services/core/requests/validate.ts';
import { encodeRing } from '../services/core/ring/codec.ts';
import { addressesOf, type Ring } from '../services/core/ring/ring.ts';
import { createClock } from '../services/platform/clock.ts';
import { xxh64 } from '../services/platform/hash.ts';
import { createRandom } from '../services/platform/random.ts';
import {
  type AdminCall,
  callAdmin,
  namespaceTimeoutMs,
  statusTimeoutMs,
} from '../services/platform/routing/admin-call.ts';
import { createBalancer } from '../services/platform/routing/balancer.ts';
import { coordinatorsOf } from '../services/platform/routing/coordinators.ts';
import { attemptsSavedMax, dispatch } from '../services/platform/routing/dispatch.ts';
import { createRequestIds } from '../services/platform/routing/request-ids.ts';
import { createSessionPool } from '../services/platform/routing/session-pool.ts';
import { createUnaryChannels } from '../services/platform/routing/unary-channels.ts';
import type { OperationBody } from '../services/platform/streams/session-client.ts';
import { getAll } from './all-siblings.ts';
import { bytesOf } from './bytes.ts';
import { type ChangesClient, changesClient } from './changes.ts';
import { checkOptions, checkSettings, integer } from './check-options.ts';
import { durabilityNumber, type NamespacesClient, openChange, openNamespace, settingsMessage } from './namespaces.ts';
import { asFailed, failed } from './operation-failed.ts';
import { followRing, type RingWatch } from './ring-watch.ts';
import { type CartwheelSession, createSession } from './session.ts';
import type {
  GetAnswer,
  GetOptions,
  HotKey,
  Key,
  Loser,
  OperationEvent,
  OperationOptions,
  PutAnswer,
  PutOptions,
  Sibling,
  UpdateOptions,
  Value,
  WriteOptions,
} from './types.ts';

export interface ConnectOptions {
  /** host:port of routers or storage nodes; the first that answers is used, the others when it is gone. */
  readonly endpoints: readonly string[];
  /**
   * Send each operation straight to a home of its key: a write to the first of them, unless another seems to answer much
   * sooner, a get to one that seems to. Where no storage node can be reached operations go to the endpoints.
   */
  readonly direct?: boolean | undefined;
  /** Where this client is: homes in this zone are preferred, until they take twice as long. Only with `direct`. */
  readonly zone?: string | undefined;
  /** Called at the end of each get, put and delete, for metrics. What it throws is an uncaught exception. */
  readonly onOperation?: ((event: OperationEvent) => void) | undefined;
  /** name/version, for the servers' logs. */
  readonly name?: string | undefined;
}

/** Every method throws OperationFailed. */
export interface CartwheelClient {
  /** The concurrent values of a key: none, one, or several to be merged. */
  get(key: Key, options?: GetOptions): Promise<GetAnswer>;
  /** Replaces the values that `context` covers; others stay as siblings. */
  put(key: Key, value: Value, options?: PutOptions): Promise<PutAnswer>;
  /** Removes the values that `context` covers. */
  delete(key: Key, context: Uint8Array, options?: WriteOptions): Promise<PutAnswer>;
  /** Reads, merges the siblings (none: an empty list), and writes what `merge` returned with their context. */
  update(key: Key, merge: (siblings: readonly Sibling[]) => Value, options?: UpdateOptions): Promise<PutAnswer>;
  /** The keys of a namespace, in the order of their hashes; `pageToken` is where to go on after that key's page. */
  keys(options?: {
    namespace?: string | undefined;
    prefix?: Key | undefined;
    pageToken?: Uint8Array | undefined;
  }): AsyncIterable<{ readonly key: Buffer; readonly pageToken: Buffer }>;
  /** Where a key lives and what each replica holds of it. */
  explain(key: Key, options?: Pick<OperationOptions, 'namespace' | 'timeoutMs'>): Promise<ExplainResponse>;
  ring(): Promise<RingMessage>;
  readonly namespaces: NamespacesClient;
  /** Of the ring. */
  readonly changes: ChangesClient;
  /** Of the first endpoint, or of another process. */
  status(address?: string): Promise<GetStatusResponse>;
  /**
   * What one storage node keeps of values that lost where the last writer wins, the oldest loss first. Every replica of a
   * key keeps them: ask all nodes of `ring()`, and tell losses apart by key and dot.
   */
  losers(address: string, options?: { namespace?: string | undefined; key?: Key | undefined }): AsyncIterable<Loser>;
  /** What the first endpoint, or another router or storage node, was asked for most in the last half minute or so. */
  hotKeys(options?: { address?: string | undefined; limit?: number | undefined }): Promise<readonly HotKey[]>;
  /** Reads in it see its own writes, and never go back behind what it has read. */
  session(): CartwheelSession;
  /** Begins nothing more, waits `timeoutMs` (10 s) for what is under way, and ends the streams; what is left fails. */
  close(options?: { timeoutMs?: number | undefined }): Promise<void>;
}

const ringTimeoutMs = 5_000;
const closeTimeoutMs = 10_000;
const noBytes = Buffer.alloc(0);

export function connect(options: ConnectOptions): CartwheelClient {
  const { endpoints, direct = false, name = 'cartwheel-client', zone, onOperation } = options;
  checkEndpoints(endpoints);
  const clock = createClock();
  const random = createRandom();
  const pool = createSessionPool({
    ...{ name, clock, random },
    ring: () => watch?.current(),
    clusterId: () => watch?.clusterId() ?? '',
  });
  const balancer = createBalancer({ pool, clock, random, zone });
  const channels = createUnaryChannels(clock);
  const newRequestId = createRequestIds(random);
  const extra = createExtraBudget(attemptsSavedMax);
  const underWay = new Set<Promise<unknown>>();
  let watch: RingWatch | undefined;
  let closing = false;

  function ringWatch(): RingWatch {
    watch ??= followRing(channels, endpoints, clock, (ring) => {
      if (direct) balancer.keep([...new Set([...addressesOf(ring), ...endpoints])]);
    });
    return watch;
  }

  type Which = 'get' | 'put' | 'delete';

  async function addressesFor(namespace: string, key: Buffer, which: Which, until: Until): Promise<readonly string[]> {
    if (!direct) return endpoints;
    const ring = ringWatch().current() ?? (await firstRing(until));
    const { storageKey } = locate(namespace, key, { limits: requestLimits, hash: xxh64 });
    const coordinators = balancer.order(coordinatorsOf(ring, storageKey), which === 'get' ? 'read' : 'write');
    // Routers reach what this client cannot.
    return [...coordinators, ...endpoints.filter((address) => !coordinators.includes(address))];
  }

  function firstRing({ deadline, cancellation }: Until): Promise<Ring> {
    return ringWatch().first(Math.min(ringTimeoutMs, Math.max(0, deadline - clock.now())), cancellation);
  }

  async function run<Name extends Which>(
    which: Name,
    key: Buffer,
    body: Omit<OperationBody, 'timeoutMs'>,
    options: OperationOptions,
    /** A part of an update: that was begun before the client was closed, where it is by now. */
    isBegun: boolean,
  ): Promise<NonNullable<Result[Name]>> {
    const { namespace = '', timeoutMs = requestLimits.timeoutMsDefault, signal, traceparent } = options;
    signal?.throwIfAborted();
    const startedAt = clock.now();
    let attempts = 0;
    let by: string | undefined;
    const tell = (reason: OperationEvent['reason']) => {
      const milliseconds = clock.now() - startedAt;
      report(() => onOperation?.({ operation: which, namespace, milliseconds, attempts, address: by, reason }));
    };
    const ports = {
      ...{ pool: balancer, clock, extra, newRequestId },
      onAttempt(address: string) {
        attempts++;
        by = address;
      },
    };
    try {
      if (closing && !isBegun) throw new Failure('DRAINING', 'the client is closed');
      const until = { deadline: startedAt + timeoutMs, cancellation: cancellationOf(signal) };
      const operation = { ...body, timeoutMs, traceparent };
      const result = await patiently(until, async () => {
        const addresses = await addressesFor(namespace, key, which, until);
        return dispatch(ports, addresses, operation, until);
      });
      const answer = result[which];
      if (answer == null)
        throw new Failure('INTERNAL', `a ${which} was answered with something else`, { outcome: 'UNKNOWN' });
      tell(undefined);
      return answer;
    } catch (error) {
      tell(signal?.aborted ? 'ABORTED' : error instanceof Failure ? error.reason : 'INTERNAL');
      signal?.throwIfAborted();
      throw failed(error);
    }
  }

  /** What was refused because too much was under way is tried again when it says, once, within the budget for that. */
  async function patiently<T>({ deadline, cancellation }: Until, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof Failure) || error.reason !== 'OVERLOADED' || error.outcome !== 'NOT_APPLIED') throw error;
      // Not all at the same moment.
      const waitMs = (error.details.retryAfterMs ?? 0) * (1 + random.below(100) / 100);
      if (waitMs === 0 || clock.now() + waitMs >= deadline || cancellation.cancelled || !extra.spend()) throw error;
      await new Promise<void>((resolve) => {
        const over = () => {
          cancelTimer();
          forget();
          resolve();
        };
        const cancelTimer = clock.after(waitMs, over);
        const forget = cancellation.onCancel(over);
      });
      return send();
    }
  }

  /** For `close` to wait for. */
  function counted<T>(operation: Promise<T>): Promise<T> {
    underWay.add(operation);
    const over = () => void underWay.delete(operation);
    operation.then(over, over);
    return operation;
  }

  async function read(key: Key, options: GetOptions, isBegun = false): Promise<GetAnswer> {
    check(options);
    const { namespace = '', r, maxBytes = 0, dots = [], session = noBytes } = options;
    const get = { namespace, key: bytesOf(key), r, sessionContext: bytesOf(session), maxBytes, dots: [...dots] };
    return answerOf(await run('get', get.key, { get }, options, isBegun));
  }

  async function write(key: Key, value: Value, options: PutOptions, isBegun = false): Promise<PutAnswer> {
    check(options);
    const { namespace = '', w, durability, ttlMs, context = noBytes, requestId = noBytes, attempt = 0 } = options;
    const { require } = options;
    const put = {
      namespace,
      key: bytesOf(key),
      value: bytesOf(value),
      context: bytesOf(context),
      w,
      durability: durabilityNumber(durability),
      requestId: bytesOf(requestId),
      attempt,
      ttl: ttlMs === undefined ? undefined : encodeDuration(ttlMs),
      require: require && { durable: 0, hosts: 0, zones: 0, ...require },
    };
    return writtenOf(await run('put', put.key, { put }, options, isBegun));
  }

  async function readAndWrite(
    key: Key,
    merge: (siblings: readonly Sibling[]) => Value,
    options: UpdateOptions,
    onRead: (context: Uint8Array) => void = () => {},
  ): Promise<PutAnswer> {
    if (closing) throw failed(new Failure('DRAINING', 'the client is closed'));
    check(options);
    const deadline = clock.now() + (options.timeoutMs ?? requestLimits.timeoutMsDefault);
    const left = () => {
      const timeoutMs = deadline - clock.now();
      if (timeoutMs > 0) return { timeoutMs };
      throw failed(new Failure('DEADLINE', 'the deadline passed before all was read; nothing was written'));
    };
    const whole = await getAll({ get: async (of, how = {}) => read(of, { ...how, ...left() }, true) }, key, options);
    if (whole === undefined) {
      throw failed(new Failure('OVERLOADED', 'the siblings of this key change faster than they can all be read'));
    }
    if (!whole.certificate.coversSession) {
      const message = 'no replica in reach could show all that the session has seen; nothing was written';
      throw failed(new Failure('NOT_ENOUGH_REPLICAS', message));
    }
    onRead(whole.context);
    const merged = merge(whole.siblings);
    return write(key, merged, { ...options, ...left(), context: whole.context }, true);
  }

  const client: CartwheelClient = {
    get: (key, options = {}) => counted(read(key, options)),
    put: (key, value, options = {}) => counted(write(key, value, options)),
    update: (key, merge, options = {}) => counted(readAndWrite(key, merge, options)),

    async delete(key, context, options = {}) {
      check(options);
      const { namespace = '', w, durability, requestId = noBytes, attempt = 0 } = options;
      const request = {
        namespace,
        key: bytesOf(key),
        context: bytesOf(context),
        w,
        durability: durabilityNumber(durability),
        requestId: bytesOf(requestId),
        attempt,
      };
      return writtenOf(await counted(run('delete', request.key, { delete: request }, options, false)));
    },

    async *keys({ namespace = '', prefix = noBytes, pageToken = noBytes } = {}) {
      const request = { namespace, prefix: bytesOf(prefix), pageToken: bytesOf(pageToken), pageSize: 0 };
      try {
        for await (const page of listing(request)) {
          for (const { key } of page.entries) yield { key, pageToken: page.pageToken };
        }
      } catch (error) {
        throw failed(error);
      }
    },

    async explain(key, options = {}) {
      check(options);
      const { namespace = '', timeoutMs = requestLimits.timeoutMsDefault } = options;
      const request = { namespace, key: bytesOf(key) };
      return anyEndpoint((address) => channels.explain(address, request, timeoutMs));
    },

    async ring() {
      try {
        return encodeRing(ringWatch().current() ?? (await ringWatch().first(ringTimeoutMs)));
      } catch (error) {
        throw failed(error);
      }
    },

    namespaces: {
      async create(name, settings = {}) {
        asFailed(() => checkSettings(name, settings));
        const request = { name, settings: settingsMessage(settings) };
        return openChange(await admin((on, ...rest) => on.createNamespace(request, ...rest)));
      },
      async alter(name, settings, { expectedVersion } = {}) {
        asFailed(() => {
          checkSettings(name, settings);
          integer('OPERATION_INVALID', 'expectedVersion', expectedVersion);
        });
        const request = { name, settings: settingsMessage(settings), expectedVersion };
        return openChange(await admin((on, ...rest) => on.alterNamespace(request, ...rest)));
      },
      async list() {
        const { namespaces } = await admin<ListNamespacesResponse>((on, ...rest) => on.listNamespaces({}, ...rest));
        return namespaces.map(openNamespace);
      },
    },

    changes: changesClient(endpoints),

    async status(address) {
      if (address === undefined) return anyEndpoint(statusOf);
      try {
        return await statusOf(address);
      } catch (error) {
        throw failed(error);
      }
    },

    async *losers(address, { namespace = '', key = noBytes } = {}) {
      try {
        let pageToken: Buffer = noBytes;
        do {
          const request = { namespace, key: bytesOf(key), pageToken };
          const page = await callAdmin<ListLosersResponse>(address, statusTimeoutMs, (admin, ...rest) =>
            admin.listLosers(request, ...rest),
          );
          yield* page.losers.map(loserOf);
          pageToken = page.pageToken;
        } while (pageToken.length > 0);
      } catch (error) {
        throw failed(error);
      }
    },

    async hotKeys({ address, limit = 0 } = {}) {
      asFailed(() => integer('OPERATION_INVALID', 'limit', limit));
      const ask = async (at: string) => {
        const { keys } = await callAdmin<ListHotKeysResponse>(at, statusTimeoutMs, (admin, ...rest) =>
          admin.listHotKeys({ limit }, ...rest),
        );
        return keys;
      };
      if (address === undefined) return anyEndpoint(ask);
      try {
        return await ask(address);
      } catch (error) {
        throw failed(error);
      }
    },

    session: () => createSession({ ...client, update: (...of) => counted(readAndWrite(...of)) }),

    async close({ timeoutMs = closeTimeoutMs } = {}) {
      closing = true;
      if (underWay.size > 0) {
        await new Promise<void>((resolve) => {
          const cancel = clock.after(timeoutMs, resolve);
          void Promise.allSettled(underWay).then(() => {
            cancel();
            resolve();
          });
        });
      }
      watch?.close();
      watch = undefined;
      pool.close();
      channels.close();
    },
  };

  /** Goes on at the next endpoint after the last page that came. */
  async function* listing(request: Parameters<typeof channels.listKeys>[1]) {
    let { pageToken } = request;
    for (const [i, address] of endpoints.entries()) {
      try {
        for await (const page of channels.listKeys(address, { ...request, pageToken })) {
          pageToken = page.pageToken;
          yield page;
        }
        return;
      } catch (error) {
        if (i === endpoints.length - 1 || !isGone(error)) throw error;
      }
    }
  }

  function admin<T>(call: AdminCall<T>): Promise<T> {
    return anyEndpoint((address) => callAdmin(address, namespaceTimeoutMs, call));
  }

  async function anyEndpoint<T>(call: (address: string) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const address of endpoints) {
      try {
        return await call(address);
      } catch (error) {
        last = error;
        if (!isGone(error)) break;
      }
    }
    throw failed(last);
  }

  return client;
}

function check(options: Parameters<typeof checkOptions>[0]): void {
  asFailed(() => checkOptions(options));
}

function writtenOf({ context, siblings, receipt }: NonNullable<Result['put' | 'delete']>): PutAnswer {
  return { context, siblings, receipt: receipt ?? { acks: [], dot: '', ring: undefined, pendingMissed: [] } };
}

function checkEndpoints(endpoints: unknown): void {
  const isRight = (endpoint: unknown) => typeof endpoint === 'string' && /^[^\s/]+:\d{1,5}$/.test(endpoint);
  if (Array.isArray(endpoints) && endpoints.length > 0 && endpoints.every(isRight)) return;
  throw new TypeError(
    `connect: endpoints has to be a list of at least one host:port, such as ['127.0.0.1:7400']; it is ${JSON.stringify(endpoints)}`,
  );
}

function statusOf(address: string): Promise<GetStatusResponse> {
  return callAdmin(address, statusTimeoutMs, (admin, ...rest) => admin.getStatus({}, ...rest));
}

function loserOf({ key, value, dot, writtenAtMs, lostTo, lostAtMs }: ListLosersResponse['losers'][number]): Loser {
  return { key, value, dot, writtenAt: new Date(Number(writtenAtMs)), lostTo, lostAt: new Date(Number(lostAtMs)) };
}

function answerOf({ siblings, context, omitted, certificate }: GetResponse): GetAnswer {
  return {
    siblings: siblings.map(({ value, dot, writtenAtMs, ttlLeft }) => ({
      value,
      dot,
      writtenAt: new Date(Number(writtenAtMs)),
      ...(ttlLeft && { ttlLeftMs: millisecondsOf(ttlLeft) }),
    })),
    context,
    omitted,
    certificate: certificate ?? {
      replicasAsked: 0,
      replicasAnswered: 0,
      homesAnswered: 0,
      divergent: false,
      coversSession: false,
      ring: undefined,
    },
  };
}

/** A hook that fails must not fail the operation that it is told of. */
function report(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function cancellationOf(signal: AbortSignal | undefined): Cancellation {
  return signal === undefined ? neverCancelled : new CancellationOf(signal);
}

/** A class: an object with an accessor of its own is kept by V8 until a full collection (storage-node/quorum.ts). */
class CancellationOf implements Cancellation {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  get cancelled(): boolean {
    return this.#signal.aborted;
  }

  onCancel(run: () => void): () => void {
    this.#signal.addEventListener('abort', run, { once: true });
    return () => this.#signal.removeEventListener('abort', run);
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Failure && error.reason === 'NOT_ENOUGH_REPLICAS';
}
