/** The settings of a router, resolved once from the command line and the environment. */
import {
  address,
  addresses,
  type Configuration,
  choice,
  duration,
  loadConfiguration,
} from '../platform/configuration.ts';
import { LOG_LEVELS } from '../platform/logging.ts';
import { tracingFields } from '../platform/tracing/settings.ts';

const schema = {
  name: 'router',
  about: 'Takes operations from any client, and sends each to a coordinator of its key.',
  fields: {
    listen: address({ about: 'gRPC: clients', default: '127.0.0.1:7400' }),
    admin: address({ about: 'HTTP: /livez /readyz /startupz /metrics', default: '127.0.0.1:7500' }),
    seeds: addresses({ about: 'membership processes or storage nodes to learn the ring from' }),
    'connection-age': duration({
      about: 'clients are asked to connect anew after so long, and so come to routers that are new; 0s: never',
      default: '10m',
    }),
    drain: duration({ about: 'time for operations in flight when it stops', default: '10s' }),
    ...tracingFields,
    'log-level': choice(LOG_LEVELS, { about: 'least severe lines to log', default: 'info' }),
  },
} as const;

export type RouterConfig = Configuration<typeof schema.fields>;

export function readConfig(argv: readonly string[], environment: NodeJS.ProcessEnv): RouterConfig {
  return loadConfiguration(schema, argv, environment);
}
