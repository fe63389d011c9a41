/**
 * The data path of a storage node, put together from its ports: what a real process and the simulation run
 * alike.
 */
import type { GovernorLimits } from '../core/background/governor.ts';
import { createContextCodec } from '../core/codec/context.ts';
import { createRecordCodec } from '../core/codec/record.ts';
import { createDeadlines } from '../core/deadlines.ts';
import type { Namespace } from '../core/namespaces/namespace.ts';
import type { Checksum32, Clock, Hash64, Log, Metrics, Random, StorageEngine, Tracing } from '../core/ports.ts';
import { createExtraBudget } from '../core/quorum/extra-budget.ts';
import type { Peers, Replica } from '../core/quorum/peers.ts';
import { requestLimits } from '../core/requests/limits.ts';
import { createFences } from '../core/ring/fences.ts';
import type { Ring } from '../core/ring/ring.ts';
import { createHotKeys } from '../platform/hot-keys.ts';
import { tracedPeers, tracedReplica } from '../platform/tracing/traced.ts';
import { type Background, backgroundLimits, createBackground } from './background.ts';
import { createBarriers, keepingEra } from './barriers.ts';
import { type Collection, createCollection } from './collection.ts';
import { createCoordinatorMetrics } from './coordinator-metrics.ts';
import { createDigests } from './digests.ts';
import { answerExchange } from './exchange.ts';
import { createExchanges, type Exchanges } from './exchanges.ts';
import { createHandoff, type Handoff } from './handoff.ts';
import { createHintBook, indexAgain } from './hints.ts';
import { createLeftovers } from './leftovers.ts';
import { createLocalReplica } from './local-replica.ts';
import { createLoserLedger } from './losers.ts';
import { type StorageNode, wallMs } from './node.ts';
import { createRecordRepair } from './record-repair.ts';
import { type BufferLimits, createRecordStore, type RecordStore } from './record-store.ts';
import { exposeRedundancy } from './redundancy.ts';
import { createRefill, type Refill } from './refill.ts';
import { createRequestTable } from './request-table.ts';
import { createTransfers, type Transfers } from './transfers.ts';
import { createVerification, type Verification } from './verification.ts';

/** Extra requests that may be saved up: enough for the reads in flight when one node stops. */
const extraSavedMax = 100;

export interface StorageNodePorts {
  readonly id: string;
  readonly engine: StorageEngine;
  /** Under which births are made; the engine's where it is not given. */
  lineage?(): bigint;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly hash: Hash64;
  readonly checksum: Checksum32;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Undefined: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  /** Of records used last; 0: none. */
  readonly cacheBytesMax: number;
  /** Records that may be owed to one node, see hints.ts. */
  readonly hintsPerNodeMax: number;
  /** Bytes of values that lost, see losers.ts. */
  readonly losersBytesMax: number;
  /** Levels of the digest tree; the usual ones where it is not given. */
  readonly digestDepth?: number;
  readonly background?: GovernorLimits;
  /** See OwnStrain; absent: never late. */
  lateMs?(): number;
  /** Each replica of a partition is compared with each other about so often. */
  readonly exchangeEveryMs: number;
  /** The digests are compared with all records about so often; 0: never. */
  readonly verifyEveryMs: number;
  /** What may be let go has to be seen twice, about so far apart, before it is (collection.ts); 0: nothing is. */
  readonly collectAfterMs: number;
  /** How many request ids are remembered, see request-table.ts. */
  readonly requestsMax: number;
  /** For what is acknowledged from memory; the usual ones where it is not given. */
  readonly buffer?: BufferLimits;
  ring(): Ring | undefined;
  /** See node.ts. */
  learnRing(nodeId: string): Promise<void>;
  /** As gossip knows it now. */
  namespace(name: string): Namespace | undefined;
  /** The disk failed: what was acknowledged is in doubt, and nothing may be acknowledged any more. */
  onStorageFailure(error: unknown): void;
}

export interface AssembledNode extends StorageNode {
  readonly handoff: Handoff;
  readonly exchanges: Exchanges;
  readonly verification: Verification;
  readonly collection: Collection;
  readonly transfers: Transfers;
  /** This node's own replica, as others reach it. */
  readonly served: Replica;
  readonly refill: Refill;
  /** To be told of each ring that this node goes over to, before an operation is placed by it. */
  follow(ring: Ring): void;
  /** Takes up what the last run left. Before it resolves nothing may be asked of the node. */
  open(): Promise<void>;
  /** Nothing is begun any more; resolves when everything that was changed is written. */
  close(): Promise<void>;
}

