/** What the functions of a storage node share: its ports and its view of the ring. No behaviour. */
import type { Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Until } from '../core/cancellation.ts';
import type { RecordCodec } from '../core/codec/record.ts';
import type { Deadlines } from '../core/deadlines.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Random, StorageEngine, Tracing } from '../core/ports.ts';
import type { ExtraBudget } from '../core/quorum/extra-budget.ts';
import { EraMoved, type Peers, type Replica, type RingMoved } from '../core/quorum/peers.ts';
import { type Selection, selectReplicas } from '../core/quorum/sloppy.ts';
import type { Validation, ValidWrite } from '../core/requests/validate.ts';
import type { Fences } from '../core/ring/fences.ts';
import { partitionOfStorageKey } from '../core/ring/partition.ts';
import { preferenceList } from '../core/ring/preference-list.ts';
import type { Ring, RingNode } from '../core/ring/ring.ts';
import type { HotKeys } from '../platform/hot-keys.ts';
import type { Background } from './background.ts';
import type { Barriers } from './barriers.ts';
import type { CoordinatorMetrics } from './coordinator-metrics.ts';
import type { Digests } from './digests.ts';
import type { HintBook } from './hints.ts';
import type { Leftovers } from './leftovers.ts';
import type { LoserLedger } from './losers.ts';
import type { RecordStore } from './record-store.ts';
import type { RequestTable } from './request-table.ts';

export interface StorageNode {
  /** Random, kept on the node's disk. */
  readonly id: string;
  /** Of the storage engine, see core/versioning/birth.ts. */
  lineage(): bigint;
  /** Undefined until the first ring is known. */
  ring(): Ring | undefined;
  /** Asks a node that knows a newer ring for it. Resolves, whether it came or not. */
  learnRing(nodeId: string): Promise<void>;
  readonly fences: Fences;
  readonly leftovers: Leftovers;
  readonly barriers: Barriers;
  readonly engine: StorageEngine;
  readonly store: RecordStore;
  readonly hints: HintBook;
  readonly requests: RequestTable;
  readonly losers: LoserLedger;
  readonly digests: Digests;
  readonly background: Background;
  /** This node's own replica. */
  readonly replica: Replica;
  readonly peers: Peers;
  readonly records: RecordCodec;
  readonly validation: Validation;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly extra: ExtraBudget;
  readonly random: Random;
  readonly metrics: CoordinatorMetrics;
  /** Of the operations run here. */
  readonly hotKeys: HotKeys;
  /** Undefined: nothing is traced. */
  readonly tracing: Tracing | undefined;
}

/** How an operation was asked for. */
export interface Asked extends Until {
  /** Of the trace it is part of. */
  readonly traceparent?: string | undefined;
}

/** Where a key lives, as this node's ring says. */
export interface Place {
  readonly ring: Ring;
  readonly partition: number;
  /** Every node that may serve the key, in order. */
  readonly preference: readonly RingNode[];
  /** Their ids. */
  readonly ids: readonly string[];
  /** The first N of them. */
  readonly homes: readonly RingNode[];
  /** Those that get its writes beside them. */
  readonly pending: readonly RingNode[];
}

export function placeOf(ring: Ring, storageKey: Uint8Array): Place {
  let known = places.get(ring);
  if (known === undefined) {
    known = new Array(ring.partitions);
    places.set(ring, known);
  }
  const partition = partitionOfStorageKey(storageKey, ring.partitions);
  known[partition] ??= placeOfPartition(ring, partition);
  return known[partition];
}

/** By partition, as long as the ring is in use: an operation then does not name every node of the cluster. */
const places = new WeakMap<Ring, Place[]>();

function placeOfPartition(ring: Ring, partition: number): Place {
  const preference = preferenceList(ring, partition).map((index) => ring.nodes[index] as RingNode);
  const pending = ring.pending.get(partition)?.map((index) => ring.nodes[index] as RingNode) ?? noNodes;
  const ids = preference.map(({ id }) => id);
  return { ring, partition, preference, ids, homes: preference.slice(0, ring.replicas), pending };
}

const noNodes: readonly RingNode[] = [];

