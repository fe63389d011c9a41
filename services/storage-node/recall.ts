/**
 * A write that was tried before (P5): every replica that can be reached is asked what it remembers of it.
 *
 * Asked are all, not a quorum: the first attempt may have reached a single one. One that does not answer in time is
 * not waited for; where it alone had seen the first attempt, the second one is another write.
 *
 * A replica knows the request that it remembers, and one whose value it holds. It may know the request and have the
 * record no more, handed over to its home: others then have the write, or what replaced it. Where nobody who answers has, and
 * everybody has answered, it was replaced, and that was let go (core/stability). Where somebody has not, nothing can be said:
 * to make the write once more might bring back what was replaced.
 */

import { Failure } from '../core/failure.ts';
import type { ReplicaCopyReport } from '../core/quorum/peers.ts';
import type { ValidWrite } from '../core/requests/validate.ts';
import { compareDots, contains, type Dot, sameDot, withDot } from '../core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord, merge, siblingOfRequest } from '../core/versioning/record.ts';
import type { KnownWrite } from '../core/versioning/write.ts';
import { type Place, readersOf, replicaOn, type StorageNode } from './node.ts';

/** As long as a silent node is trusted (core/quorum/peer-health.ts). */
const patienceMs = 1_000;

export interface Known extends KnownWrite {
  /** In which this node came to know it (core/stability/era.ts). */
  readonly era: number;
}

/** Undefined where nobody remembers it. Throws Failure NOT_ENOUGH_REPLICAS where none of those who have it answers. */
export async function recall(
  node: StorageNode,
  place: Place,
  { storageKey: key, requestId }: Pick<ValidWrite, 'storageKey' | 'requestId'>,
  deadline: number,
): Promise<Known | undefined> {
  const { era } = node.barriers;
  const asked = readersOf(node, place, false).first(askedMax(place));
  const reports = new Map<string, ReplicaCopyReport>();
  const inspect = async (id: string) => {
    reports.set(id, await replicaOn(node, id).inspect({ key, requestId, deadline }));
  };
  await new Promise<void>((resolve) => {
    const alarm = node.deadlines.set(Math.min(deadline, node.clock.now() + patienceMs), resolve);
    void Promise.allSettled(asked.map(({ id }) => inspect(id))).then(() => {
      alarm.cancel();
      resolve();
    });
  });
  const isHome = (nodeId: string) => place.homes.some(({ id }) => id === nodeId);
  const known = knownFrom(
    [...reports].map(([id, { knownDot, record }]) => {
      return { knownDot, isHome: isHome(id), record: record === undefined ? emptyRecord : node.records.decode(record) };
    }),
    requestId,
    place.preference.slice(0, askedMax(place)).every(({ id }) => reports.has(id)),
  );
  if (known !== undefined) node.metrics.recalled.add(1);
  return known && { ...known, era };
}

/** The homes, and as many of those that may stand in for them. */
function askedMax({ ring }: Place): number {
  return 2 * ring.replicas;
}

interface Copy {
  readonly knownDot: Dot | undefined;
  readonly isHome: boolean;
  readonly record: KeyRecord;
}

function knownFrom(copies: readonly Copy[], requestId: Uint8Array, isFromAll: boolean): KnownWrite | undefined {
  // A home may have cut the dot from its clock. What others have now may be another copy than the one they handed over.
  const has = ({ knownDot, isHome, record }: Copy, dot: Dot) =>
    record !== emptyRecord &&
    (contains(record.clock, dot) || (isHome && knownDot !== undefined && sameDot(knownDot, dot)));
  const remembered = copies
    .flatMap(({ knownDot, record }) => knownDot ?? siblingOfRequest(record, requestId)?.dot ?? [])
    .toSorted(compareDots);
  const [dot, ...others] = remembered.filter((known) => copies.some((copy) => has(copy, known)));
  if (dot === undefined) return replaced(remembered, isFromAll);
  const having = copies.filter((copy) => [dot, ...others].some((known) => has(copy, known)));
  return { dot, others, record: having.map(({ record }) => record).reduce(merge) };
}

/** Of dots that nobody who was asked has. */
function replaced([dot, ...others]: readonly Dot[], isFromAll: boolean): KnownWrite | undefined {
  if (dot === undefined) return undefined;
  if (!isFromAll) {
    const message = 'it was made at an earlier attempt, and none of those who have it, or what replaced it, answers';
    throw new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN', retryAfterMs: 500 });
  }
  const clock = [dot, ...others].reduce((dots, other) => withDot(dots, other), emptyRecord.clock);
  return { dot, others, record: { clock, siblings: [] } };
}
