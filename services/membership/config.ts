/** The settings of a membership process, resolved once from the command line and the environment. */

import { NODES_MAX, PARTITIONS_MAX, REPLICAS_MAX } from '../core/ring/ring.ts';
import {
  address,
  addresses,
  type Configuration,
  ConfigurationProblems,
  choice,
  integer,
  loadConfiguration,
  text,
  toggle,
} from '../platform/configuration.ts';
import { LOG_LEVELS } from '../platform/logging.ts';

const schema = {
  name: 'membership',
  about: 'A seed for gossip and, as the claimant, the one process that issues rings.',
  fields: {
    listen: address({ about: 'gRPC: gossip, status', default: '127.0.0.1:7441' }),
    admin: address({ about: 'HTTP: /livez /readyz /startupz /metrics', default: '127.0.0.1:7541' }),
    data: text({ about: 'data directory, made where there is none', example: '/var/lib/cartwheel', required: true }),
    seeds: addresses({ about: 'other membership processes' }),
    claimant: choice(['true', 'false', 'elected'], {
      about:
        'whether this one issues rings; exactly one membership process of a cluster may, others are seeds only. ' +
        'elected: whichever of them holds the Lease of --kubernetes-name',
      default: 'true',
    }),
    kubernetesName: text({
      about:
        'of --claimant elected: begins the names of the Lease NAME-membership and the ConfigMap NAME-goal and the ServiceAccount NAME-scale',
      example: 'cartwheel',
    }),
    storageAddress: text({
      about: 'of --claimant elected: addresses of storage pods, with {} for the number of each',
      example: 'cartwheel-storage-{}.cartwheel-storage.default.svc:7411',
    }),
    joinAutomatically: toggle({
      about: 'new storage pods join the ring, as far as the ServiceAccount NAME-scale wants them',
    }),
    replaceAutomatically: toggle({
      about:
        'a storage pod that comes back without its volume takes the place of the node that it was, if all others answer',
    }),
    expectedNodes: integer({
      about: 'storage nodes that the first ring waits for',
      default: '3',
      min: 1,
      max: NODES_MAX,
    }),
    partitions: integer({
      about: 'of the first ring: Q, a power of two',
      default: '64',
      example: '64',
      min: 1,
      max: PARTITIONS_MAX,
    }),
    replicas: integer({ about: 'of the first ring: N', default: '3', min: 1, max: REPLICAS_MAX }),
    logLevel: choice(LOG_LEVELS, { about: 'least severe lines to log', default: 'info' }),
  },
} as const;

export type MembershipConfig = Configuration<typeof schema.fields>;

/** Throws ConfigurationProblems or HelpRequested. */
export function readConfig(argv: readonly string[], environment: NodeJS.ProcessEnv): MembershipConfig {
  const config = loadConfiguration(schema, argv, environment);
  const problems: string[] = [];
  if ((config.partitions & (config.partitions - 1)) !== 0) {
    problems.push(`--partitions: wanted a power of two, saw ${config.partitions}; for example --partitions 64`);
  }
  if (config.replicas > config.expectedNodes) {
    problems.push(
      `--replicas: ${config.replicas} replicas need as many nodes, and --expected-nodes is ${config.expectedNodes}; ` +
        `for example --expected-nodes ${config.replicas}`,
    );
  }
  if (config.claimant === 'elected' && config.kubernetesName === undefined) {
    problems.push('--kubernetes-name: missing, and --claimant is elected; for example --kubernetes-name cartwheel');
  }
  const { storageAddress } = config;
  if (storageAddress !== undefined && storageAddress.split('{}').length !== 2) {
    const { example } = schema.fields.storageAddress;
    problems.push(`--storage-address: wanted {} once, saw ${JSON.stringify(storageAddress)}; for example ${example}`);
  }
  const knowsPods = config.claimant === 'elected' && storageAddress !== undefined;
  for (const flag of ['join', 'replace'] as const) {
    if (!config[`${flag}Automatically`] || knowsPods) continue;
    problems.push(`--${flag}-automatically: it needs --claimant elected and --storage-address`);
  }
  if (problems.length > 0) throw new ConfigurationProblems(schema.name, problems);
  return config;
}
