/** The settings of a storage node, resolved once from the command line and the environment. */
import { readFileSync } from 'node:fs';
import { WEIGHT_MAX } from '../core/ring/ring.ts';
import {
  address,
  addresses,
  type Configuration,
  ConfigurationProblems,
  choice,
  duration,
  integer,
  isEveryAddress,
  loadConfiguration,
  text,
  toggle,
} from '../platform/configuration.ts';
import { LOG_LEVELS } from '../platform/logging.ts';
import { tracingFields } from '../platform/tracing/settings.ts';

const schema = {
  name: 'storage-node',
  about: 'Keeps replicas on its disk, and coordinates puts and gets of the keys it is a home of.',
  fields: {
    listen: address({ about: 'gRPC: clients, routers, other nodes', default: '127.0.0.1:7411' }),
    admin: address({ about: 'HTTP: /livez /readyz /startupz /metrics', default: '127.0.0.1:7511' }),
    advertise: address({
      about: 'where clients and other nodes reach --listen; the same where it is not set',
      example: 'node-1:7411',
    }),
    data: text({ about: 'data directory, made where there is none', example: '/var/lib/cartwheel', required: true }),
    seeds: addresses({ about: 'membership processes or other nodes to join by' }),
    host: text({ about: 'the physical host; no two homes of a key are on one', default: 'localhost' }),
    zone: text({ about: 'the rack, zone or datacentre; homes of a key are in different ones', default: 'default' }),
    weight: integer({
      about: 'its share of partitions, as against that of others: 2 for twice the disk, 1 to 100',
      default: '1',
      min: 1,
      max: WEIGHT_MAX,
    }),
    'zone-file': text({ about: 'a file with it, in place of --zone', example: '/run/cartwheel/zone' }),
    'cache-mib': integer({ about: 'MiB of records kept in memory, 0 to 65536', default: '64', min: 0, max: 65_536 }),
    // The most that the crash of one node loses of what was asked to be BUFFERED.
    'buffer-records': integer({
      about: 'records acknowledged from memory before they are on disk (BUFFERED), 1 to 1000000',
      default: '1000',
      min: 1,
      max: 1_000_000,
    }),
    'buffer-mib': integer({ about: 'MiB of them, 1 to 32', default: '4', min: 1, max: 32 }),
    // An index of so many has about 100 MB.
    'hints-max': integer({
      about: 'records kept for one node that is away; beyond, its partitions are marked for exchange',
      default: '1000000',
      min: 0,
      max: 100_000_000,
    }),
    'exchange-every': duration({
      about: 'each replica of a partition is compared with each other about so often',
      default: '10m',
    }),
    // A round of a million records of 1 KB is 12 KB/s.
    'verify-every': duration({
      about: 'all records are read and compared with what the node knows of them about so often; 0s: never',
      default: '24h',
    }),
    // A look reads all records, as verification does.
    'collect-after': duration({
      about: 'tombstones, expired values and what clocks do not need are let go about so much later; 0s: never',
      default: '24h',
    }),
    // What the rebuilding of a database takes is short beside it, so that even on a bad disk the node is there most of the time.
    'rebuild-every': duration({
      about:
        'where data files are damaged, the node opens its database anew, and so mends it, at most about so often; 0s: never',
      default: '10m',
    }),
    'background-target': duration({
      about:
        "background work backs off while the 99.9th percentile of clients' operations here is above this, or the event loop later than a fiftieth of it",
      default: '100ms',
    }),
    'background-operations': integer({
      about: 'records a second that background work may move at most, and a tenth of it at least, 10 to 1000000',
      default: '5000',
      min: 10,
      max: 1_000_000,
    }),
    'background-mib': integer({
      about: 'MiB a second that background work may move at most, 1 to 10240',
      default: '32',
      min: 1,
      max: 10_240,
    }),
    'losers-mib': integer({
      about: 'MiB of values kept that lost where the last writer wins, 0 to 65536',
      default: '256',
      min: 0,
      max: 65_536,
    }),
    // Each has about 60 bytes on the disk, and none in memory.
    'requests-max': integer({
      about: 'request ids remembered, so that a second attempt is no second write',
      default: '1000000',
      min: 1_000,
      max: 1_000_000_000,
    }),
    renew: toggle({ about: 'once its node has left the ring, the directory is emptied, and begins as another node' }),
    'catch-up': duration({
      about: 'after a start it is not ready before it has what others kept for it, or so long is over; 0s: at once',
      default: '10m',
    }),
    drain: duration({ about: 'time for operations in flight when it stops', default: '10s' }),
    ...tracingFields,
    'log-level': choice(LOG_LEVELS, { about: 'least severe lines to log', default: 'info' }),
  },
} as const;

export interface StorageNodeConfig extends Configuration<typeof schema.fields> {
  readonly advertise: string;
}

export function readConfig(argv: readonly string[], environment: NodeJS.ProcessEnv): StorageNodeConfig {
  const config = loadConfiguration(schema, argv, environment);
  const zone = config['zone-file'] === undefined ? config.zone : zoneIn(config['zone-file']);
  const advertise = config.advertise ?? config.listen;
  if (isEveryAddress(advertise)) {
    const given = config.advertise === undefined ? `missing, and --listen is ${advertise}` : `it is ${advertise}`;
    throw new ConfigurationProblems(schema.name, [
      `--advertise: ${given}: no address at which others could reach it; for example --advertise ${schema.fields.advertise.example}`,
    ]);
  }
  return { ...config, zone, advertise };
}

function zoneIn(file: string): string {
  try {
    const zone = readFileSync(file, 'utf8').trim();
    if (zone !== '') return zone;
  } catch (error) {
    throw new ConfigurationProblems(schema.name, [`--zone-file: ${(error as Error).message}`]);
  }
  throw new ConfigurationProblems(schema.name, [`--zone-file: wanted the name of a zone in ${file}, and it is empty`]);
}
