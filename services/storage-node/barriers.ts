/**
 * What a node does for a barrier (core/stability/barrier.ts): it is in an era, says in which partitions it keeps nothing
 * that belongs elsewhere, and watches whether something comes.
 *
 * I1 The era never goes back, over restarts neither. Before this node says that it has gone over to one, that is on its
 *    disk, and with it all that was dropped before: nothing dropped comes back with a crash.
 * I2 A record is refused, or taken, by the era that is this node's in the very turn in which it is changed
 *    (local-replica.ts).
 * I3 What was known in an earlier era this node tells nobody any more, and hears from whoever refuses it in which era
 *    they are. So a node that joins later, and was asked nothing, is not told it.
 * I4 A node that has left the ring is asked nothing any more, and is told of no later era: then it is left behind, and
 *    hands nothing of what it keeps to anybody (local-replica.ts).
 * I5 A watch begins before it is looked, and is not kept over a restart: who asks the second question then hears no.
 */
import { ByteReader, ByteWriter } from '../core/codec/bytes.ts';
import { Failure } from '../core/failure.ts';
import type { Metrics, StorageEngine } from '../core/ports.ts';
import { EraMoved, LeftBehind, type Peers, type Replica } from '../core/quorum/peers.ts';
import { partitionOfStorageKey, rangeOfPartition } from '../core/ring/partition.ts';
import { epochOf, isHome, nodeById, type Ring } from '../core/ring/ring.ts';
import type { Armed, Crossed } from '../core/stability/barrier.ts';
import { eraOf, firstEra } from '../core/stability/era.ts';
import type { RecordStore } from './record-store.ts';

/** Barriers that are watched for at a time; with more the oldest fails. */
const watchesMax = 64;
const eraKey = new TextEncoder().encode('era');
const none: readonly number[] = Object.freeze([]);

export interface Barriers {
  readonly era: number;
  /** See I4; so it stays. */
  readonly isLeftBehind: boolean;
  /** Takes up the era of the last run. Before it resolves nothing may be changed. */
  open(): Promise<void>;
  /** Goes over to this era at once, where it is later; resolves when that is on the disk. */
  follow(era: number): Promise<void>;
  /** A record of this node has changed, or come, or gone. */
  changed(key: Uint8Array): void;
  /** `epoch`: of the ring by which is asked. */
  arm(barrier: bigint, epoch: number, partitions: readonly number[]): Promise<Armed>;
  cross(barrier: bigint, era: number): Promise<Crossed>;
  /** Another node has said so (I4). */
  leaveBehind(): void;
}

export interface BarriersOptions {
  /** Of this node. */
  readonly id: string;
  readonly engine: StorageEngine;
  readonly metrics: Metrics;
  ring(): Ring | undefined;
  store(): Pick<RecordStore, 'flush' | 'scan'>;
  /** Once. */
  onLeftBehind?(): void;
}

interface Watched {
  readonly epoch: number;
  /** Q. */
  readonly partitions: number;
  /** Partitions that this node is a home of: what is kept there belongs here. */
  readonly own: ReadonlySet<number>;
  /** Others, in which nothing is kept, as far as is known. */
  readonly clean: Set<number>;
}

export function createBarriers({ id, engine, metrics, ring, store, onLeftBehind }: BarriersOptions): Barriers {
  /** By barrier, the oldest first. */
  const watches = new Map<bigint, Watched>();
  let era = firstEra;
  let isLeftBehind = false;
  let kept: Promise<void> = Promise.resolve();
  metrics.gauge('cartwheel_era', 'Barriers that this node has gone over, as a number that grows', () => era);

  function follow(next: number): Promise<void> {
    if (next <= era) return kept;
    era = next;
    const writer = new ByteWriter(new Uint8Array(8));
    writer.u64(BigInt(era));
    kept = engine.write([{ space: 'meta', key: eraKey, value: writer.bytes }], true).catch((error: unknown) => {
      // The next write of a record fails too, and ends the process.
      throw new Failure('STORAGE_FAILED', `the era could not be written: ${String(error)}`);
    });
    kept.catch(() => {});
    return kept;
  }

  function isKnown(epoch: number): boolean {
    const known = ring();
    return known !== undefined && epochOf(known.version) === epoch;
  }

  return {
    get era() {
      return era;
    },

    get isLeftBehind() {
      return isLeftBehind;
    },

    leaveBehind() {
      if (isLeftBehind) return;
      isLeftBehind = true;
      onLeftBehind?.();
    },

    async open() {
      const [stored] = await engine.getMany('meta', [eraKey]);
      if (stored !== undefined) era = eraOf(new ByteReader(stored).u64()) ?? firstEra;
    },

    follow,

    changed(key) {
      for (const { clean, partitions } of watches.values()) clean.delete(partitionOfStorageKey(key, partitions));
    },

    async arm(barrier, epoch, wanted) {
      const known = ring();
      const self = known && nodeById(known, id);
      // What it has agreed on may be gone from the disk since (StorageEngine.isIncomplete).
      if (known === undefined || self === undefined || !isKnown(epoch) || engine.isIncomplete)
        return { era, partitions: none };
      const asked = [...new Set(wanted)].filter((partition) => partition < known.partitions);
      const own = new Set(asked.filter((partition) => isHome(known, partition, self.index)));
      const clean = new Set(asked.filter((partition) => !own.has(partition)));
      const watched = { epoch, partitions: known.partitions, own, clean };
      watches.set(barrier, watched);
      for (const oldest of [...watches.keys()].slice(0, -watchesMax)) watches.delete(oldest);
      await store().flush();
      for (const partition of [...clean]) {
        const { start, end } = rangeOfPartition(partition, known.partitions);
        const { entries } = await store().scan(start, end, 1);
        if (entries.length > 0) clean.delete(partition);
      }
      return { era, partitions: isKnown(epoch) ? [...own, ...clean] : none };
    },

    async cross(barrier, next) {
      const watched = watches.get(barrier);
      watches.delete(barrier);
      const written = follow(next);
      const isWatched = watched !== undefined && isKnown(watched.epoch);
      const answer = { era, partitions: isWatched ? [...watched.own, ...watched.clean] : none };
      await written;
      return answer;
    },
  };
}

/** I3. */
export function keepingEra(
  peers: Peers,
  self: string,
  barriers: Pick<Barriers, 'era' | 'follow' | 'leaveBehind'>,
): Peers {
  const kept = new WeakMap<Replica, Replica>();

  function replicaOn(nodeId: string): Replica {
    const replica = peers.replica(nodeId);
    const known = kept.get(replica);
    if (known !== undefined) return known;
    const keeping: Replica = {
      ...replica,
      async write(message) {
        if (message.era < barriers.era) throw new EraMoved(self, barriers.era);
        try {
          await replica.write(message);
        } catch (error) {
          if (error instanceof EraMoved) void barriers.follow(error.era);
          if (error instanceof LeftBehind) barriers.leaveBehind();
          throw error;
        }
      },
    };
    kept.set(replica, keeping);
    return keeping;
  }

  return {
    reachable: (nodeId) => peers.reachable(nodeId),
    connected: (nodeId) => peers.connected(nodeId),
    onReachable: (listener) => peers.onReachable(listener),
    replica: replicaOn,
  };
}
