/**
 * Channels to other processes. Closing one ends the connections that it is still making, too, which gRPC leaves to the system:
 * where an address swallows packets, each of them would keep its process alive for two minutes, and have a socket of it. Not so
 * where a name has several addresses, and a connection to another of them is there: what is dialled beside it stays so long.
 *
 * gRPC gives what a resolver says of an address to net.connect as it is, so a signal that ends the connection can go with it.
 * The resolver of names is wrapped for that.
 */
import {
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  connectivityState,
  credentials,
  experimental,
} from '@grpc/grpc-js';

/** What all channels have in common. */
export const channelOptions = {
  // A pool of its own: the shared one would keep the backoff of a connection that is given up.
  'grpc.use_local_subchannel_pool': 1,
  // A pod that is made anew has its old name and a new address; gRPC would ask for that every 30 s only.
  'grpc.dns_min_time_between_resolutions_ms': 1_000,
  // Else each name that is asked for is asked for once more, as a TXT record that nobody has.
  'grpc.service_config_disable_resolution': 1,
} satisfies ClientOptions;

const scheme = 'cartwheel';
const dialsOption = 'cartwheel.dials';

type ClientOf<C extends Client> = new (address: string, credentials: ChannelCredentials, options: ClientOptions) => C;

/** A client of the service at HOST:PORT. */
export function openChannel<C extends Client>(
  Service: ClientOf<C>,
  address: string,
  options: ClientOptions = channelOptions,
): C {
  const dials = createDials();
  const client = new Service(`${scheme}:${address}`, credentials.createInsecure(), {
    ...options,
    [dialsOption]: dials,
  });
  const close = client.close.bind(client);
  let isClosed = false;
  client.close = () => {
    if (isClosed) return;
    isClosed = true;
    const isConnected = client.getChannel().getConnectivityState(false) === connectivityState.READY;
    close();
    // What a connection has still to say, gRPC says before it ends it.
    if (!isConnected) dials.end();
  };
  return client;
}

class Names implements experimental.Resolver {
  readonly #names: experimental.Resolver;

  constructor({ path }: experimental.GrpcUri, listener: experimental.ResolverListener, options: ClientOptions) {
    const dials: Dials = options[dialsOption];
    this.#names = experimental.createResolver(
      { scheme: 'dns', path },
      (found, ...rest) => listener(found.ok ? { ...found, value: found.value.map(endedBy(dials)) } : found, ...rest),
      options,
    );
  }

  static getDefaultAuthority({ path }: experimental.GrpcUri): string {
    return path;
  }

  updateResolution(): void {
    this.#names.updateResolution();
  }

  destroy(): void {
    this.#names.destroy();
  }
}

function endedBy(dials: Dials) {
  return ({ addresses }: experimental.Endpoint): experimental.Endpoint => ({
    addresses: addresses.map((address) => {
      const to = experimental.subchannelAddressToString(address);
      return {
        ...address,
        // Read for each connection.
        get signal() {
          return dials.signalTo(to);
        },
      };
    }),
  });
}

/** The connections that a channel is making. */
interface Dials {
  /**
   * Of the next one to the address; the one before has come to an end, but where gRPC gave it up for another address of the name: that
   * stays until the system ends it.
   */
  signalTo(address: string): AbortSignal;
  end(): void;
}

function createDials(): Dials {
  /** The last one to each address: with one signal for all, what listens to it would keep all their sockets. */
  const last = new Map<string, AbortController>();
  let isEnded = false;
  return {
    signalTo(address) {
      const dial = new AbortController();
      if (isEnded) {
        // gRPC dials once more after the close, where it waited to. With a signal that is aborted already net.connect ends
        // the socket first and then connects it all the same, and nobody would ever close that connection.
        setImmediate(() => dial.abort());
      } else last.set(address, dial);
      return dial.signal;
    },
    end() {
      isEnded = true;
      for (const dial of last.values()) dial.abort();
      last.clear();
    },
  };
}

experimental.registerResolver(scheme, Names);
