/**
 * A write that was tried before (P5): every replica that can be reached is asked what it remembers of it.
 *
 * Asked are all, not a quorum: the first attempt may have reached a single one. One that does not answer in time is
 * not waited for; where it alone had seen the first attempt, the second one is another write.
 *
 * A replica knows the request that it remembers, and one whose value it holds. It may know the request and have the
 * record no more, handed over to its home: others then have the write, or what replaced it.
 */
import type { ReplicaCopyReport } from '../core/quorum/peers.ts';
import type { ValidWrite } from '../core/requests/validate.ts';
import { compareDots, contains, type Dot, sameDot } from '../core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord, merge, siblingOfRequest } from '../core/versioning/record.ts';
import type { KnownWrite } from '../core/versioning/write.ts';
import { type Place, readersOf, replicaOn, type StorageNode } from './node.ts';

/** As long as a silent node is trusted (core/quorum/peer-health.ts). */
const patienceMs = 1_000;

export interface Known extends KnownWrite {
  /** In which this node came to know it (core/stability/era.ts). */
  readonly era: number;
}

/** Undefined where nobody remembers it. */
export async function recall(
  node: StorageNode,
  place: Place,
  { storageKey: key, requestId }: Pick<ValidWrite, 'storageKey' | 'requestId'>,
  deadline: number,
): Promise<Known | undefined> {
  const { era } = node.barriers;
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
  const known = knownFrom(
    reports.map(({ knownDot, record }) => {
      return { knownDot, record: record === undefined ? emptyRecord : node.records.decode(record) };
    }),
    requestId,
  );
  if (known !== undefined) node.metrics.recalled.add(1);
  return known && { ...known, era };
}

interface Copy {
  readonly knownDot: Dot | undefined;
  readonly record: KeyRecord;
}

function knownFrom(copies: readonly Copy[], requestId: Uint8Array): KnownWrite | undefined {
  const has = ({ knownDot, record }: Copy, dot: Dot) =>
    record !== emptyRecord && (contains(record.clock, dot) || (knownDot !== undefined && sameDot(knownDot, dot)));
  const [dot, ...others] = copies
    .flatMap(({ knownDot, record }) => knownDot ?? siblingOfRequest(record, requestId)?.dot ?? [])
    .filter((known) => copies.some((copy) => has(copy, known)))
    .toSorted(compareDots);
  if (dot === undefined) return undefined;
  const having = copies.filter((copy) => [dot, ...others].some((known) => has(copy, known)));
  return { dot, others, record: having.map(({ record }) => record).reduce(merge) };
}
