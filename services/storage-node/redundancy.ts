/** How many homes of its partitions a storage node can reach: what is left when more fail. */
import type { Metrics } from '../core/ports.ts';
import { isHome, nodeById, type Ring } from '../core/ring/ring.ts';
import type { StorageNode } from './node.ts';

export interface Redundancy {
  /** Partitions that the node is a home of. */
  readonly owned: number;
  /** Of them those with a home that it cannot reach. */
  readonly degraded: number;
  /** Of those the ones where it reaches no other home at all. */
  readonly alone: number;
}

export function redundancyOf(ring: Ring, id: string, reachable: (nodeId: string) => boolean): Redundancy {
  const self = nodeById(ring, id)?.index;
  const reached = ring.nodes.map((node) => node.id === id || reachable(node.id));
  let owned = 0;
  let degraded = 0;
  let alone = 0;
  for (let partition = 0; self !== undefined && partition < ring.partitions; partition++) {
    if (!isHome(ring, partition, self)) continue;
    const homes = ring.owners.slice(partition * ring.replicas, (partition + 1) * ring.replicas);
    const left = homes.filter((home) => reached[home]).length;
    owned++;
    if (left < ring.replicas) degraded++;
    if (left < ring.replicas && left === 1) alone++;
  }
  return { owned, degraded, alone };
}

const nothing: Redundancy = { owned: 0, degraded: 0, alone: 0 };

export function exposeRedundancy(node: Pick<StorageNode, 'id' | 'ring' | 'peers'>, metrics: Metrics): void {
  const now = () => {
    const ring = node.ring();
    return ring === undefined ? nothing : redundancyOf(ring, node.id, (nodeId) => node.peers.reachable(nodeId));
  };
  metrics.gauge('cartwheel_partitions_owned', 'Partitions that this node is a home of', () => now().owned);
  metrics.gauge(
    'cartwheel_partitions_degraded',
    'Partitions of this node with another home that it cannot reach',
    () => now().degraded,
  );
  metrics.gauge(
    'cartwheel_partitions_alone',
    'Partitions of this node without another home in reach',
    () => now().alone,
  );
}
