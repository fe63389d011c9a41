/**
 * Gossip over gRPC: the calling side, and the service to register with a server.
 *
 * I1 At most CLIENTS_MAX connections are kept, the ones used last. A call that fails closes its connection, as does one on
 *    a connection of CONNECTION_AGE_MS, so that the next one asks the name service again: seeds are names whose addresses
 *    change, and who listened at one may go on listening there.
 */
import { Metadata, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import {
  type GossipRequest,
  type GossipResponse,
  MembershipServiceClient,
  MembershipServiceService,
} from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { GossipRefused } from '../../core/membership/exchange.ts';
import type { Clock, Log } from '../../core/ports.ts';
import { openChannel } from '../channel.ts';
import { createClock } from '../clock.ts';
import { asFailure, toServiceError } from '../errors.ts';
import type { GrpcService } from '../grpc-server.ts';
import type { Gossip, GossipTransport } from './gossip.ts';

/** A round goes to a random peer, so more would mostly be idle sockets; a new connection costs about 2 ms. */
const CLIENTS_MAX = 32;
/** All of them made anew so often take a thousandth of a processor. */
const CONNECTION_AGE_MS = 60_000;

export interface GrpcGossipTransport extends GossipTransport {
  close(): void;
}

interface Connection {
  readonly client: MembershipServiceClient;
  readonly openedAt: number;
}

export function createGrpcGossipTransport(clock: Pick<Clock, 'now'> = createClock()): GrpcGossipTransport {
  /** By address, the one used last at the end. */
  const connections = new Map<string, Connection>();

  function drop(address: string, connection: Connection): void {
    if (connections.get(address) === connection) connections.delete(address);
    connection.client.close();
  }

  function open(address: string): Connection {
    return { client: openChannel(MembershipServiceClient, address), openedAt: clock.now() };
  }

  function connectionTo(address: string): Connection {
    const connection = connections.get(address) ?? open(address);
    connections.delete(address);
    connections.set(address, connection);
    for (const [oldest, idle] of connections) {
      if (connections.size <= CLIENTS_MAX) break;
      drop(oldest, idle);
    }
    return connection;
  }

  return {
    exchange(address, request, timeoutMs) {
      const connection = connectionTo(address);
      return new Promise((resolve, reject) => {
        const deadline = Date.now() + timeoutMs;
        connection.client.gossip(request, new Metadata(), { deadline }, (error, response) => {
          if (error !== null || clock.now() - connection.openedAt > CONNECTION_AGE_MS) drop(address, connection);
          if (error === null) return resolve(response);
          const said = `${status[error.code] ?? error.code}: ${error.details}`;
          reject(
            error.code === status.FAILED_PRECONDITION
              ? new GossipRefused('FAILED_PRECONDITION', error.details)
              : new Error(said),
          );
        });
      });
    },
    close() {
      for (const [address, connection] of connections) drop(address, connection);
    },
  };
}

/** MembershipService, answered by `gossip`. */
export function membershipService(gossip: Pick<Gossip, 'handle'>, log: Log): GrpcService {
  return {
    definition: MembershipServiceService,
    implementation: {
      gossip(call: ServerUnaryCall<GossipRequest, GossipResponse>, callback: sendUnaryData<GossipResponse>): void {
        try {
          callback(null, gossip.handle(call.request, call.getPeer()));
        } catch (error) {
          if (error instanceof GossipRefused) callback({ code: status[error.code], details: error.message });
          else callback(toServiceError(asFailure(error, log)));
        }
      },
    },
  };
}
