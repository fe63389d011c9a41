/**
 * One get, run by a home of its key; operations.ts has validated and placed it:
 *
 *   read from R homes, this one first → merge → answer → mend what was stale
 *
 * Only R are asked at first: a read costs R times the work, not N times. A home that fails is replaced by
 * the next at once, one that is slow after `hedgeAfterMs`, within the budget for that.
 */
import type { GetResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import type { ValidGet } from '../core/requests/validate.ts';
import type { RingNode } from '../core/ring/ring.ts';
import { includes, join, printDot } from '../core/versioning/causal-context.ts';
import { agree, emptyRecord, type KeyRecord, merge, type Sibling, visibleSiblings } from '../core/versioning/record.ts';
import { notEnoughReplicas, type Place, reachableHomes, replicaOn, type StorageNode } from './node.ts';
import { type Answer, gatherQuorum, type Quorum } from './quorum.ts';
import { repairReplicas } from './read-repair.ts';

/** About the 99.9th percentile of a healthy replica's answer on a busy machine; see docs/benchmarks.md. */
export const hedgeAfterMs = 50;

/** What one replica said. */
export interface ReplicaCopy {
  /** The record's encoding; undefined where the replica has none. */
  readonly bytes: Uint8Array | undefined;
  readonly record: KeyRecord;
}

export type ReadAnswer = Answer<ReplicaCopy>;

export async function coordinateGet(
  node: StorageNode,
  place: Place,
  get: ValidGet,
  deadline: number,
): Promise<GetResponse> {
  const quorum = await readHomes(node, place, get, deadline);

  const answers = quorum.answers.slice();
  const record = answers.map(({ value }) => value.record).reduce(merge);
  const stale = answers.filter(({ value }) => isStale(value, record));
  const divergent = stale.length > 0;
  if (divergent) void repairReplicas(node, get.storageKey, record, stale);
  return {
    ...chooseSiblings(get, visibleSiblings(record)),
    context: Buffer.from(node.validation.contexts.encode(join(record.clock, get.session), get.keyHash)),
    certificate: {
      replicasAsked: answers.length + quorum.tally.failed + quorum.tally.outstanding,
      replicasAnswered: answers.length,
      homesAnswered: answers.length,
      divergent,
      coversSession: includes(record.clock, get.session),
      ring: place.ring.version,
    },
  };
}

/**
 * By what it holds, not by its clock: clocks are cut by the puts of one coordinator at a time, and to repair
 * that would put back what the next put cuts again, for ever.
 */
function isStale({ bytes, record }: ReplicaCopy, merged: KeyRecord): boolean {
  return bytes === undefined ? merged.clock.length > 0 : !agree(record, merged);
}

/** Resolves when R homes have answered; throws the failure otherwise. */
export async function readHomes(
  node: StorageNode,
  place: Place,
  { storageKey, r }: Pick<ValidGet, 'storageKey' | 'r'>,
  deadline: number,
): Promise<Quorum<ReplicaCopy>> {
  const homes = reachableHomes(node, place);
  if (homes.length < r) throw notEnoughReplicas(place, r, homes.length);
  const decode = decoder(node);
  const read = async (home: RingNode) => decode(await replicaOn(node, home.id).read({ key: storageKey, deadline }));
  const ask = (home: RingNode) => [home.id, read(home)] as const;
  let asked = r;
  const askNext = () => {
    const home = homes[asked++];
    return home === undefined ? undefined : ask(home);
  };
  const quorum = gatherQuorum<ReplicaCopy>({
    needed: r,
    deadline,
    deadlines: node.deadlines,
    asked: homes.slice(0, r).map(ask),
    onFailure(nodeId, error) {
      node.metrics.replicaFailed(nodeId, 'read', error);
      return askNext();
    },
  });
  node.hedges.earn();
  const hedge = node.deadlines.set(node.clock.now() + hedgeAfterMs, () => {
    const more = asked < homes.length && node.hedges.spend() ? askNext() : undefined;
    if (more === undefined) return;
    node.metrics.hedges.add(1);
    quorum.ask(...more);
  });
  const outcome = await quorum.outcome;
  hedge.cancel();
  if (outcome === 'impossible') throw notEnoughReplicas(place, r, quorum.answers.length);
  if (outcome === 'late') {
    throw new Failure('DEADLINE', `${quorum.answers.length} of ${r} replicas had answered when the deadline passed`);
  }
  return quorum;
}

/** Replicas that agree have equal bytes, and most do: those are decoded once, and share one record. */
function decoder(node: StorageNode): (bytes: Uint8Array | undefined) => ReplicaCopy {
  let first: ReplicaCopy | undefined;
  return (bytes) => {
    if (bytes === undefined) return { bytes, record: emptyRecord };
    if (first?.bytes !== undefined && Buffer.compare(first.bytes, bytes) === 0) return first;
    const copy = { bytes, record: node.records.decode(bytes) };
    first ??= copy;
    return copy;
  };
}

/** As many as `bytesMax` allows, at least one; the rest is named. */
function chooseSiblings(
  { dots, bytesMax }: ValidGet,
  siblings: readonly Sibling[],
): Pick<GetResponse, 'siblings' | 'omitted'> {
  const chosen: GetResponse['siblings'] = [];
  const omitted: string[] = [];
  let bytes = 0;
  for (const { dot, value, writtenAtMs } of siblings) {
    const printed = printDot(dot);
    if (dots !== undefined && !dots.has(printed)) continue;
    if (chosen.length > 0 && bytes + value.length > bytesMax) {
      omitted.push(printed);
      continue;
    }
    bytes += value.length;
    chosen.push({ value: value as Buffer, dot: printed, writtenAtMs: BigInt(writtenAtMs), ttlLeft: undefined });
  }
  return { siblings: chosen, omitted };
}
