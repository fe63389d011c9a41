/**
 * Gossip over gRPC: the calling side, and the service to register with a server.
 *
 * I1 At most CLIENTS_MAX connections are kept, the ones used last; a call that fails closes its connection,
 *    so that the next one asks the name service again (seeds are names whose addresses change).
 */
import { credentials, Metadata, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import {
  type GossipRequest,
  type GossipResponse,
  MembershipServiceClient,
  MembershipServiceService,
} from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { GossipRefused } from '../../core/membership/exchange.ts';
import type { Log } from '../../core/ports.ts';
import { channelOptions } from '../channel-options.ts';
import { asFailure, toServiceError } from '../errors.ts';
import type { GrpcService } from '../grpc-server.ts';
import type { Gossip, GossipTransport } from './gossip.ts';

/** A round goes to a random peer, so more would mostly be idle sockets; a new connection costs about 2 ms. */
const CLIENTS_MAX = 32;

export interface GrpcGossipTransport extends GossipTransport {
  close(): void;
}

export function createGrpcGossipTransport(): GrpcGossipTransport {
  /** By address, the one used last at the end. */
  const clients = new Map<string, MembershipServiceClient>();

  function drop(address: string, client: MembershipServiceClient): void {
    if (clients.get(address) === client) clients.delete(address);
    client.close();
  }

  function clientOf(address: string): MembershipServiceClient {
    const client =
      clients.get(address) ?? new MembershipServiceClient(address, credentials.createInsecure(), channelOptions);
    clients.delete(address);
    clients.set(address, client);
    for (const [oldest, idle] of clients) {
      if (clients.size <= CLIENTS_MAX) break;
      drop(oldest, idle);
    }
    return client;
  }

  return {
    exchange(address, request, timeoutMs) {
      const client = clientOf(address);
      return new Promise((resolve, reject) => {
        const deadline = Date.now() + timeoutMs;
        client.gossip(request, new Metadata(), { deadline }, (error, response) => {
          if (error === null) return resolve(response);
          drop(address, client);
          reject(new Error(`${status[error.code] ?? error.code}: ${error.details}`));
        });
      });
    },
    close() {
      for (const [address, client] of clients) drop(address, client);
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
          callback(null, gossip.handle(call.request));
        } catch (error) {
          if (error instanceof GossipRefused) callback({ code: status[error.code], details: error.message });
          else callback(toServiceError(asFailure(error, log)));
        }
      },
    },
  };
}
