/**
 * A node whose files were damaged, and that went on with what of them could be read (StorageEngine.isIncomplete): what is
 * absent here may have been written. It pulls every partition that it is a home of from the other owners, and does not
 * answer reads of one until then (local-replica.ts); others do. Writes it takes: what is written now it has.
 *
 * I1 A partition counts as filled only from all its owners that are not DOWN: what was acknowledged may be with a single
 *    one of them. (What was beaten where the last writer wins is not pulled: it is kept for people, for a while.) One that comes to this node by a change of the ring is pulled by transfers.ts, as always.
 * I2 Until all are filled the engine stays incomplete, over restarts, and a restart begins with all of them again.
 * I3 While there is nothing to fill there is no timer.
 * I4 A partition that this node is pending for is not answered for either: it may have said that it has pulled it, lost some
 *    of it since, and be a home of it already, by a ring that it has not heard of.
 */
import type { Metrics } from '../core/ports.ts';
import { partitionOfStorageKey } from '../core/ring/partition.ts';
import { epochOf, isHome, nameOfNode, nodeById, type Ring, serves } from '../core/ring/ring.ts';
import { homesOf, type StorageNode } from './node.ts';
import { createRounds } from './rounds.ts';
import { type Pull, pullPartition } from './takeover.ts';

const lookEveryMs = 50;
const retryMs = 2_000;

export interface Refill {
  /** Whether the key may have been written though it is absent here. */
  isFilling(storageKey: Uint8Array): boolean;
  follow(ring: Ring): void;
  start(): void;
  stop(): void;
}

export function createRefill(node: StorageNode, metrics: Metrics): Refill {
  const { clock, peers, engine, background } = node;
  /** By partition, the owners it was pulled from; undefined: no ring is known, so it may be any partition. */
  let left: Map<number, Set<string>> | undefined = engine.isIncomplete ? undefined : new Map();
  let partitions = 0;
  let isDone = !engine.isIncomplete;
  let failed = false;
  const rounds = createRounds({ clock, delayMs, round: work });
  const refilled = metrics.counter('cartwheel_refilled_records_total', 'Records pulled because the disk was damaged');
  metrics.gauge(
    'cartwheel_refill_partitions_waiting',
    'Partitions that are not answered for: the disk was damaged, and they are not pulled again yet',
    () => left?.size ?? 0,
  );

  function delayMs(): number | undefined {
    if (isDone || left === undefined || (left.size > 0 && toFill().length === 0)) return undefined;
    return failed ? retryMs : lookEveryMs;
  }

  function follow(ring: Ring): void {
    if (isDone) return;
    const self = nodeById(ring, node.id)?.index ?? -1;
    if (left === undefined || partitions !== ring.partitions) {
      partitions = ring.partitions;
      left = new Map();
      for (let partition = 0; partition < partitions; partition++) left.set(partition, new Set());
    }
    for (const partition of left.keys()) if (!serves(ring, partition, self)) left.delete(partition);
    rounds.look();
  }

  /** Those that it is pending for are pulled by transfers.ts, and once more when it is a home (I4). */
  function toFill(): (readonly [number, Set<string>])[] {
    const ring = node.ring();
    if (ring === undefined || ring.partitions !== partitions) return [];
    const self = nodeById(ring, node.id)?.index ?? -1;
    return [...(left ?? [])].filter(([partition]) => isHome(ring, partition, self));
  }

  async function work(): Promise<void> {
    failed = false;
    for (const [partition, from] of toFill()) if (!rounds.stopped) await fill(partition, from);
    if (left?.size !== 0 || rounds.stopped) return;
    isDone = true;
    await engine.complete().catch(() => {}); // then all is pulled once more after the next start
  }

  async function fill(partition: number, from: Set<string>): Promise<void> {
    for (const id of ownersOf(partition)) {
      if (!rounds.stopped && !from.has(id)) await pull(partition, id, from);
    }
    const isSame = left?.get(partition) === from && node.ring()?.partitions === partitions;
    if (isSame && ownersOf(partition).every((id) => from.has(id))) left?.delete(partition);
  }

  async function pull(partition: number, owner: string, from: Set<string>): Promise<void> {
    const ring = node.ring() as Ring;
    if (!peers.reachable(owner)) {
      failed = true;
      return;
    }
    const task = background.begin('refill', `partition ${partition} from ${nameOfNode(ring, owner)}`);
    const epoch = epochOf(ring.version);
    const fresh: Pull = {
      partition,
      partitions,
      owner,
      epoch,
      from: undefined,
      stage: 'records',
      records: 0,
      bytes: 0,
    };
    try {
      await pullPartition(node, fresh, task);
      if (fresh.stage === 'losses') from.add(owner);
      else failed = true;
    } catch (error) {
      node.metrics.replicaFailed(owner, 'transfer', error);
      failed = true;
    } finally {
      task.end();
      refilled.add(fresh.records);
    }
  }

  /** I1. */
  function ownersOf(partition: number): string[] {
    const ring = node.ring();
    if (ring === undefined || ring.partitions !== partitions) return [];
    return homesOf(ring, partition).flatMap(({ id, status }) => (status === 'DOWN' || id === node.id ? [] : [id]));
  }

  return {
    isFilling: (key) => left === undefined || (left.size > 0 && left.has(partitionOfStorageKey(key, partitions))),
    follow,
    start: () => rounds.start(),
    stop: () => rounds.stop(),
  };
}
