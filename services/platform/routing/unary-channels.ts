/**
 * Channels for the calls that are no operations of a session (ListKeys, Explain, WatchRing), one an address. One that does
 * not connect is closed, which fails the calls that wait on it; the next call dials anew.
 */
import { type ClientOptions, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  type ExplainRequest,
  type ExplainResponse,
  KeyValueServiceClient,
  type ListKeysRequest,
  type ListKeysResponse,
} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock } from '../../core/ports.ts';
import { channelOptions, openChannel } from '../channel.ts';
import { ERROR_TRAILER, fromServiceError, servesNoKeys } from '../errors.ts';
import { connectTimeoutMs, whenReady } from '../when-ready.ts';

export interface UnaryChannels {
  channel(address: string): KeyValueServiceClient;
  explain(address: string, request: ExplainRequest, timeoutMs: number): Promise<ExplainResponse>;
  /** Throws the Failure that ended the listing. */
  listKeys(address: string, request: ListKeysRequest): AsyncGenerator<ListKeysResponse>;
  /** Closes the channels to all other addresses. */
  keep(addresses: readonly string[]): void;
  close(): void;
}

const options: ClientOptions = {
  ...channelOptions,
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_channelz': 0,
};

export function createUnaryChannels(clock: Pick<Clock, 'wallNow'>): UnaryChannels {
  const channels = new Map<string, KeyValueServiceClient>();
  const connecting = new Set<KeyValueServiceClient>();
  let closed = false;

  function channel(address: string): KeyValueServiceClient {
    if (closed) throw new Failure('DRAINING', 'the client is closed');
    let known = channels.get(address);
    if (known === undefined) {
      known = openChannel(KeyValueServiceClient, address, options);
      channels.set(address, known);
    }
    watchConnecting(address, known);
    return known;
  }

  function watchConnecting(address: string, known: KeyValueServiceClient): void {
    if (connecting.has(known)) return;
    connecting.add(known);
    whenReady(known, clock.wallNow() + connectTimeoutMs, (unready) => {
      connecting.delete(known);
      if (unready !== undefined && channels.get(address) === known) drop(address, known);
    });
  }

  function drop(address: string, known: KeyValueServiceClient): void {
    channels.delete(address);
    known.close();
  }

  function keep(addresses: readonly string[]): void {
    for (const [address, known] of [...channels]) if (!addresses.includes(address)) drop(address, known);
  }

  return {
    channel,
    keep,
    close() {
      closed = true;
      keep([]);
    },

    explain(address, request, timeoutMs) {
      return new Promise((resolve, reject) => {
        const deadline = clock.wallNow() + timeoutMs;
        channel(address).explain(request, new Metadata(), { deadline }, (error, response) => {
          if (error) reject(failureOf(address, error));
          else resolve(response);
        });
      });
    },

    async *listKeys(address, request) {
      const call = channel(address).listKeys(request);
      try {
        for await (const page of call) yield page as ListKeysResponse;
      } catch (error) {
        throw failureOf(address, error as ServiceError);
      } finally {
        call.cancel();
      }
    },
  };
}

function failureOf(address: string, error: ServiceError): Failure {
  const isStranger = error.code === status.UNIMPLEMENTED && error.metadata?.get(ERROR_TRAILER).length === 0;
  return isStranger
    ? new Failure('NOT_ENOUGH_REPLICAS', `no answer from ${address}: ${servesNoKeys}`)
    : fromServiceError(error, address);
}
