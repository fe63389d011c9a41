/**
 * A storage node as a process: its ports made real, its services served. No decisions.
 *
 *   KeyValueService ─► operations ─► coordinate-put / coordinate-get ─► record store ─► RocksDB
 *   ReplicaService  ─► local replica ────────────────────────────────────┘
 */
import {
  type HintStatus,
  ProcessKind,
  type RepairStatus,
  type StorageStatus,
  type TaskStatus,
} from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { DamagedData } from '../core/damaged-data.ts';
import { settingsOf } from '../core/membership/settings.ts';
import { findNamespace } from '../core/namespaces/namespace.ts';
import type { Random, StorageEngine } from '../core/ports.ts';
import { requestLimits } from '../core/requests/limits.ts';
import { nodeById, type Ring } from '../core/ring/ring.ts';
import { type Probes, startAdminServer } from '../platform/admin-http.ts';
import { createClock } from '../platform/clock.ts';
import { createGossip, type Gossip } from '../platform/gossip/gossip.ts';
import { createGrpcGossipTransport, membershipService } from '../platform/gossip/transport-grpc.ts';
import { refuseForeign } from '../platform/gossip/whose-memory.ts';
import { startGrpcServer } from '../platform/grpc-server.ts';
import { checksum32, xxh64 } from '../platform/hash.ts';
import { createKeyValueService } from '../platform/kv-service.ts';
import { createLog } from '../platform/logging.ts';
import { watchLateness } from '../platform/loop-lateness.ts';
import { createMetrics } from '../platform/metrics.ts';
import { createNamespaceAdmin } from '../platform/namespaces/namespace-admin.ts';
import type { Restart, Stop } from '../platform/process.ts';
import { createRandom } from '../platform/random.ts';
import { readStatuses } from '../platform/read-statuses.ts';
import { createRingSource } from '../platform/ring-source.ts';
import { DataDirectoryError } from '../platform/rocksdb/data-directory.ts';
import { watchDirectory } from '../platform/rocksdb/directory-watch.ts';
import { openRocksEngine } from '../platform/rocksdb/engine.ts';
import { statusService } from '../platform/status-service.ts';
import { createPeers } from '../platform/streams/peers.ts';
import { createReplicaService, replicaDefinition } from '../platform/streams/replica-service.ts';
import { createSessionServer, type Execute, keyValueDefinition } from '../platform/streams/session-server.ts';
import { tracedExecute } from '../platform/tracing/traced.ts';
import { openTracing } from '../platform/tracing/tracing.ts';
import { inHand, renewDirectory, watchLeaving } from './after-leaving.ts';
import { type AssembledNode, assembleStorageNode } from './assemble.ts';
import { backgroundLimits } from './background.ts';
import { watchCatchingUp } from './catching-up.ts';
import type { StorageNodeConfig } from './config.ts';
import { explain } from './explain.ts';
import { createForwarding } from './forwarding.ts';
import { readIdentity } from './identity.ts';
import { listKeys } from './list-keys.ts';
import { listLosers } from './losers.ts';
import { wallMs } from './node.ts';
import { runOperation } from './operations.ts';
import { createRebuild } from './rebuild.ts';
import { bufferLimits } from './record-store.ts';

/** EX_IOERR: a disk that fails leaves what was acknowledged in doubt, and the process must not go on. */
const exitStorageFailed = 74;
/** So long a node that nobody answers is not ready. What it writes then gets births of its own (core/versioning/birth.ts). */
const confirmationPatienceMs = 2_000;
const gossipMemory = Buffer.from('gossip');

/** Throws DamagedData where damage is met while it starts: started once more it rebuilds its database (rocksdb/scrub.ts). */
export async function startStorageNode(config: StorageNodeConfig, restart: Restart): Promise<Stop> {
  const log = createLog({ service: 'storage-node', level: config['log-level'] });
  const metrics = createMetrics({ service: 'storage-node', node: config.advertise, zone: config.zone });
  const random = createRandom();
  if (config.renew) await renewDirectory(config.data, log);
  const engine = await openRocksEngine({ directory: config.data, random, log, metrics });
  try {
    return await startOn(engine, { config, restart, log, metrics, random });
  } catch (error) {
    if (error instanceof DamagedData || error instanceof DataDirectoryError) await engine.close();
    throw error;
  }
}

