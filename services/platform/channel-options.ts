import type { ClientOptions } from '@grpc/grpc-js';

/** What all channels have in common. */
export const channelOptions = {
  // A pool of its own: the shared one would keep the backoff of a connection that is given up.
  'grpc.use_local_subchannel_pool': 1,
  // A pod that is made anew has its old name and a new address; gRPC would ask for that every 30 s only.
  'grpc.dns_min_time_between_resolutions_ms': 1_000,
  // Else each name that is asked for is asked for once more, as a TXT record that nobody has.
  'grpc.service_config_disable_resolution': 1,
} satisfies ClientOptions;
