/** Calls of AdminService, each on a channel of its own, because they are rare and one that hangs must hold up nothing else; or on channels that are kept. */
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import { AdminServiceClient } from '../../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../core/failure.ts';
import { openChannel } from '../channel.ts';
import { fromServiceError } from '../errors.ts';
import { connectTimeoutMs, whenReady } from '../when-ready.ts';

/** A change of a namespace waits for every node twice, each for up to two calls of gossip. */
export const namespaceTimeoutMs = 15_000;
export const statusTimeoutMs = 3_000;

export type AdminCall<T> = (
  client: AdminServiceClient,
  metadata: Metadata,
  options: { readonly deadline: number },
  done: (error: ServiceError | null, response: T) => void,
) => unknown;

/** Rejects with a Failure: NOT_ENOUGH_REPLICAS, not applied, where nobody is there. */
export function callAdmin<T>(address: string, timeoutMs: number, call: AdminCall<T>): Promise<T> {
  const client = openChannel(AdminServiceClient, address);
  return callOn(client, address, timeoutMs, call).finally(() => client.close());
}

/** Channels that outlive a call, for whoever asks the same processes again and again: to open one costs more than the call. */
export interface AdminChannels {
  /** The same as `callAdmin`. A channel whose call failed is closed, so that the next one asks the name service again. */
  call<T>(address: string, timeoutMs: number, call: AdminCall<T>): Promise<T>;
  /** Closes the one to this address, so that the next call asks the name service again. */
  drop(address: string): void;
  /** Closes those to others. */
  keepOnly(addresses: ReadonlySet<string>): void;
  close(): void;
}

export function keepAdminChannels(): AdminChannels {
  const kept = new Map<string, AdminServiceClient>();

  function drop(address: string, client: AdminServiceClient | undefined): void {
    if (kept.get(address) === client) kept.delete(address);
    client?.close();
  }

  return {
    async call(address, timeoutMs, call) {
      const client = kept.get(address) ?? openChannel(AdminServiceClient, address);
      kept.set(address, client);
      try {
        return await callOn(client, address, timeoutMs, call);
      } catch (error) {
        drop(address, client);
        throw error;
      }
    },
    drop: (address) => drop(address, kept.get(address)),
    keepOnly(addresses) {
      for (const [address, client] of kept) if (!addresses.has(address)) drop(address, client);
    },
    close() {
      for (const [address, client] of kept) drop(address, client);
    },
  };
}

function callOn<T>(client: AdminServiceClient, address: string, timeoutMs: number, call: AdminCall<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    whenReady(client, Date.now() + Math.min(connectTimeoutMs, timeoutMs), (unready) => {
      if (unready) return reject(new Failure('NOT_ENOUGH_REPLICAS', `no answer from ${address}`));
      try {
        call(client, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
          if (error === null) resolve(response);
          else reject(fromServiceError(error, address));
        });
      } catch (error) {
        reject(error); // thrown from here it would end the process
      }
    });
  });
}