interface StartOptions {
  readonly config: StorageNodeConfig;
  readonly restart: Restart;
  readonly log: ReturnType<typeof createLog>;
  readonly metrics: ReturnType<typeof createMetrics>;
  readonly random: Random;
}

async function startOn(engine: StorageEngine, { config, restart, log, metrics, random }: StartOptions): Promise<Stop> {
  const clock = createClock();
  const rings = createRingSource();
  const id = await readIdentity(engine, random, config.data);
  const { advertise: address, data } = config;
  const seeds = config.seeds.filter((seed) => seed !== address);
  const [remembered] = await engine.getMany('meta', [gossipMemory]);
  await refuseForeign({ directory: data, remembered, self: { id, address }, seeds });
  let clusterId = '';
  let storageFailed = false;
  let draining = false;
  const startedAt = clock.now();
  /** Others know of no start of this node that its disk does not: it is no old image of itself. */
  let confirmed = false;
  const provisionalLineage = random.u64();

  const settings = settingsOf(xxh64);
  const terms = () => ({ nodeId: id, clusterId, replicas: rings.current()?.replicas ?? 0, settings });
  const tracing = await openTracing({
    ...{ endpoint: config['trace-endpoint'], ratio: config['trace-ratio'] },
    ...{ service: 'storage-node', instance: id, clock, log, metrics },
  });
  const peers = createPeers({ rings, terms, clock, random, log, metrics });
  const node = assembleStorageNode({
    id,
    engine,
    peers,
    clock,
    random,
    log,
    metrics,
    tracing,
    hash: xxh64,
    checksum: checksum32,
    lineage: () => (confirmed ? engine.lineage : provisionalLineage),
    cacheBytesMax: config['cache-mib'] * 1024 * 1024,
    buffer: {
      ...bufferLimits,
      recordsMax: config['buffer-records'],
      bytesMax: config['buffer-mib'] * 1024 * 1024,
    },
    hintsPerNodeMax: config['hints-max'],
    losersBytesMax: config['losers-mib'] * 1024 * 1024,
    requestsMax: config['requests-max'],
    exchangeEveryMs: config['exchange-every'],
    verifyEveryMs: config['verify-every'],
    collectAfterMs: config['collect-after'],
    background: {
      ...backgroundLimits,
      targetMs: config['background-target'],
      operationsMax: config['background-operations'],
      bytesMax: config['background-mib'] * 1024 * 1024,
    },
    lateMs: watchLateness(),
    ring: () => rings.current(),
    async learnRing(nodeId) {
      const ring = rings.current();
      const address = ring && nodeById(ring, nodeId)?.address;
      if (address !== undefined) await gossip.askNow(address);
    },
    namespace: (name) => findNamespace(gossip.state().namespaces, name),
    onStorageFailure(error) {
      storageFailed = true;
      log.error({ err: error }, 'the disk failed; nothing is acknowledged any more, and the process ends');
      clock.after(500, () => process.exit(exitStorageFailed));
    },
  });
  await node.open().catch(async (error: unknown) => {
    await node.close();
    throw error;
  });
  rings.subscribe((ring) => node.follow(ring));
  const afterLeaving = watchLeaving({
    ...{ id, directory: config.data, clock, log },
    owes: async () => (node.barriers.isLeftBehind ? 0 : inHand(node)),
    onStillHere() {
      log.info({ id }, 'it has left the ring and is still here: the process ends, to begin as another node');
      process.kill(process.pid, 'SIGTERM');
    },
  });
  if (config.renew) rings.subscribe((ring) => afterLeaving.follow(ring));
  const forwarding = createForwarding(rings, clock, random, id, tracing);
  const run: Execute = (operation, arrival) => runOperation(node, forwarding.forward, operation, arrival);
  const execute = tracing === undefined ? run : tracedExecute(run, tracing);
  const traced = tracing !== undefined;
  const ringVersion = () => rings.current()?.version;
  const sessions = createSessionServer({
    ...{ execute, clock, limits: requestLimits, log, metrics, traced, ringVersion, nodeId: id },
    clusterId: () => clusterId,
  });
  const keyValueService = createKeyValueService({
    sessions,
    rings,
    clusterId: () => clusterId,
    clock,
    limits: requestLimits,
    log,
    traced,
    explain: (request, deadline) => explain(node, request, deadline),
    listKeys: (request) => listKeys(node, request),
  });
  const replicaService = createReplicaService({ replica: node.served, terms, clock, log, metrics });

  const transport = createGrpcGossipTransport();
  const gossip: Gossip = await createGossip({
    self: { id, address, host: config.host, zone: config.zone, weight: config.weight },
    seeds,
    clock,
    random,
    transport,
    log,
    metrics,
    remembered,
    persist: (bytes) => engine.write([{ space: 'meta', key: gossipMemory, value: bytes }], true),
    onRing(ring, cluster) {
      clusterId = cluster;
      rings.set(ring);
    },
    onRestored: () => engine.renewLineage(),
    onConfirmed() {
      confirmed = true;
    },
  });

  const accepting = () => !storageFailed && rings.current() !== undefined;
  // Not before: where damage is met until here this start ends, and the next one in this process is another run.
  const directory = await watchDirectory(config.data, clock, (error) => {
    log.error({ err: error }, 'what is written is on no disk any more: the process ends');
    process.exit(exitStorageFailed);
  });
  const server = await startGrpcServer({
    listen: config.listen,
    log,
    metrics,
    services: [
      { definition: keyValueDefinition, implementation: keyValueService },
      { definition: replicaDefinition, implementation: replicaService.service },
      membershipService(gossip, log),
      statusService({
        kind: ProcessKind.STORAGE_NODE,
        id,
        address: config.advertise,
        gossip,
        namespaces: createNamespaceAdmin(gossip),
        clock,
        log,
        peers: () => peers.view(),
        storage: () => storageStatus(node, rings.current(), accepting()),
        pulled: () => node.transfers.pulled(),
        retiring: () => node.leftovers.size,
        hints: () => hintStatus(node),
        repair: () => repairStatus(node),
        tasks: () => taskStatus(node),
        losers: (request) => listLosers(node, request),
        hotKeys: node.hotKeys,
      }),
    ],
  });
  server.setServing(true);
  const catchingUp = watchCatchingUp({
    ...{ id, patienceMs: config['catch-up'], clock, log },
    ring: () => rings.current(),
    ask: readStatuses,
  });
  node.exchanges.start();
  node.verification.start();
  node.collection.start();
  node.transfers.start();
  node.refill.start();
  const rebuild = createRebuild(node, config['rebuild-every'], () => {
    log.warn(
      { data: config.data },
      'files of the database are damaged, and the others can do without this node: it is rebuilt',
    );
    restart('damaged files');
  });
  rebuild.start();
  const probes: Probes = {
    startup: () => ({ ok: true }),
    live: () => ({ ok: true }),
    ready: () =>
      draining
        ? { ok: false, reason: 'the process is stopping' }
        : readiness({
            storageFailed,
            ring: rings.current(),
            confirmed: confirmed || clock.now() - startedAt > confirmationPatienceMs,
            refusal: gossip.refusal(),
            behind: catchingUp.behind(),
          }),
  };
  const admin = await startAdminServer({ listen: config.admin, metrics, probes, log });
  log.info({ id, address: server.address, admin: admin.address, data: config.data }, 'storage node started');

  return async (cause) => {
    log.info({ cause }, 'stopping');
    draining = true;
    catchingUp.stop();
    afterLeaving.stop();
    directory.stop();
    rebuild.stop();
    server.setServing(false);
    await Promise.race([sessions.drain(), new Promise<void>((resolve) => clock.after(config.drain, resolve))]);
    await gossip.stop();
    transport.close();
    forwarding.close();
    replicaService.end();
    await server.drain(1_000);
    peers.close();
    await node.close();
    await engine.close();
    await admin.close();
    await tracing?.close();
    log.info({ cause }, 'stopped');
  };
}

