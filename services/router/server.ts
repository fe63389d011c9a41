/** A router as a process: its ports made real, its services served. No decisions. */
import { ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { ExplainRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { createExtraBudget } from '../core/quorum/extra-budget.ts';
import { requestLimits } from '../core/requests/limits.ts';
import { locate } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { addressesOf, type Ring } from '../core/ring/ring.ts';
import { type Probes, startAdminServer } from '../platform/admin-http.ts';
import { createClock } from '../platform/clock.ts';
import { addressForPeople } from '../platform/configuration.ts';
import { createGossip } from '../platform/gossip/gossip.ts';
import { createGrpcGossipTransport } from '../platform/gossip/transport-grpc.ts';
import { startGrpcServer } from '../platform/grpc-server.ts';
import { xxh64 } from '../platform/hash.ts';
import { createHotKeys } from '../platform/hot-keys.ts';
import { createKeyValueService } from '../platform/kv-service.ts';
import { createLog } from '../platform/logging.ts';
import { createMetrics } from '../platform/metrics.ts';
import { createForwardingNamespaceAdmin } from '../platform/namespaces/forwarding-admin.ts';
import type { Stop } from '../platform/process.ts';
import { createRandom } from '../platform/random.ts';
import { createRingSource } from '../platform/ring-source.ts';
import { createBalancer } from '../platform/routing/balancer.ts';
import { coordinatorsOf } from '../platform/routing/coordinators.ts';
import { attemptsSavedMax } from '../platform/routing/dispatch.ts';
import { createRequestIds } from '../platform/routing/request-ids.ts';
import { createSessionPool } from '../platform/routing/session-pool.ts';
import { createUnaryChannels } from '../platform/routing/unary-channels.ts';
import { statusService } from '../platform/status-service.ts';
import { createSessionServer, keyValueDefinition } from '../platform/streams/session-server.ts';
import { tracedExecute, tracedPool } from '../platform/tracing/traced.ts';
import { openTracing } from '../platform/tracing/tracing.ts';
import type { RouterConfig } from './config.ts';
import { createRouter, routeListing } from './route.ts';

export async function startRouter(config: RouterConfig): Promise<Stop> {
  const log = createLog({ service: 'router', level: config['log-level'] });
  const metrics = createMetrics({ service: 'router', node: addressForPeople(config.listen) });
  const clock = createClock();
  const random = createRandom();
  const rings = createRingSource();
  const id = `router-${random.u64().toString(16).padStart(16, '0')}`;
  const ringVersion = () => rings.current()?.version;

  const tracing = await openTracing({
    ...{ endpoint: config['trace-endpoint'], ratio: config['trace-ratio'] },
    ...{ service: 'router', instance: id, clock, log, metrics },
  });
  const pool = createSessionPool({ name: id, clock, random, hop: 'routed', ring: () => rings.current() });
  const channels = createUnaryChannels(clock);
  const validation = { limits: requestLimits, hash: xxh64 };
  const balancer = createBalancer({ pool: tracing === undefined ? pool : tracedPool(pool, tracing), clock, random });
  const hotKeys = createHotKeys(clock, metrics);
  const router = createRouter({
    ...{ balancer, hotKeys, clock, metrics, ...validation },
    extra: createExtraBudget(attemptsSavedMax),
    newRequestId: createRequestIds(random),
    ring: () => rings.current(),
  });
  const placing = { ring: () => rings.current() };
  rings.subscribe((ring) => {
    const addresses = addressesOf(ring);
    balancer.keep(addresses);
    channels.keep(addresses);
  });

  const execute = tracing === undefined ? router.run : tracedExecute(router.run, tracing);
  const traced = tracing !== undefined;
  const age = config['connection-age'];
  const sessions = createSessionServer({
    // Later than the latest that a connection is told to go: the next session then comes over another one.
    sessionAgeMs: age === 0 ? undefined : 1.2 * age,
    ...{ execute, clock, limits: requestLimits, log, metrics, traced, ringVersion },
    clusterId: () => gossip.state().clusterId,
  });
  const keyValueService = createKeyValueService({
    sessions,
    rings,
    clusterId: () => gossip.state().clusterId,
    clock,
    limits: requestLimits,
    log,
    traced,
    explain: (request, deadline) => explain(request, deadline),
    listKeys: (request) => routeListing(placing, request, (address, asked) => channels.listKeys(address, asked)),
  });

  async function explain(request: ExplainRequest, deadline: number) {
    const { storageKey } = locate(request.namespace, request.key, validation);
    const addresses = balancer.order(coordinatorsOf(currentRing(placing), storageKey), 'read');
    const address = addresses.find((each) => pool.ready(each)) ?? (addresses[0] as string);
    return channels.explain(address, request, Math.max(1, deadline - clock.now()));
  }

  const transport = createGrpcGossipTransport();
  const gossip = await createGossip({
    seeds: config.seeds,
    clock,
    random,
    transport,
    log,
    metrics,
    onRing: (ring) => rings.set(ring),
  });

  const server = await startGrpcServer({
    listen: config.listen,
    log,
    metrics,
    limits: age === 0 ? {} : { maxConnectionAgeMs: age, maxConnectionAgeGraceMs: age },
    services: [
      { definition: keyValueDefinition, implementation: keyValueService },
      statusService({
        kind: ProcessKind.ROUTER,
        id,
        address: config.listen,
        gossip,
        namespaces: createForwardingNamespaceAdmin(() => addressesOf(currentRing(placing))),
        clock,
        log,
        hotKeys,
        peers: () => peerViews(rings.current(), pool),
      }),
    ],
  });
  server.setServing(true);
  let draining = false;
  const probes: Probes = {
    startup: () => ({ ok: true }),
    live: () => ({ ok: true }),
    ready() {
      const ring = rings.current();
      if (draining) return { ok: false, reason: 'the process is stopping' };
      if (ring === undefined) return { ok: false, reason: 'no ring is known yet' };
      const addresses = addressesOf(ring);
      return addresses.some((address) => pool.ready(address))
        ? { ok: true }
        : { ok: false, reason: `none of ${addresses.length} storage nodes is reachable` };
    },
  };
  const admin = await startAdminServer({ listen: config.admin, metrics, probes, log });
  log.info({ id, address: server.address, admin: admin.address }, 'router started');

  return async (cause) => {
    log.info({ cause }, 'stopping');
    draining = true;
    server.setServing(false);
    await Promise.race([sessions.drain(), new Promise<void>((resolve) => clock.after(config.drain, resolve))]);
    await server.drain(1_000);
    await gossip.stop();
    transport.close();
    router.close();
    pool.close();
    channels.close();
    await admin.close();
    await tracing?.close();
    log.info({ cause }, 'stopped');
  };
}

function peerViews(
  ring: Ring | undefined,
  pool: { ready(address: string): boolean; inFlight(address: string): number },
) {
  const present = ring?.nodes.filter(({ status }) => status !== 'LEFT') ?? [];
  return present.map(({ id, address }) => {
    return { nodeId: id, reachable: pool.ready(address), inFlight: pool.inFlight(address) };
  });
}