/** Whether the node keeps the partition's records for good, or while it takes it over or gives it up. */
export function isServedBy({ homes, pending }: Place, nodeId: string): boolean {
  return homes.some(({ id }) => id === nodeId) || pending.some(({ id }) => id === nodeId);
}

/** After `error` said that the place, or the era, is out of date: resolves when there is a newer one, or none came. */
export async function learnNewerRing(node: StorageNode, { ring }: Place, error: RingMoved): Promise<void> {
  if (error instanceof EraMoved) return; // followed already (barriers.ts)
  if (node.ring() !== ring) return;
  await node.learnRing(error.nodeId);
  if (node.ring() !== ring) return;
  await new Promise<void>((resolve) => {
    node.deadlines.set(node.clock.now() + askAgainMs, resolve);
  });
}

/** Who did not say it may be asked again then. */
const askAgainMs = 50;

export function homesOf(ring: Ring, partition: number): readonly RingNode[] {
  const first = partition * ring.replicas;
  return [...ring.owners.subarray(first, first + ring.replicas)].map((index) => ring.nodes[index] as RingNode);
}

/** Who runs a write of the key that this node coordinates: with those that are silent only where it needs them. */
export function selectWriters(
  { id: coordinator, peers }: Pick<StorageNode, 'id' | 'peers'>,
  { ring, ids }: Place,
  { strict, w }: Pick<ValidWrite, 'strict' | 'w'>,
): Selection {
  const select = (reachable: (id: string) => boolean) =>
    selectReplicas({ preference: ids, replicas: ring.replicas, coordinator, strict, reachable });
  const selection = select((id) => peers.reachable(id));
  return selection.chosen.length >= w ? selection : select((id) => peers.connected(id));
}

/** Those of the nodes that can be asked, this node first. */
export function reachableOf(node: Pick<StorageNode, 'id' | 'peers'>, nodes: readonly RingNode[]): readonly RingNode[] {
  const others = nodes.filter(({ id }) => id !== node.id && node.peers.reachable(id));
  const self = nodes.find(({ id }) => id === node.id);
  return self === undefined ? others : [self, ...others];
}

/** Whom to ask for a key, in order; beyond the homes in reach they are looked for when the first of them is asked for. */
export interface Readers {
  /** The one that is asked after `i` others; undefined where nobody is left. */
  at(i: number): RingNode | undefined;
  first(count: number): readonly RingNode[];
}

/** The homes, then who may stand in for one, then those of them that are silent. */
export function readersOf(
  node: Pick<StorageNode, 'id' | 'peers'>,
  { homes, preference }: Place,
  strict: boolean,
): Readers {
  const near = reachableOf(node, homes);
  let all: readonly RingNode[] | undefined;
  const everybody = () => {
    const others = (strict ? homes : preference).filter((one) => !near.includes(one));
    all ??= [...near, ...reachableOf(node, others), ...silentOf(node, others)];
    return all;
  };
  return {
    at: (i) => near[i] ?? everybody()[i],
    first: (count) => (count <= near.length ? near : everybody()).slice(0, count),
  };
}

/** Connected, and not trusted: the last to be asked. */
export function silentOf(
  { id, peers }: Pick<StorageNode, 'id' | 'peers'>,
  nodes: readonly RingNode[],
): readonly RingNode[] {
  return nodes.filter((node) => node.id !== id && !peers.reachable(node.id) && peers.connected(node.id));
}

export function replicaOn(node: Pick<StorageNode, 'id' | 'peers' | 'replica'>, nodeId: string): Replica {
  return nodeId === node.id ? node.replica : node.peers.replica(nodeId);
}

export function notEnoughReplicas(
  place: Place,
  wanted: number,
  reached: number,
  receipt?: Receipt,
  more?: string,
): Failure {
  const numbers = `${wanted} of ${place.homes.length} replicas wanted, ${reached} reached`;
  const message = more === undefined ? numbers : `${numbers}; ${more}`;
  if (receipt === undefined) return new Failure('NOT_ENOUGH_REPLICAS', message, { retryAfterMs: 500 });
  return new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN', receipt });
}

/** Milliseconds since 1970, whole and not negative: a broken wall clock must not break a record (it decides nothing). */
export function wallMs(clock: Pick<Clock, 'wallNow'>): number {
  return Math.max(0, Math.floor(clock.wallNow())) || 0;
}