interface Readiness {
  readonly storageFailed: boolean;
  readonly ring: Ring | undefined;
  readonly confirmed: boolean;
  readonly refusal: string | undefined;
  readonly behind: string | undefined;
}

function readiness({ storageFailed, ring, confirmed, refusal, behind }: Readiness): { ok: boolean; reason?: string } {
  if (storageFailed) return { ok: false, reason: 'the disk failed; nothing is acknowledged' };
  // Its clients would be given what it remembers of another cluster.
  if (refusal !== undefined) return { ok: false, reason: `others refuse this node; ${refusal}` };
  if (ring === undefined) return { ok: false, reason: 'no ring is known yet' };
  if (!confirmed) return { ok: false, reason: 'no other process has answered yet' };
  return behind === undefined ? { ok: true } : { ok: false, reason: behind };
}

async function hintStatus({ hints, handoff, clock, store }: AssembledNode): Promise<HintStatus[]> {
  // Hints count once they are written, and a node that leaves is taken for gone when it has none.
  await store.flush().catch(() => {});
  const summaries = await hints.summary();
  return summaries.map(({ nodeId, hints: count, bytes, oldestMs, markedPartitions }) => {
    const progress = handoff.progress(nodeId);
    return {
      nodeId,
      hints: BigInt(count),
      bytes: BigInt(bytes),
      oldestMs: BigInt(oldestMs === undefined ? 0 : Math.max(0, wallMs(clock) - oldestMs)),
      markedPartitions,
      delivering: progress !== undefined,
      delivered: BigInt(progress?.delivered ?? 0),
      deliveringMs: BigInt(Math.round(progress?.ms ?? 0)),
    };
  });
}

