/**
 * What a node does by itself when the ring changes (docs/ring-changes.md): it pulls the partitions that it is pending for,
 * and hands back what is left of those that are no more its own.
 *
 * One partition after the other, those to be pulled first, under the governor; what fails is tried again.
 *
 * I1 A partition counts as pulled only from all owners that are not DOWN, since the fence of it was last moved.
 * I2 `leftovers` names every partition of others that records may be left of: all of them after a start, and those that a
 *    ring took away. All of them too when the node is to leave: as a fallback it may remember requests that nobody else does.
 * I3 While there is nothing to do there is no timer.
 */
import type { Metrics } from '../core/ports.ts';
import { partitionsSharing } from '../core/ring/partition.ts';
import {
  epochOf,
  isHome,
  isPending,
  nameOfNode,
  nodeById,
  type Ring,
  type RingNode,
  serves,
} from '../core/ring/ring.ts';
import type { Background, BackgroundTask } from './background.ts';
import { listedCost } from './exchange.ts';
import { handBack } from './hand-back.ts';
import { homesOf, type StorageNode } from './node.ts';
import { createRounds } from './rounds.ts';
import { NoRoom, type Pull, progressOf, pullLosses, pullPartition } from './takeover.ts';

const lookEveryMs = 50;
const retryMs = 2_000;
const givenUpMs = 5_000;

export interface Transfers {
  /** A newer ring is gone over to; the first one after a start too. */
  follow(ring: Ring): void;
  start(): void;
  /** Partitions that this node is pending for and has pulled. */
  pulled(): number[];
  /** Of the others of which something is: how far it has come, 0 to 1. */
  pulling(): ReadonlyMap<number, number>;
  /** For people: why one is not being pulled; empty: nothing. */
  waitsFor(): string;
  stop(): void;
}

