/**
 * A write that was tried before (P5): every replica that can be reached is asked what it remembers of it.
 *
 * Asked are all, not a quorum: the first attempt may have reached a single one. One that does not answer in time is
 * not waited for; where it alone had seen the first attempt, the second one is another write.
 */
import type { ReplicaCopyReport } from '../core/quorum/peers.ts';
import type { ValidWrite } from '../core/requests/validate.ts';
import { compareDots, type Dot } from '../core/versioning/causal-context.ts';
import { type KeyRecord, merge } from '../core/versioning/record.ts';
import { type Place, readersOf, replicaOn, type StorageNode } from './node.ts';

/** As long as a silent node is trusted (core/quorum/peer-health.ts). */
const patienceMs = 1_000;

export interface KnownWrite {
  readonly dot: Dot;
  /** What those who remember it have, merged: the write is in it, or what replaced it. */
  readonly record: KeyRecord;
}

/** Undefined where nobody remembers it. */
export async function recall(
  node: StorageNode,
  place: Place,
  { storageKey: key, requestId }: Pick<ValidWrite, 'storageKey' | 'requestId'>,
  deadline: number,
): Promise<KnownWrite | undefined> {
  const asked = readersOf(node, place, false).slice(0, 2 * place.ring.replicas);
  const reports: ReplicaCopyReport[] = [];
  const inspect = async (id: string) => {
    reports.push(await replicaOn(node, id).inspect({ key, requestId, deadline }));
  };
  await new Promise<void>((resolve) => {
    const alarm = node.deadlines.set(Math.min(deadline, node.clock.now() + patienceMs), resolve);
    void Promise.allSettled(asked.map(({ id }) => inspect(id))).then(() => {
      alarm.cancel();
      resolve();
    });
  });
  const knowing = reports.flatMap(({ knownDot: dot, record }) => {
    return dot === undefined || record === undefined ? [] : [{ dot, record: node.records.decode(record) }];
  });
  if (knowing.length === 0) return undefined;
  node.metrics.recalled.add(1);
  return {
    dot: knowing.map(({ dot }) => dot).reduce((a, b) => (compareDots(a, b) <= 0 ? a : b)),
    record: knowing.map(({ record }) => record).reduce(merge),
  };
}
