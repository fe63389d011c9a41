/** What the faults may touch. Each fault is one file that makes one kind of trouble, and ends it again. */

import type { Cluster, ClusterProcess } from '../../e2e/cluster.ts';
import type { SeededRandom } from '../../sim/random.ts';
import type { Disks } from '../disks.ts';
import type { Network, Place } from '../network.ts';
import type { SmallDisk } from '../small-disk.ts';

export interface World {
  readonly cluster: Cluster;
  /** HOST:PORT by which all reach the storage node. */
  addressOf(node: ClusterProcess): string;
  /** What the node of this id had on its disk is gone. */
  diskLost(nodeId: string): void;
  isLost(nodeId: string): boolean;
  readonly network: Network;
  readonly disks: Disks;
  readonly smallDisk: SmallDisk | string;
  /** Nodes, the router, membership and the clients, by name. */
  readonly places: readonly Place[];
  /** Waits, but not beyond the end of the faults. */
  pause(ms: number): Promise<void>;
  /** The run ends early: whatever a fault still waits for is not waited for. */
  readonly stop: AbortSignal;
  /** For the person who watches. */
  note(what: string): void;
  /** The disk of that node is in trouble until the function returned is called: that it ends for that is right. */
  mayFail(node: ClusterProcess): () => void;
}

export interface Fault {
  /** As the report has it. */
  readonly kind: string;
  /** Faults of processes and disks come one after the other; beside them those of the network, and changes of the ring. */
  readonly lane: 'processes' | 'network' | 'ring';
  /** It is struck at most so often in one run; undefined: again and again. */
  readonly mostPerRun?: number;
  /** Why it cannot be made here; undefined: it can. */
  obstacle?(world: World): string | undefined;
  /** Resolves when the trouble is over, also where the faults end meanwhile. */
  strike(world: World, random: SeededRandom): Promise<void>;
}

/** How long a process stays away, or a trouble lasts: often short. */
export function durationMs(random: SeededRandom, longMs = 5_000): number {
  return random.chance(0.5) ? random.between(100, 1_000) : random.between(1_000, longMs);
}

export const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
