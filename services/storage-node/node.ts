/** What the functions of a storage node share: its ports and its view of the ring. No behaviour. */
import type { Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { RecordCodec } from '../core/codec/record.ts';
import type { Deadlines } from '../core/deadlines.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Random } from '../core/ports.ts';
import type { HedgeBudget } from '../core/quorum/hedge-budget.ts';
import type { Peers, Replica } from '../core/quorum/peers.ts';
import type { Validation } from '../core/requests/validate.ts';
import { partitionOfStorageKey } from '../core/ring/partition.ts';
import { preferenceList } from '../core/ring/preference-list.ts';
import type { Ring, RingNode } from '../core/ring/ring.ts';
import type { CoordinatorMetrics } from './coordinator-metrics.ts';
import type { RecordStore } from './record-store.ts';

export interface StorageNode {
  /** Random, kept on the node's disk. */
  readonly id: string;
  /** Of the storage engine, see core/versioning/birth.ts. */
  lineage(): bigint;
  /** Undefined until the first ring is known. */
  ring(): Ring | undefined;
  readonly store: RecordStore;
  /** This node's own replica. */
  readonly replica: Replica;
  readonly peers: Peers;
  readonly records: RecordCodec;
  readonly validation: Validation;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly hedges: HedgeBudget;
  readonly random: Random;
  readonly metrics: CoordinatorMetrics;
}

/** Where a key lives, as this node's ring says. */
export interface Place {
  readonly ring: Ring;
  readonly partition: number;
  /** The first N of the preference list, in order. */
  readonly homes: readonly RingNode[];
}

export function placeOf(ring: Ring, storageKey: Uint8Array): Place {
  const partition = partitionOfStorageKey(storageKey, ring.partitions);
  const indexes = preferenceList(ring, partition).slice(0, ring.replicas);
  return { ring, partition, homes: indexes.map((index) => ring.nodes[index] as RingNode) };
}

/** This node first, then the homes that answer, in preference order. */
export function reachableHomes(node: Pick<StorageNode, 'id' | 'peers'>, { homes }: Place): readonly RingNode[] {
  const others = homes.filter(({ id }) => id !== node.id && node.peers.reachable(id));
  const self = homes.find(({ id }) => id === node.id);
  return self === undefined ? others : [self, ...others];
}

export function replicaOn(node: Pick<StorageNode, 'id' | 'peers' | 'replica'>, nodeId: string): Replica {
  return nodeId === node.id ? node.replica : node.peers.replica(nodeId);
}

export function notEnoughReplicas(place: Place, wanted: number, reached: number, receipt?: Receipt): Failure {
  const message = `${wanted} of ${place.homes.length} replicas wanted, ${reached} reached`;
  if (receipt === undefined) return new Failure('NOT_ENOUGH_REPLICAS', message, { retryAfterMs: 500 });
  return new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN', receipt });
}
