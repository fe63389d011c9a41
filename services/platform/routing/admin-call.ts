/** One call of AdminService, on a channel of its own: they are rare, and one that hangs must hold up nothing else. */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { AdminServiceClient } from '../../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../core/failure.ts';
import { channelOptions } from '../channel-options.ts';
import { fromServiceError } from '../errors.ts';

/** A change of a namespace waits for every node twice, each for up to two calls of gossip. */
export const namespaceTimeoutMs = 15_000;
export const statusTimeoutMs = 3_000;
/** Nothing was sent by then. */
const connectTimeoutMs = 3_000;

export type AdminCall<T> = (
  client: AdminServiceClient,
  metadata: Metadata,
  options: { readonly deadline: number },
  done: (error: ServiceError | null, response: T) => void,
) => unknown;

/** Rejects with a Failure: NOT_ENOUGH_REPLICAS, not applied, where nobody is there. */
export function callAdmin<T>(address: string, timeoutMs: number, call: AdminCall<T>): Promise<T> {
  const client = new AdminServiceClient(address, credentials.createInsecure(), channelOptions);
  const answered = new Promise<T>((resolve, reject) => {
    client.waitForReady(Date.now() + Math.min(connectTimeoutMs, timeoutMs), (unready) => {
      if (unready) return reject(new Failure('NOT_ENOUGH_REPLICAS', `no answer from ${address}`));
      call(client, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        if (error === null) resolve(response);
        else reject(fromServiceError(error));
      });
    });
  });
  return answered.finally(() => client.close());
}
