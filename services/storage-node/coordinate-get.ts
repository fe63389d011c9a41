/**
 * One get, run by a node of the key's preference list; operations.ts has validated and placed it:
 *
 *   read from R replicas, homes first, then fallbacks → merge → answer → mend what was stale
 *
 * Only R are asked at first: a read costs R times the work, not N times. One that fails, or is silent, is
 * replaced by the next at once, one that is slow after `hedgeAfterMs`, within the budget for that. Where what the
 * client's session has seen is not in what R say, the others are asked too, before it is answered.
 */
import type { GetResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled } from '../core/cancellation.ts';
import { encodeDuration } from '../core/codec/duration.ts';
import type { Alarm } from '../core/deadlines.ts';
import { Failure } from '../core/failure.ts';
import type { ValidGet } from '../core/requests/validate.ts';
import { epochOf, type RingNode } from '../core/ring/ring.ts';
import { includes, join, printDot } from '../core/versioning/causal-context.ts';
import { agree, emptyRecord, type KeyRecord, merge, type Sibling, visibleSiblings } from '../core/versioning/record.ts';
import {
  type Asked,
  notEnoughReplicas,
  type Place,
  type Readers,
  readersOf,
  replicaOn,
  type StorageNode,
  wallMs,
} from './node.ts';
import { type Answer, gatherQuorum, type Quorum } from './quorum.ts';
import { repairReplicas } from './read-repair.ts';

/** About the 99.9th percentile of a healthy replica's answer on a busy machine; see docs/benchmarks.md. */
export const hedgeAfterMs = 50;

const chances = 10_000;
/** For what would make an answer cover its session: as long as a silent node is trusted (core/quorum/peer-health.ts). */
const morePatienceMs = 1_000;

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
  asked: Asked,
): Promise<GetResponse> {
  const { clock, metrics } = node;
  const beganAt = clock.now();
  const { era } = node.barriers;
  const quorum = await readReplicas(node, place, get, asked);
  const readAt = clock.now();
  metrics.stage.read_quorum.observe(readAt - beganAt);

  const answers = quorum.answers.slice();
  const record = mergedOf(answers);
  const stale = staleOf(place, answers, record);
  // Later, with the answers of those that were slower.
  if (stale.length > 0 || quorum.tally.outstanding > 0) {
    void quorum.over.then(() => mend(node, place, get.storageKey, quorum.answers, era));
  }
  const wallNowMs = wallMs(clock);
  const siblings = visibleSiblings(record, wallNowMs);
  metrics.siblings.observe(siblings.length);
  const response: GetResponse = {
    ...chooseSiblings(get, siblings, wallNowMs),
    context: node.validation.contexts.encode(join(record.clock, get.session), get.keyHash),
    certificate: {
      replicasAsked: answers.length + quorum.tally.failed + quorum.tally.outstanding,
      replicasAnswered: answers.length,
      homesAnswered: answers.filter(({ nodeId }) => isHome(place, nodeId)).length,
      divergent: stale.length > 0,
      coversSession: includes(record.clock, get.session),
      ring: place.ring.version,
    },
  };
  metrics.stage.answer.observe(clock.now() - readAt);
  return response;
}

function mergedOf(answers: readonly ReadAnswer[]): KeyRecord {
  return answers.map(({ value }) => value.record).reduce(merge);
}

function isHome({ homes }: Place, nodeId: string): boolean {
  return homes.some(({ id }) => id === nodeId);
}

function staleOf(place: Place, answers: readonly ReadAnswer[], merged: KeyRecord): readonly ReadAnswer[] {
  return answers.filter(({ nodeId, value }) => isStale(value, merged, isHome(place, nodeId)));
}

function mend(node: StorageNode, place: Place, key: Uint8Array, answers: readonly ReadAnswer[], era: number): void {
  const record = mergedOf(answers);
  const stale = staleOf(place, answers, record);
  if (stale.length > 0) void repairReplicas(node, key, record, stale, era);
}

/**
 * By what it holds, not by its clock: clocks are cut by the puts of one coordinator at a time, and to repair
 * that would put back what the next put cuts again, for ever. A fallback that keeps nothing lacks nothing.
 */
function isStale({ bytes, record }: ReplicaCopy, merged: KeyRecord, atHome: boolean): boolean {
  return bytes === undefined ? atHome && merged.clock.length > 0 : !agree(record, merged);
}

/** Resolves when R of the preference list have answered; throws the failure otherwise. */
function readReplicas(node: StorageNode, place: Place, get: ValidGet, asked: Asked): Promise<Quorum<ReplicaCopy>> {
  const readers = readersOf(node, place, get.strict);
  const all = node.random.below(chances) < get.readAllProbability * chances;
  const atOnce = all ? Math.max(get.r, place.homes.length) : get.r;
  const covers = (answers: readonly ReadAnswer[]) => includes(mergedOf(answers).clock, get.session);
  const saysEnough = get.session.length === 0 ? undefined : covers;
  return readFrom(node, place, readers, get, asked, atOnce, saysEnough);
}

