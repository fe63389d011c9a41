/**
 * A node whose files are damaged opens its database anew by itself: it is then rebuilt from what can be read of it
 * (platform/rocksdb/scrub.ts), and what was lost is pulled from the other homes (refill.ts). Otherwise what nobody reads
 * would stay as it is until a compaction met it, and that ends the process whenever it happens, at several nodes at once
 * perhaps.
 *
 * Not in the open database: a record written anew does not take the damaged block away; the compaction that would has to
 * read it, and RocksDB refuses every write from then on.
 *
 * I1 Only while the others can do without this node: the ring does not change, every node of it is up and answers, and the
 *    other homes of its partitions answer reads of them. So one is rebuilt at a time, but for two that ask at one moment:
 *    then reads of what both are homes of wait for the third.
 * I2 About once in `everyMs` at most, so that a disk that turns bits all the time leaves the node in service in between.
 */
import { rangeOfPartition } from '../core/ring/partition.ts';
import { isHome, nodeById, type Ring } from '../core/ring/ring.ts';
import { objection } from '../core/stability/barrier.ts';
import { homesOf, type StorageNode } from './node.ts';
import { createRounds } from './rounds.ts';

const anyNamespace = 'default';
const noPrefix = new Uint8Array(0);

export interface Rebuild {
  start(): void;
  /** One look, now: whether it is to be rebuilt, and can be. */
  isDue(): Promise<boolean>;
  stop(): void;
}

/** `everyMs`, 0: never. `onDue`: the node is to be stopped, and started again. */
export function createRebuild(node: StorageNode, everyMs: number, onDue: () => void): Rebuild {
  const { engine, clock, random, peers, background } = node;
  const rounds = createRounds({
    clock,
    delayMs: () => (everyMs > 0 ? everyMs / 2 + random.below(everyMs) : undefined),
    async round() {
      if ((await isDue()) && rounds.goOn) onDue();
    },
  });

  async function isDue(): Promise<boolean> {
    const ring = node.ring();
    // What it lacks since the last time comes first.
    if (!engine.isDamaged || engine.isIncomplete || ring === undefined) return false;
    if (nodeById(ring, node.id) === undefined || !isQuiet(ring)) return false;
    const task = background.begin('refill', 'whether the others can do without this node');
    try {
      for (let partition = 0; partition < ring.partitions; partition++) {
        for (const id of othersOf(ring, partition)) {
          await task.admit(1, 0);
          const range = rangeOfPartition(partition, ring.partitions);
          await peers.replica(id).scan({ ...range, namespace: anyNamespace, prefix: noPrefix, limit: 1 });
        }
      }
      return isQuiet(ring) && node.ring() === ring;
    } catch (error) {
      node.metrics.replicaFailed(node.id, 'repair', error);
      return false;
    } finally {
      task.end();
    }
  }

  function isQuiet(ring: Ring): boolean {
    if (objection(ring) !== undefined) return false;
    return ring.nodes.every(({ id, status }) => status === 'LEFT' || id === node.id || peers.reachable(id));
  }

  /** The other homes of a partition that is this node's. */
  function othersOf(ring: Ring, partition: number): string[] {
    const self = nodeById(ring, node.id)?.index ?? -1;
    if (!isHome(ring, partition, self)) return [];
    return homesOf(ring, partition).flatMap(({ id }) => (id === node.id ? [] : [id]));
  }

  return { start: () => rounds.start(), isDue, stop: () => rounds.stop() };
}