function repairStatus({ exchanges, collection }: AssembledNode): RepairStatus {
  const { oldestMs, lagMs, lagging, ...status } = exchanges.status();
  const collecting = collection.status();
  return {
    ...status,
    lagMs: BigInt(Math.round(lagMs)),
    lagging: lagging.map(({ peer, ms, ...lag }) => ({ ...lag, nodeId: peer, lagMs: BigInt(Math.round(ms)) })),
    oldestMs: wholeMs(oldestMs),
    collectable: BigInt(collecting.waiting),
    collectableOldestMs: wholeMs(collecting.oldestMs),
    lookedMs: wholeMs(collecting.lookedMs),
    collectionWaitsFor: collecting.waitsFor,
  };
}

function wholeMs(ms: number | undefined): bigint | undefined {
  return ms === undefined ? undefined : BigInt(Math.round(ms));
}

function taskStatus({ background }: AssembledNode): TaskStatus[] {
  return background.tasks().map(({ ms, operations, bytes, etaMs, ...task }) => ({
    ...task,
    runningMs: BigInt(Math.round(ms)),
    operations: BigInt(operations),
    bytes: BigInt(bytes),
    etaMs: wholeMs(etaMs),
  }));
}

function storageStatus(
  { id, engine, background, transfers }: AssembledNode,
  ring: Ring | undefined,
  acceptingWrites: boolean,
): Omit<StorageStatus, 'pulled' | 'retiringPartitions'> {
  const { keysEstimated, diskBytes, freeBytes } = engine.stats();
  const index = ring && nodeById(ring, id)?.index;
  let partitions = 0;
  let primaryPartitions = 0;
  ring?.owners.forEach((owner, i) => {
    if (owner !== index) return;
    partitions++;
    if (i % ring.replicas === 0) primaryPartitions++;
  });
  return {
    keysEstimated: BigInt(Math.max(0, Math.floor(keysEstimated))),
    diskBytes: BigInt(Math.max(0, Math.floor(diskBytes))),
    primaryPartitions,
    partitions,
    acceptingWrites,
    diskFreeBytes: BigInt(Math.max(0, Math.floor(freeBytes))),
    backgroundBytesPerSecond: BigInt(Math.floor(background.bytesPerSecond)),
    transfersWaitFor: transfers.waitsFor(),
    pulling: [...transfers.pulling()].map(([partition, progress]) => ({ partition, progress })),
  };
}
