/**
 * A membership process: a seed that gossips, the claimant if it is told to be, and its status. No operation
 * on data passes through it, and the data plane goes on without it.
 */
import { ChangeEnd, type ClaimantStatus, ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Membership } from '../core/membership/membership.ts';
import { formatVersion, type Ring } from '../core/ring/ring.ts';
import { startAdminServer } from '../platform/admin-http.ts';
import { createClock } from '../platform/clock.ts';
import { addressForPeople } from '../platform/configuration.ts';
import { createGossip } from '../platform/gossip/gossip.ts';
import { createGrpcGossipTransport, membershipService } from '../platform/gossip/transport-grpc.ts';
import { refuseForeign } from '../platform/gossip/whose-memory.ts';
import { startGrpcServer } from '../platform/grpc-server.ts';
import { createLog } from '../platform/logging.ts';
import { createMetrics } from '../platform/metrics.ts';
import { createNamespaceAdmin } from '../platform/namespaces/namespace-admin.ts';
import type { Stop } from '../platform/process.ts';
import { createRandom } from '../platform/random.ts';
import { statusService } from '../platform/status-service.ts';
import { type Claimant, startClaiming } from './claiming.ts';
import type { MembershipConfig } from './config.ts';
import { openDirectory } from './directory.ts';

/** A gossip call takes milliseconds. */
const DRAIN_GRACE_MS = 1_000;

/** Resolves once it serves; rejects where the directory or an address cannot be used. */
export async function startMembership(config: MembershipConfig): Promise<Stop> {
  const log = createLog({ service: 'membership', level: config.logLevel });
  const metrics = createMetrics({ service: 'membership', node: addressForPeople(config.listen) });
  const clock = createClock();
  const random = createRandom();
  const directory = await openDirectory(config.data);
  const seeds = config.seeds.filter((seed) => seed !== config.listen);
  const remembered = directory.state.kept;
  await refuseForeign({ directory: config.data, remembered, seeds });
  const transport = createGrpcGossipTransport();
  let warned = false;
  /** A ring has been made by other settings; this process may only hear of it long after its start. */
  function warnOnce({ partitions, replicas }: Ring): void {
    // More partitions than the first ring had they have become by doubling.
    if (warned || (partitions >= config.partitions && replicas === config.replicas)) return;
    warned = true;
    log.warn({ partitions, replicas }, '--partitions and --replicas are for the first ring; there is one already');
  }
  const gossip = await createGossip({
    seeds,
    clock,
    random,
    transport,
    log,
    metrics,
    remembered,
    persist: directory.state.keep,
    onRing: warnOnce,
  });
  const claiming = await startClaiming(config, directory, { gossip, clock, random, log });
  metrics.gauge('cartwheel_ring_change_partitions_left', 'Partitions that are not yet as the goal wants them.', () => {
    return claiming.now()?.changes.status()?.partitionsLeft ?? 0;
  });
  metrics.gauge('cartwheel_claimant_active', '1 where this process issues rings.', () => (claiming.now() ? 1 : 0));
  const server = await startGrpcServer({
    listen: config.listen,
    log,
    metrics,
    services: [
      membershipService(gossip, log),
      statusService({
        kind: ProcessKind.MEMBERSHIP,
        id: '',
        address: config.listen,
        gossip,
        namespaces: createNamespaceAdmin(gossip),
        clock,
        log,
        claimant: () => claimantStatus(claiming.now(), gossip.state()),
        get changes() {
          return claiming.now()?.changes;
        },
      }),
    ],
  });
  server.setServing(true);
  const admin = await startAdminServer({
    listen: config.admin,
    metrics,
    log,
    // A seed without a ring serves all the same: it is how the ring comes to be.
    probes: { startup: () => ({ ok: true }), ready: () => ({ ok: true }), live: () => ({ ok: true }) },
  });
  const { ring } = gossip.state();
  log.info(
    { address: server.address, admin: admin.address, ring: ring && formatVersion(ring.version) },
    'membership serves',
  );

  return async (cause) => {
    log.info({ cause }, 'membership stops');
    await claiming.stop();
    await gossip.stop();
    await server.drain(DRAIN_GRACE_MS);
    transport.close();
    await admin.close();
    await directory.close();
  };
}

function claimantStatus(claimant: Claimant | undefined, { ring }: Membership): ClaimantStatus {
  if (claimant === undefined) {
    const joined = ring?.nodes.length ?? 0;
    return { active: false, expectedNodes: 0, joinedNodes: joined, waitingFor: '', change: undefined, ended: [] };
  }
  const { expectedNodes, joinedNodes, waitingFor, ended } = claimant.claimLoop.state();
  return {
    ...{ active: true, expectedNodes, joinedNodes, waitingFor, change: claimant.changes.status() },
    ended: ended.map(({ id, end, by = '' }) => ({ planId: id, end: ChangeEnd[end], replacedBy: by })),
  };
}
