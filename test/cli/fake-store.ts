/**
 * One node that keeps its keys in a Map and speaks the public contract: enough of a store to try the commands on.
 * Dots are `fake:n`; a context is the dots it covers. `refuse` makes the next operations fail.
 */
import { Server } from '@grpc/grpc-js';
import {
  AdminServiceService,
  GetStatusResponse,
  ListHotKeysResponse,
  type RepairStatus,
} from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import {
  ExplainResponse,
  GetResponse,
  KeyValueServiceService,
  type Operation,
  type Outcome,
  PutResponse,
  type Reason,
  Result,
  Ring,
  type SessionRequest,
  SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { listenGrpc } from '../platform/listen-grpc.ts';

interface Value {
  readonly dot: string;
  readonly value: Buffer;
  readonly requestId: string;
}

export interface Refusal {
  readonly reason: Reason;
  readonly code: number;
  readonly retryAfterMs?: number;
  /** NOT_APPLIED where it is absent. */
  readonly outcome?: Outcome;
}

export interface FakeStore {
  readonly address: string;
  /** Key as latin1 → its siblings. */
  readonly values: Map<string, Value[]>;
  /** Request ids of every put that came, in order, those refused too. */
  readonly requestIds: string[];
  /** And their attempts. */
  readonly attempts: number[];
  /** Pages of a listing after which its connection is lost. */
  listingBreaksAfter: number;
  /** The reason to refuse this operation with, or undefined to carry it out. */
  refuse: (operation: Operation) => Refusal | undefined;
  /** Of its node in the ring, as it tells it. */
  nodeAddress: string;
  /** Addresses of members besides itself, for GetStatus. */
  readonly extraMembers: string[];
  /** For GetStatus: to whom it owes records, by id, and how many. */
  readonly owed: Map<string, bigint>;
  /** What it says of its replicas; undefined: nothing. */
  repair: RepairStatus | undefined;
  /** The hottest first; each half as hot as the first one, a third, and so on. */
  hotKeys: string[];
  /** Value bytes in one answer, at least one value. */
  answerBytesMax: number;
  /** What its certificates say of it. */
  coversSession: boolean;
  /** Adds a sibling. */
  put(key: string, value: string | Buffer): void;
  close(): void;
}

const version = { term: 1n, sequence: 7n };

export async function startFakeStore(): Promise<FakeStore> {
  const values = new Map<string, Value[]>();
  const deleted = new Set<string>();
  const requestIds: string[] = [];
  const attempts: number[] = [];
  let counter = 0;

  const contextOf = (key: string) => {
    const dots = (values.get(key) ?? []).map(({ dot }) => dot);
    return Buffer.from([...dots, ...(deleted.has(key) ? ['gone'] : [])].join(' '));
  };
  const write = (key: string, value: Buffer | undefined, context: Buffer, requestId: string) => {
    const covered = new Set(context.toString().split(' '));
    const left = (values.get(key) ?? []).filter(({ dot }) => !covered.has(dot));
    const known = left.find((sibling) => requestId !== '' && sibling.requestId === requestId);
    const dot = known?.dot ?? `fake:${++counter}`;
    if (value !== undefined && known === undefined) left.push({ dot, value, requestId });
    if (left.length === 0) {
      values.delete(key);
      deleted.add(key);
    } else values.set(key, left);
    return PutResponse.fromPartial({
      context: Buffer.from(`${context.toString()} ${dot}`),
      siblings: left.length,
      receipt: { dot, ring: version, acks: [{ nodeId: 'fake', zone: 'zone-1', durable: true }] },
    });
  };
  const answer = (operation: Operation): Result => {
    if (operation.put) {
      requestIds.push(Buffer.from(operation.put.requestId).toString('hex'));
      attempts.push(operation.put.attempt);
    }
    const refused = store.refuse(operation);
    const id = operation.id;
    if (refused !== undefined) {
      const { retryAfterMs = 0, ...why } = refused;
      const retryAfter = { seconds: 0n, nanos: 1e6 * retryAfterMs };
      return Result.fromPartial({ id, error: { outcome: 1, ...why, retryAfter, message: 'refused by the test' } });
    }
    if (operation.get) {
      const key = operation.get.key.toString('latin1');
      const { dots, maxBytes } = operation.get;
      const asked = (values.get(key) ?? []).filter(({ dot }) => dots.length === 0 || dots.includes(dot));
      let bytes = 0;
      const fits = ({ value }: Value, i: number) => {
        bytes += value.length;
        return i === 0 || bytes <= (maxBytes === 0 ? store.answerBytesMax : maxBytes);
      };
      const chosen = asked.filter(fits);
      const omitted = asked.filter((value) => !chosen.includes(value)).map(({ dot }) => dot);
      const siblings = chosen.map(({ value, dot }) => ({ value, dot, writtenAtMs: 1_700_000_000_000n }));
      const certificate = {
        replicasAsked: 2,
        replicasAnswered: 2,
        homesAnswered: 2,
        coversSession: store.coversSession,
        ring: version,
      };
      return Result.fromPartial({
        id,
        get: GetResponse.fromPartial({ siblings, omitted, context: contextOf(key), certificate }),
      });
    }
    if (operation.put) {
      const { key, value, context, requestId } = operation.put;
      return Result.fromPartial({ id, put: write(key.toString('latin1'), value, context, requestId.toString('hex')) });
    }
    const { key, context } = operation.delete as NonNullable<Operation['delete']>;
    return Result.fromPartial({ id, delete: write(key.toString('latin1'), undefined, context, '') });
  };

  const server = new Server();
  server.addService(KeyValueServiceService, {
    session: (call: {
      on(event: 'data', run: (request: SessionRequest) => void): void;
      on(event: 'end', run: () => void): void;
      write(response: SessionResponse): void;
      end(): void;
    }) => {
      call.write(SessionResponse.fromPartial({ welcome: { maxInFlight: 1000, maxMessageBytes: 4 << 20 } }));
      call.on('data', ({ operations }) => call.write(SessionResponse.fromPartial({ results: operations.map(answer) })));
      call.on('end', () => call.end());
    },
    listKeys: (call: {
      request: { prefix: Buffer };
      write(response: object): void;
      end(): void;
      emit(event: 'error', error: object): void;
    }) => {
      const prefix = call.request.prefix.toString('latin1');
      const keys = [...values.keys()].filter((key) => key.startsWith(prefix));
      for (let i = 0; i < keys.length; i += 100) {
        if (i >= 100 * store.listingBreaksAfter) {
          call.emit('error', { code: 14, details: 'Connection dropped' });
          return;
        }
        const entries = keys.slice(i, i + 100).map((key) => ({ key: Buffer.from(key, 'latin1') }));
        call.write({ entries, pageToken: Buffer.from(String(i)) });
      }
      call.end();
    },
    explain: (_: object, done: (error: null, response: ExplainResponse) => void) => {
      const replica = { nodeId: 'fake', home: true, reachable: true, dots: ['fake:1'], clock: 'fake:1' };
      const away = { nodeId: 'other', home: false, reachable: false };
      done(null, ExplainResponse.fromPartial({ hash: 255n, partition: 3, ring: version, replicas: [replica, away] }));
    },
    watchRing: (call: { write(response: object): void }) => {
      const node = {
        index: 0,
        id: 'fake',
        address: store.nodeAddress,
        host: 'host-1',
        zone: 'zone-1',
        status: 2 as const,
      };
      const ring = { version, hash: 1 as const, partitions: 1, replicas: 1, nodes: [node], owners: [{ owners: [0] }] };
      call.write({ ring: Ring.fromPartial(ring) });
    },
    get: unserved,
    put: unserved,
    delete: unserved,
  });
  server.addService(AdminServiceService, {
    listHotKeys: (
      { request: { limit } }: { request: { limit: number } },
      done: (error: null, response: ListHotKeysResponse) => void,
    ) => {
      const keys = store.hotKeys.map((key, i) => ({
        ...{ namespace: 'default', key: Buffer.from(key), share: 0.5 / (i + 1) },
        ...{ readsPerSecond: 100 / (i + 1), writesPerSecond: 1 / (i + 1), errorPerSecond: 0 },
      }));
      done(null, ListHotKeysResponse.fromPartial({ keys: keys.slice(0, limit) }));
    },
    getStatus: (_: object, done: (error: null, response: GetStatusResponse) => void) => {
      const member = { id: 'fake', incarnation: 1n, status: 2 as const, address: store.address, zone: 'zone-1' };
      done(
        null,
        GetStatusResponse.fromPartial({
          kind: 1,
          id: 'fake',
          address: store.address,
          clusterId: 'fake-cluster',
          ring: version,
          partitions: 1,
          replicas: 1,
          uptimeMs: 61_000n,
          hints: [...store.owed].map(([nodeId, hints]) => ({ nodeId, hints })),
          repair: store.repair,
          members: [member, ...store.extraMembers.map((address) => ({ ...member, id: address, address }))],
          storage: {
            keysEstimated: BigInt(values.size),
            diskBytes: 2048n,
            partitions: 1,
            primaryPartitions: 1,
            acceptingWrites: true,
          },
        }),
      );
    },
  });
  const address = await listenGrpc(server);
  const store: FakeStore = {
    address,
    nodeAddress: address,
    extraMembers: [],
    owed: new Map(),
    repair: undefined,
    hotKeys: [],
    answerBytesMax: Number.POSITIVE_INFINITY,
    coversSession: true,
    values,
    requestIds,
    attempts,
    listingBreaksAfter: Number.POSITIVE_INFINITY,
    refuse: () => undefined,
    put: (key, value) => {
      const siblings = values.get(key) ?? [];
      values.set(key, [...siblings, { dot: `fake:${++counter}`, value: Buffer.from(value), requestId: '' }]);
    },
    close: () => server.forceShutdown(),
  };
  return store;
}

function unserved(_: object, done: (error: { code: number; details: string }) => void): void {
  done({ code: 12, details: 'not in this test' });
}