export function assembleStorageNode(ports: StorageNodePorts): AssembledNode {
  const { id, engine, clock, random, hash, log, metrics, tracing } = ports;
  const records = createRecordCodec(ports.checksum, (size) => Buffer.allocUnsafe(size));
  const hints = createHintBook(engine, metrics, ports.hintsPerNodeMax);
  const requests = createRequestTable(engine, metrics, ports.requestsMax);
  const losers = createLoserLedger({
    ...{ engine, metrics, clock, log, hash, bytesMax: ports.losersBytesMax },
    namespace: (name) => ports.namespace(name),
  });
  const digests = createDigests({
    ...{ engine, hash, log, metrics, depth: ports.digestDepth },
    after: (ms, run) => void clock.after(ms, run),
    store: () => store,
    background: () => background,
  });
  const store: RecordStore = createRecordStore({
    engine,
    codec: records,
    metrics,
    cacheBytesMax: ports.cacheBytesMax,
    buffer: ports.buffer,
    now: () => clock.now(),
    after: (ms, run) => clock.after(ms, run),
    endOfTurn: (run) => clock.endOfTurn(run),
    wallNowMs: () => wallMs(clock),
    onFailure: (error) => ports.onStorageFailure(error),
    admitFlush: (records, bytes, withinMs) =>
      background.takeWithin(withinMs, 'flush', 'the write buffer', records, bytes),
    onCorrupt: (key) => repair.found(key),
    onChanged(key, before, after) {
      digests.changed(key, before, after);
      barriers.changed(key);
    },
    besideChange: (key, before, after) => losers.note(key, before, after),
    onOwed: (nodeId, by) => hints.changed(nodeId, by),
  });
  const background: Background = createBackground(clock, metrics, ports.background ?? backgroundLimits, {
    writingMs: () => store.writingMs,
    lateMs: () => ports.lateMs?.() ?? 0,
  });
  const fences = createFences();
  const leftovers = createLeftovers();
  const barriers = createBarriers({
    ...{ id, engine, metrics, ring: () => ports.ring(), store: () => store },
    onLeftBehind() {
      leftovers.clear();
      const advice = 'start it with an empty directory (--renew), as another node';
      log.warn({ leftBehind: id }, `this node had left the ring, and what it kept is out of date; ${advice}`);
    },
  });
  const peers = keepingEra(ports.peers, id, barriers);
  const coordinatorMetrics = createCoordinatorMetrics(metrics, log);
  const replica = createLocalReplica({
    ...{ id, store, records, clock, hints, requests, fences, barriers, metrics: coordinatorMetrics },
    ring: () => ports.ring(),
    isFilling: (key) => refill.isFilling(key),
    exchange: (request) => answerExchange(node, request),
  });
  const node: StorageNode = {
    id,
    lineage: ports.lineage ?? (() => engine.lineage),
    ring: () => ports.ring(),
    learnRing: (nodeId) => ports.learnRing(nodeId),
    fences,
    leftovers,
    barriers,
    engine,
    store,
    hints,
    requests,
    losers,
    digests,
    background,
    replica: tracing === undefined ? replica : tracedReplica(replica, tracing, 'INTERNAL'),
    peers: tracing === undefined ? peers : tracedPeers(peers, tracing),
    records,
    validation: { limits: requestLimits, contexts: createContextCodec(hash), hash, namespace: ports.namespace },
    clock,
    deadlines: createDeadlines(clock),
    extra: createExtraBudget(extraSavedMax),
    random,
    metrics: coordinatorMetrics,
    tracing,
    hotKeys: createHotKeys(clock, metrics),
  };
  exposeRedundancy(node, metrics);
  const handoff = createHandoff(node, metrics);
  const exchanges = createExchanges(node, background, metrics, ports.exchangeEveryMs, handoff);
  const transfers = createTransfers(node, background, metrics);
  const refill = createRefill(node, metrics);
  const verification = createVerification({
    ...{ digests, store, background, clock, metrics },
    everyMs: ports.verifyEveryMs,
  });
  const collection = createCollection(node, metrics, ports.collectAfterMs);
  const repair = createRecordRepair({ node, verification, log, metrics });
  return {
    ...node,
    served: tracing === undefined ? replica : tracedReplica(replica, tracing, 'SERVER'),
    handoff,
    exchanges,
    verification,
    collection,
    transfers,
    refill,
    follow(ring) {
      fences.follow(ring);
      hints.follow(ring.partitions);
      refill.follow(ring);
      transfers.follow(ring);
    },
    async open() {
      await barriers.open();
      await requests.open();
      await losers.open();
      await digests.open();
      if (engine.isIncomplete) await indexAgain(engine, store, wallMs(clock));
      await handoff.start();
    },
    async close() {
      exchanges.stop();
      transfers.stop();
      refill.stop();
      verification.stop();
      collection.stop();
      repair.stop();
      handoff.stop();
      losers.stop();
      background.stop();
      await store.close();
      await digests.close();
    },
  };
}
