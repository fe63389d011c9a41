/** What gossips as a storage node does, in the process of a test: no data, and of its services only those a test gives it. */
import { createClock } from '../../services/platform/clock.ts';
import { createGossip, type Gossip } from '../../services/platform/gossip/gossip.ts';
import { createGrpcGossipTransport, membershipService } from '../../services/platform/gossip/transport-grpc.ts';
import { type GrpcService, startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { silentLog } from '../platform/recording-log.ts';
import { freePorts } from './ports.ts';

export interface FakeNode {
  readonly address: string;
  readonly gossip: Gossip;
  stop(): Promise<void>;
}

export interface FakeNodeOptions {
  readonly id: string;
  readonly seed: string;
  /** A free port of the loopback interface where it is not given. */
  readonly address?: string | undefined;
  /** Beside gossip. */
  readonly services?: (gossip: Gossip, address: string) => readonly GrpcService[];
}

export async function startFakeNode({ id, seed, services, ...options }: FakeNodeOptions): Promise<FakeNode> {
  const address = options.address ?? `127.0.0.1:${(await freePorts(1))[0]}`;
  const transport = createGrpcGossipTransport();
  const metrics = createMetrics({ service: 'test' });
  const gossip = await createGossip({
    self: { id, address, host: id, zone: `zone-${id}` },
    ...{ seeds: [seed], clock: createClock(), random: createRandom(), transport, log: silentLog, metrics },
  });
  const server = await startGrpcServer({
    listen: address,
    services: [membershipService(gossip, silentLog), ...(services?.(gossip, address) ?? [])],
    ...{ log: silentLog, metrics },
  });
  return {
    ...{ address, gossip },
    async stop() {
      await gossip.stop();
      transport.close();
      await server.drain(0);
    },
  };
}
