/**
 * What `cartwheel dev` runs, as values: the processes, their ports, directories and arguments. Starts nothing.
 *
 *   base            router
 *   base + 11 …     storage nodes, up to 20
 *   base + 41 …     membership, up to 10
 *   port + 100      the admin HTTP of each
 *
 * I1 Only a storage node's command line contains `services/storage-node`.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the data on the disk was made for: it can only be opened again with the same. */
export interface DevLayout {
  /** Storage nodes that the first ring was made of. */
  readonly nodes: number;
  /** The numbers of those there are now, in order: storage-1, storage-2, …. */
  readonly storage: readonly number[];
  readonly zones: number;
  readonly basePort: number;
  /** Q, a power of two. */
  readonly partitions: number;
  /** N. */
  readonly replicas: number;
  /** Membership processes: the first is the claimant, the others are seeds. */
  readonly membership: number;
}

export const storageNodesMax = 20;
export const membershipMax = 10;
const claimantOffset = 41;
/** From the base port on. */
export const devPorts = 151;
export const basePortMax = 65_536 - devPorts;

export interface ProcessPlan {
  readonly name: string;
  readonly kind: 'router' | 'storage-node' | 'membership';
  readonly port: number;
  readonly adminPort: number;
  /** '' where a process has none. */
  readonly zone: string;
  readonly script: string;
  readonly arguments: readonly string[];
  readonly logFile: string;
}

export const loopback = '127.0.0.1';
const repository = fileURLToPath(new URL('../..', import.meta.url));

/** The processes in the order in which a table shows them: router, storage nodes, membership. */
export function processesOf(layout: DevLayout, dataDirectory: string): ProcessPlan[] {
  const routerPort = layout.basePort;
  const storagePorts = layout.storage.map((number) => layout.basePort + 10 + number);
  const membershipPorts = Array.from({ length: layout.membership }, (_, i) => layout.basePort + claimantOffset + i);
  const gossipPorts = [...membershipPorts, ...storagePorts];
  const plan = (
    name: string,
    kind: ProcessPlan['kind'],
    port: number,
    zone: string,
    specific: readonly string[],
  ): ProcessPlan => ({
    name,
    kind,
    port,
    adminPort: port + 100,
    zone,
    script: join(repository, 'services', kind, 'main.ts'),
    arguments: [
      ...['--listen', addressOf(port), '--admin', addressOf(port + 100)],
      ...[
        '--seeds',
        gossipPorts
          .filter((seed) => seed !== port)
          .map(addressOf)
          .join(','),
      ],
      ...specific,
    ],
    logFile: join(dataDirectory, 'logs', `${name}.log`),
  });
  return [
    plan('router', 'router', routerPort, '', []),
    ...layout.storage.map((number) => {
      const name = storageName(number);
      const zone = `zone-${((number - 1) % layout.zones) + 1}`;
      const data = ['--data', join(dataDirectory, name)];
      return plan(name, 'storage-node', layout.basePort + 10 + number, zone, [
        ...data,
        ...['--host', `host-${number}`, '--zone', zone],
      ]);
    }),
    ...membershipPorts.map((port, i) => {
      const name = `membership-${i + 1}`;
      return plan(name, 'membership', port, '', [
        ...['--data', join(dataDirectory, name), '--claimant', String(i === 0)],
        ...['--expected-nodes', String(layout.nodes)],
        ...['--partitions', String(layout.partitions), '--replicas', String(layout.replicas)],
      ]);
    }),
  ];
}

export function storageName(number: number): string {
  return `storage-${number}`;
}

/** The first numbers, in order. */
export function firstNumbers(nodes: number): number[] {
  return Array.from({ length: nodes }, (_, i) => i + 1);
}

/** The lowest numbers that are free, in order; fewer than `count` where there are not as many. */
export function freeNumbers({ storage }: DevLayout, count: number): number[] {
  return firstNumbers(storageNodesMax)
    .filter((number) => !storage.includes(number))
    .slice(0, count);
}

/** Where the claimant is in a cluster of `cartwheel dev` whose router is at this endpoint; undefined: not on this machine. */
export function claimantBeside(endpoint: string): string | undefined {
  const [, host, port] = /^(localhost|127\.0\.0\.1|\[::1\]):(\d+)$/.exec(endpoint) ?? [];
  return host === undefined || Number(port) > basePortMax ? undefined : addressOf(Number(port) + claimantOffset);
}

export function addressOf(port: number): string {
  return `${loopback}:${port}`;
}