/** The same of homes only. Throws RingMoved too. */
export function readHomes(
  node: StorageNode,
  place: Place,
  get: Pick<ValidGet, 'storageKey' | 'r'>,
  asked: Asked,
): Promise<Quorum<ReplicaCopy>> {
  return readFrom(node, place, readersOf(node, place, true), get, asked, get.r);
}

async function readFrom(
  node: StorageNode,
  place: Place,
  readers: Readers,
  { storageKey, r }: Pick<ValidGet, 'storageKey' | 'r'>,
  { deadline, cancellation, traceparent }: Asked,
  /** How many are asked before the first has failed, or been slow. */
  atOnce = r,
  /** Whether R answers say enough; where they do not, all that can be asked are, for a while. */
  saysEnough?: (answers: readonly ReadAnswer[]) => boolean,
): Promise<Quorum<ReplicaCopy>> {
  if (cancellation.cancelled) throw new Cancelled('NOT_APPLIED');
  const first = readers.first(atOnce);
  if (first.length < r) throw notEnoughReplicas(place, r, first.length);
  const decode = decoder(node);
  const onSilent = () => {
    const more = askInstead();
    if (more !== undefined) quorum.ask(...more);
  };
  const epoch = epochOf(place.ring.version);
  const known = node.store.readNow(storageKey);
  const message = { key: storageKey, deadline, onSilent, traceparent, epoch, known };
  const read = async ({ id }: RingNode) => decode(await replicaOn(node, id).read(message));
  const ask = (reader: RingNode) => [reader.id, read(reader)] as const;
  let asked = atOnce;
  const askNext = () => {
    const reader = cancellation.cancelled ? undefined : readers.at(asked++);
    return reader === undefined ? undefined : ask(reader);
  };
  const askInstead = () => {
    const more = askNext();
    if (more !== undefined) node.extra.charge();
    return more;
  };
  const askMore = () => (asked < 2 * place.homes.length ? askInstead() : undefined);
  const patience = saysEnough && Promise.withResolvers<'late'>();
  let alarm: Alarm | undefined;
  /** Asks the homes, and as many of the others, that have not been asked; false where nobody is left to wait for. */
  const askAll = (): boolean => {
    for (let more = askMore(); more !== undefined; more = askMore()) quorum.ask(...more);
    alarm ??= node.deadlines.set(node.clock.now() + morePatienceMs, () => patience?.resolve('late'));
    return quorum.tally.outstanding > 0;
  };
  const quorum = gatherQuorum<ReplicaCopy>({
    needed: r,
    deadline,
    cancellation,
    deadlines: node.deadlines,
    asked: first.map(ask),
    satisfied: (answers) => saysEnough?.(answers) !== false || !askAll(),
    onFailure(nodeId, error) {
      node.metrics.replicaFailed(nodeId, 'read', error);
      return askInstead();
    },
  });
  node.extra.earn();
  const hedge = node.deadlines.set(node.clock.now() + hedgeAfterMs, () => {
    const more = readers.at(asked) !== undefined && node.extra.spend() ? askNext() : undefined;
    if (more === undefined) return;
    node.metrics.hedges.add(1);
    quorum.ask(...more);
  });
  const outcome = await (patience === undefined ? quorum.outcome : Promise.race([quorum.outcome, patience.promise]));
  hedge.cancel();
  alarm?.cancel();
  if (outcome === 'cancelled') throw new Cancelled('NOT_APPLIED');
  if (quorum.moved !== undefined) throw quorum.moved;
  if (quorum.answers.length >= r) return quorum;
  if (outcome === 'impossible') throw notEnoughReplicas(place, r, quorum.answers.length);
  throw new Failure('DEADLINE', `${quorum.answers.length} of ${r} replicas had answered when the deadline passed`);
}

/** Replicas that agree have equal bytes, and most do: those are decoded once, and share one record. */
function decoder(node: StorageNode): (bytes: Uint8Array | undefined) => ReplicaCopy {
  let first: ReplicaCopy | undefined;
  return (bytes) => {
    if (bytes === undefined) return { bytes, record: emptyRecord };
    if (first?.bytes !== undefined && (first.bytes === bytes || Buffer.compare(first.bytes, bytes) === 0)) return first;
    const copy = { bytes, record: node.records.decode(bytes) };
    first ??= copy;
    return copy;
  };
}

/** As many as `bytesMax` allows, at least one; the rest is named. */
function chooseSiblings(
  { dots, bytesMax }: ValidGet,
  siblings: readonly Sibling[],
  wallNowMs: number,
): Pick<GetResponse, 'siblings' | 'omitted'> {
  const chosen: GetResponse['siblings'] = [];
  const omitted: string[] = [];
  let bytes = 0;
  for (const { dot, value, writtenAtMs, expiresAtMs } of siblings) {
    const printed = printDot(dot);
    if (dots !== undefined && !dots.has(printed)) continue;
    if (chosen.length > 0 && bytes + value.length > bytesMax) {
      omitted.push(printed);
      continue;
    }
    bytes += value.length;
    const ttlLeft = expiresAtMs === undefined ? undefined : encodeDuration(expiresAtMs - wallNowMs);
    chosen.push({ value: value as Buffer, dot: printed, writtenAtMs: BigInt(writtenAtMs), ttlLeft });
  }
  return { siblings: chosen, omitted };
}