export function createTransfers(node: StorageNode, background: Background, metrics: Metrics): Transfers {
  const { clock, peers, fences, leftovers } = node;
  /** By partition: of each owner that was begun with. */
  const pulls = new Map<number, Map<string, Pull>>();
  /** Partitions that this node is pending for because it has just given them up, and when it did. */
  const givenUp = new Map<number, number>();
  let known: Ring | undefined;
  /** Of those that could not be handed back: one that is shown while they wait to be tried again, by the reason. */
  const stuck = new Map<string, BackgroundTask>();
  let failed = false;
  let noRoom = '';
  const rounds = createRounds({
    clock,
    delayMs: () => (isIdle() ? undefined : failed ? retryMs : lookEveryMs),
    round: work,
  });
  const pulledRecords = metrics.counter('cartwheel_transfer_records_total', 'Records pulled from former owners');
  const pulledBytes = metrics.counter('cartwheel_transfer_bytes_total', 'Bytes of records pulled from former owners');
  const droppedRecords = metrics.counter(
    'cartwheel_handed_back_records_total',
    'Records dropped: they are others’ now',
  );
  metrics.gauge('cartwheel_transfer_partitions_waiting', 'Partitions to be pulled', () => toPull().length);
  metrics.gauge(
    'cartwheel_leftover_partitions',
    'Partitions of others that records may be left of',
    () => leftovers.size,
  );

  const selfIn = (ring: Ring) => nodeById(ring, node.id)?.index ?? -1;
  const isLeaving = (ring: Ring) => nodeById(ring, node.id)?.status === 'LEAVING';
  const servesHere = (ring: Ring, partition: number) => serves(ring, partition, selfIn(ring));

  function follow(ring: Ring): void {
    const before = known;
    known = ring;
    const formerly = (partition: number, was: (ring: Ring, partition: number, node: number) => boolean) => {
      if (before === undefined) return false;
      const self = selfIn(before);
      return partitionsSharing(partition, ring.partitions, before.partitions).some((old) => was(before, old, self));
    };
    if (before !== undefined && before.partitions !== ring.partitions) renumber(before, ring);
    const isToLeave = isLeaving(ring) && before !== undefined && !isLeaving(before);
    for (let partition = 0; partition < ring.partitions; partition++) {
      if (servesHere(ring, partition)) leftovers.delete(partition);
      else if (before === undefined || isToLeave || formerly(partition, serves)) leftovers.add(partition);
    }
    for (const partition of ring.pending.keys()) if (formerly(partition, isHome)) givenUp.set(partition, clock.now());
    for (const partition of givenUp.keys()) if (!isPending(ring, partition, selfIn(ring))) givenUp.delete(partition);
    for (const partition of pulls.keys()) if (!isPending(ring, partition, selfIn(ring))) pulls.delete(partition);
    rounds.look();
  }

  /** Partitions have other numbers from here on. Nothing is on its way then (core/ring/doubling.ts). */
  function renumber(before: Ring, ring: Ring): void {
    const left = [...leftovers].flatMap((old) => partitionsSharing(old, before.partitions, ring.partitions));
    leftovers.clear();
    for (const partition of left) leftovers.add(partition);
    pulls.clear();
    givenUp.clear();
  }

  /**
   * Partitions that this node is to take over. One that it has just given up is most likely not: it is pulled only where
   * that lasts, because it was given back to it in the same ring.
   */
  function incoming(): number[] {
    if (known === undefined) return [];
    const self = selfIn(known);
    return [...known.pending].flatMap(([partition, nodes]) =>
      nodes.includes(self) && !hasJustGivenUp(partition) ? [partition] : [],
    );
  }

  function hasJustGivenUp(partition: number): boolean {
    const since = givenUp.get(partition);
    return since !== undefined && clock.now() - since < givenUpMs;
  }

  function ownersOf(ring: Ring, partition: number): RingNode[] {
    return homesOf(ring, partition).filter(({ status }) => status !== 'DOWN');
  }

  /** I1. */
  function isPulled(partition: number): boolean {
    if (known === undefined) return false;
    const since = fences.of(partition);
    return ownersOf(known, partition).every(({ id }) => {
      const pull = pulls.get(partition)?.get(id);
      return pull?.stage === 'done' && pull.epoch >= since;
    });
  }

  /** All owners' parts of it; of what one has given the others mostly only list. */
  function progressIn(partition: number): number {
    const since = fences.of(partition);
    const parts = ownersOf(known as Ring, partition).map(({ id }) => {
      const pull = pulls.get(partition)?.get(id);
      if (pull === undefined || pull.epoch < since) return 0;
      return pull.stage === 'records' ? progressOf(pull) : 1;
    });
    const [first = 0, ...others] = parts.sort((a, b) => b - a);
    const listed = others.reduce((sum, part) => sum + part, 0);
    return (first + listed * listedCost) / (1 + others.length * listedCost);
  }

  const toPull = () => incoming().filter((partition) => !isPulled(partition));

  const isIdle = () => leftovers.size + givenUp.size + stuck.size === 0 && toPull().length === 0;

  async function work(): Promise<void> {
    failed = false;
    noRoom = '';
    const tried = new Set(toPull());
    for (const partition of tried) if (!rounds.stopped) await takeOver(partition);
    await takeLosses();
    const reasons = new Map<string, number>();
    for (const partition of [...leftovers]) {
      // The claimant waits for what is to be taken over, and nobody for the rest of these, which may take an hour.
      if (toPull().some((one) => !tried.has(one))) return;
      const reason = rounds.stopped ? undefined : await giveBack(partition);
      if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    showStuck(reasons);
  }

  function showStuck(reasons: ReadonlyMap<string, number>): void {
    for (const [reason, partitions] of reasons) {
      const task = stuck.get(reason) ?? background.begin('hand-back', 'what its owners do not take yet');
      stuck.set(reason, task);
      task.waitsFor(`${reason} (${partitions} ${partitions === 1 ? 'partition' : 'partitions'})`);
    }
    for (const [reason, task] of stuck) {
      if (reasons.has(reason)) continue;
      task.end();
      stuck.delete(reason);
    }
  }

  async function takeOver(partition: number): Promise<void> {
    for (const { id } of known === undefined ? [] : ownersOf(known, partition)) {
      const ring: Ring = known as Ring;
      if (rounds.stopped || !isPending(ring, partition, selfIn(ring))) return;
      const pull = pullOf(ring, partition, id);
      if (pull.stage === 'losses' || pull.stage === 'done' || !peers.reachable(id)) continue;
      const task = background.begin(
        'transfer',
        `partition ${partition} from ${nameOfNode(ring, id)}`,
        progressOf(pull),
      );
      const { records, bytes } = pull;
      try {
        await pullPartition(node, pull, task);
      } catch (error) {
        if (error instanceof NoRoom) noRoom = error.message;
        node.metrics.replicaFailed(id, 'transfer', error);
        failed = true;
      } finally {
        task.end();
        pulledRecords.add(pull.records - records);
        pulledBytes.add(pull.bytes - bytes);
      }
    }
  }

  /** Of all partitions that have come so far, in one look at the ledger of each owner. */
  async function takeLosses(): Promise<void> {
    const waiting = [...pulls.values()].flatMap((each) => [...each.values()]).filter(({ stage }) => stage === 'losses');
    for (const [owner, ofOwner] of Map.groupBy(waiting, (pull) => pull.owner)) {
      if (rounds.stopped || !peers.reachable(owner)) continue;
      const task = background.begin(
        'transfer',
        `what lost in ${ofOwner.length} partitions from ${nameOfNode(known, owner)}`,
      );
      try {
        if (!(await pullLosses(node, ofOwner as [Pull, ...Pull[]], task))) continue;
        for (const pull of ofOwner) pull.stage = 'done';
      } catch (error) {
        node.metrics.replicaFailed(owner, 'transfer', error);
        failed = true;
      } finally {
        task.end();
      }
    }
  }

  /** The one that goes on, or a new one where the fence has moved since. */
  function pullOf(ring: Ring, partition: number, owner: string): Pull {
    const ofPartition = pulls.get(partition) ?? new Map<string, Pull>();
    pulls.set(partition, ofPartition);
    const begun = ofPartition.get(owner);
    if (begun !== undefined && begun.epoch >= fences.of(partition)) return begun;
    const fresh = { partition, partitions: ring.partitions, owner, epoch: epochOf(ring.version), from: undefined };
    const pull: Pull = { ...fresh, stage: 'records', records: 0, bytes: 0 };
    ofPartition.set(owner, pull);
    return pull;
  }

  /** Says why it could not; undefined: it could. */
  async function giveBack(partition: number): Promise<string | undefined> {
    const ring = known;
    if (ring === undefined || servesHere(ring, partition)) return undefined;
    if (node.barriers.isLeftBehind) {
      leftovers.delete(partition);
      return undefined;
    }
    const added = leftovers.addedAt(partition);
    const task = background.begin('hand-back', `partition ${partition}`);
    try {
      const { dropped, left, owedTo } = await handBack(node, ring, partition, task);
      droppedRecords.add(dropped);
      if (owedTo.size > 0) {
        failed = true;
        return `what is owed to ${[...owedTo]
          .map((id) => nameOfNode(ring, id))
          .sort()
          .join(', ')} goes first`;
      }
      if (left === 0 && known === ring && leftovers.addedAt(partition) === added) leftovers.delete(partition);
      return undefined;
    } catch (error) {
      node.metrics.replicaFailed('of its owners', 'transfer', error);
      failed = true;
      return error instanceof Error ? error.message : String(error);
    } finally {
      task.end();
    }
  }

  peers.onReachable(rounds.look);
  leftovers.onAdded(rounds.look);

  return {
    follow,
    start: () => rounds.start(),
    pulled: () => incoming().filter(isPulled),
    pulling: () =>
      new Map(
        toPull().flatMap((partition): [number, number][] => {
          const progress = progressIn(partition);
          return progress > 0 ? [[partition, progress]] : [];
        }),
      ),
    waitsFor: () => noRoom,
    stop: () => rounds.stop(),
  };
}
