/**
 * One put or delete, run by a node of the key's preference list; operations.ts has validated and placed it:
 *
 *   a second attempt: ask whether the write is known →
 *   select the first N that can be reached → change the own record, minting a dot → send the record to the others
 *   → in place of one that fails or is silent, the next fallback; where those asked could not meet what is required of
 *   hosts and zones, a fallback that does → answer at W → what is still under way goes on
 *   → where a replica knows a newer ring, once more by that one, with the same dot
 *   → a home that nobody has it for is owed it by this node
 *
 * I1 The dot is in the overlay before it is sent anywhere (record-store.ts, I2).
 * I2 Until the own record is changed a failure is NOT_APPLIED; from then on it is UNKNOWN.
 * I3 When all is over each home has the record, or somebody owes it to it (unless this process dies before).
 *
 * Who has to have it on disk before it acknowledges is the request's durability: everybody (DURABLE), this node
 * (ONE_DURABLE, which does not wait for it in particular), nobody (BUFFERED). The others acknowledge from memory.
 */
import type { DeleteResponse, PutResponse, Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, type Until } from '../core/cancellation.ts';
import { Failure } from '../core/failure.ts';
import { EraMoved, RingMoved } from '../core/quorum/peers.ts';
import type { RequestLimits } from '../core/requests/limits.ts';
import type { ValidPut, ValidWrite } from '../core/requests/validate.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { epochOf } from '../core/ring/ring.ts';
import { contains, type Dot, join, printDot, withDot } from '../core/versioning/causal-context.ts';
import { answerContext, visibleSiblings } from '../core/versioning/record.ts';
import {
  applyDelete,
  applyKnown,
  applyPut,
  type Copy,
  type KnownWrite,
  type Written,
} from '../core/versioning/write.ts';
import {
  type Asked,
  learnNewerRing,
  notEnoughReplicas,
  type Place,
  placeOf,
  type StorageNode,
  selectWriters,
  wallMs,
} from './node.ts';
import { writeToPending } from './pending-owners.ts';
import { checkPlacement, isPlaced, unmet, wantedFor, whoSyncs } from './placement.ts';
import { gatherQuorum, type Quorum } from './quorum.ts';
import { type Known, recall } from './recall.ts';
import { beside, type Changed, type Held, type Next, unchanged } from './record-store.ts';
import { createStandIns, type StandIns } from './stand-ins.ts';

export function coordinatePut(node: StorageNode, place: Place, put: ValidPut, asked: Asked): Promise<PutResponse> {
  const writtenAtMs = wallMs(node.clock);
  return write(node, place, put, asked, (copy, known) => {
    if (known !== undefined) return applyKnown(copy, known, put.value);
    return applyPut(copy, { ...put, writtenAtMs }, minting(node));
  });
}

export function coordinateDelete(
  node: StorageNode,
  place: Place,
  remove: ValidWrite,
  asked: Asked,
): Promise<DeleteResponse> {
  const writtenAtMs = wallMs(node.clock);
  return write(node, place, remove, asked, (copy, known) => {
    if (known !== undefined) return applyKnown(copy, known);
    return applyDelete(copy, { ...remove, writtenAtMs }, minting(node));
  });
}

async function write(
  node: StorageNode,
  place: Place,
  request: ValidWrite,
  asked: Asked,
  applyTo: (copy: Copy, known: KnownWrite | undefined) => Written,
): Promise<PutResponse> {
  const { deadline } = asked;
  const isRetry = request.attempt > 0 && request.requestId.length > 0;
  let known = isRetry ? await recall(node, place, request, deadline) : undefined;
  let isMinted = false;
  for (let at = place; ; at = placeOf(currentRing(node), request.storageKey)) {
    if (isMinted && request.strict && !at.homes.some(({ id }) => id === node.id)) throw noHomeAnyMore(node);
    try {
      const knownHere = (own: Held) => {
        if (!isMinted && at.ring !== node.ring() && !isListed(node, request.storageKey)) throw new RingMoved(node.id);
        return knownStill(node, own, known, isMinted);
      };
      return await writeAt(node, at, request, asked, applyTo, known, knownHere, (made) => {
        known = made;
        isMinted = true;
      });
    } catch (error) {
      if (isMinted && error instanceof RingMoved && node.clock.now() < deadline) await learnNewerRing(node, at, error);
      else throw isMinted ? withUnknownOutcome(error) : error;
    }
  }
}

/** Throws RingMoved where the place is out of date; after `onMade` the write is to be tried elsewhere as one that is known. */
async function writeAt(
  node: StorageNode,
  place: Place,
  request: ValidWrite,
  asked: Asked,
  applyTo: (copy: Copy, known: KnownWrite | undefined) => Written,
  known: Known | undefined,
  knownHere: (own: Held) => KnownWrite | undefined,
  onMade: (made: Known) => void,
): Promise<PutResponse> {
  const { deadline, traceparent } = asked;
  const others = known?.others ?? [];
  const selection = selectWriters(node, place, request);
  const { chosen } = selection;
  if (chosen.length < request.w) throw notEnoughReplicas(place, request.w, chosen.length);
  checkPlacement(place, request, selection);
  const standIns = createStandIns(selection);
  const synced = whoSyncs(request, selection);
  node.extra.earn();
  const isSynced = (id: string) => synced === 'all' || synced.has(id);

  const { storageKey, requestId } = request;
  let written: Written | undefined;
  const epoch = epochOf(place.ring.version);
  let era = 0;
  const change = (own: Held): Next => {
    if (epoch < node.fences.ofKey(storageKey)) throw new RingMoved(node.id);
    era = node.barriers.era;
    written = applyTo(own, knownHere(own));
    const home = standIns.homeOf(node.id);
    const owing = (next: Next) => (home === undefined ? next : node.hints.owe(own, next, home, storageKey));
    // What is here already may have come without its request: from here on this node remembers it.
    if (!written.fresh) return remembering(owing(unchanged), written.dot);
    const { birth, record } = written.copy;
    const bytes = node.records.encode(record);
    checkSize(bytes.length, own.bytes?.length ?? 0, node.validation.limits);
    checkSiblings(record.siblings.length, own.record.siblings.length, node.validation.limits);
    return owing(remembering({ copy: { ...own, birth, record, bytes } }, written.dot));
  };
  const remembering = (next: Next, dot: Dot) =>
    requestId.length === 0 ? next : beside(next, () => node.requests.remember(storageKey, { id: requestId, dot }));
  const beganAt = node.clock.now();
  const { held, committed } = await changeInTime(node, storageKey, asked, change, isSynced(node.id));
  const { dot, entriesCut } = written as unknown as Written;
  onMade({ dot, others, record: held.record, era });
  const changedAt = node.clock.now();
  node.metrics.stage.own.observe(changedAt - beganAt);
  if (traceparent !== undefined) traceOwnWrite(node, traceparent, beganAt, committed);
  node.metrics.clockEntries.observe(held.record.clock.length);
  node.metrics.entriesCut.add(entriesCut);
  if (standIns.homeOf(node.id) !== undefined) node.metrics.coordinatedByFallback.add(1);

  const remembered = requestId.length === 0 ? undefined : { id: requestId, dot };
  const message = {
    key: storageKey,
    record: held.bytes as Uint8Array,
    era,
    request: remembered,
    deadline,
    epoch,
    traceparent,
  };
  const pending = writeToPending(node, place, { ...message, sync: synced === 'all', buffered: synced !== 'all' });
  /** Those that have acknowledged it, or may yet. */
  const counted = new Set(chosen.map(({ nodeId }) => nodeId));
  // Async: a node that left the ring since then has failed, and throws here.
  const send = async (id: string) => {
    counted.add(id);
    const hintedFor = standIns.homeOf(id) ?? '';
    if (hintedFor !== '') node.metrics.standIns.add(1);
    const sync = isSynced(id);
    const onSilent = () => {
      const next = replace(id);
      if (next !== undefined) quorum.ask(next, send(next));
      askForPlacement();
    };
    await node.peers.replica(id).write({ ...message, sync, buffered: !sync, hintedFor, onSilent });
    standIns.acknowledged(id);
    counted.add(id);
  };
  /** The fallback that takes the place of one that failed or is silent; undefined where nobody is left. */
  const replace = (id: string) => {
    counted.delete(id);
    const [rather] = wantedFor(place, request, counted, spareInReach);
    const next = standIns.replace(id, (other) => node.peers.reachable(other), rather);
    if (next === undefined) return undefined;
    if (synced !== 'all' && synced.has(id)) synced.add(next);
    node.extra.charge();
    return next;
  };
  const spareInReach = () => standIns.spare().filter((id) => node.peers.reachable(id));
  const askForPlacement = () => {
    for (const next of wantedFor(place, request, counted, spareInReach)) {
      standIns.add(next);
      node.extra.charge();
      quorum.ask(next, send(next));
    }
  };
  const quorum: Quorum<void> = gatherQuorum({
    needed: request.w,
    deadline,
    deadlines: node.deadlines,
    asked: chosen.map(({ nodeId }) => [nodeId, nodeId === node.id ? committed : send(nodeId)]),
    satisfied: (answers) => isPlaced(place, request, answers, isSynced),
    onFailure(nodeId, error) {
      node.metrics.replicaFailed(nodeId, 'write', error);
      if (nodeId === node.id || node.clock.now() >= deadline) return undefined;
      const next = replace(nodeId);
      const instead = next === undefined ? undefined : ([next, send(next)] as const);
      askForPlacement();
      return instead;
    },
  });
  askForPlacement();
  void Promise.all([quorum.over, pending.over]).then(() => {
    return owe(node, storageKey, held, era, [...standIns.unmet(), ...pending.missed()]);
  });

  const outcome = await quorum.outcome;
  if (outcome === 'moved') throw quorum.moved;
  await pending.settled;
  node.metrics.stage.write_quorum.observe(node.clock.now() - changedAt);
  const receipt = receiptOf(quorum, place, dot, standIns, isSynced);
  receipt.acks.push(...pending.acks(synced === 'all'));
  receipt.pendingMissed = pending.missed();
  if (outcome === 'impossible') throw unmet(place, request, receipt);
  if (outcome === 'late') {
    const message = `${quorum.answers.length} of ${request.w} replicas had acknowledged when the deadline passed`;
    throw new Failure('DEADLINE', message, { outcome: 'UNKNOWN', receipt });
  }
  const { contexts } = node.validation;
  // Where the last writer wins it has replaced all that is in this clock.
  const covered = request.lastWriterWins ? join(request.context, held.record.clock) : request.context;
  const seen = others.reduce((context, other) => withDot(context, other), covered);
  const context = contexts.encode(answerContext(seen, dot), request.keyHash);
  const siblings = visibleSiblings(held.record, wallMs(node.clock)).length;
  node.metrics.siblings.observe(siblings);
  return { context, siblings, receipt };
}

/** From its beginning until it is committed. */
function traceOwnWrite({ tracing }: StorageNode, parent: string, startedAt: number, committed: Promise<void>): void {
  const span = tracing?.begin({ name: 'write own replica', kind: 'INTERNAL', startedAt }, parent);
  if (span !== undefined) void committed.then(() => span.end(), span.end);
}

/**
 * What of a write that is known counts still: in a later era its record may be covered, and that forgotten everywhere
 * (core/stability). Then it counts only if this copy has it.
 */
function knownStill(node: StorageNode, own: Held, known: Known | undefined, isMinted: boolean): KnownWrite | undefined {
  if (known === undefined || known.era >= node.barriers.era) return known;
  if (contains(own.record.clock, known.dot)) return { ...known, record: own.record };
  // To ask the replicas anew.
  if (!isMinted) throw new EraMoved(node.id, node.barriers.era);
  const message = 'what was written here has been handed on, and cannot be sent to more replicas';
  throw new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN' });
}

/** Whether this node may be asked for the key: one that leaves, and is not, says that it keeps nothing for anybody. */
function isListed(node: StorageNode, key: Uint8Array): boolean {
  return placeOf(currentRing(node), key).preference.some(({ id }) => id === node.id);
}

/** It would count as a fallback, which a strict namespace forbids; a home completes the write at a second attempt. */
function noHomeAnyMore(node: StorageNode): Failure {
  const message = `node ${node.id} is no home of the key any more, and the namespace allows no others`;
  return new Failure('NOT_ENOUGH_REPLICAS', message, { outcome: 'UNKNOWN' });
}

/** I3: what nobody else keeps for these homes, this node does. Unsynced: nothing that was answered rests on it. */
async function owe(
  node: StorageNode,
  key: Uint8Array,
  written: Held,
  era: number,
  homes: readonly string[],
): Promise<void> {
  if (homes.length === 0) return;
  const owed = (own: Held): Next => {
    // It may be covered by now, and forgotten (core/stability): whoever has got it tells the others. And so they do where
    // this node has left the ring meanwhile.
    if (own.bytes === undefined && (era < node.barriers.era || !isListed(node, key))) return unchanged;
    // Handed over to another home since, and gone: it is kept once more, for these.
    const kept = own.bytes === undefined ? { copy: { ...written, birth: undefined, owed: own.owed } } : unchanged;
    return homes.reduce<Next>((next, home) => node.hints.owe(own, next, home, key), kept);
  };
  try {
    await node.store.change(key, owed, false);
  } catch (error) {
    node.metrics.replicaFailed(node.id, 'write', error);
  }
}

/**
 * Changes the own record, synced or in the buffer, or fails at the deadline, or when it is cancelled; the change is then
 * never made (I2). Once it is made a cancel changes nothing: others may have it.
 */
function changeInTime(
  { clock, deadlines, store }: StorageNode,
  key: Uint8Array,
  { deadline, cancellation }: Until,
  decide: (own: Held) => Next | undefined,
  sync: boolean,
): Changed | Promise<Changed> {
  const late = () => new Failure('DEADLINE', 'the deadline passed before anything was written');
  let givenUp = false;
  const decideInTime = (own: Held) => {
    // The clock too: alarms are late where this process was stopped.
    if (givenUp || clock.now() >= deadline) throw late();
    if (cancellation.cancelled) throw new Cancelled('NOT_APPLIED');
    return decide(own);
  };
  const changed = store.changeNow(key, decideInTime, sync, !sync);
  if (changed !== undefined) return changed;
  return new Promise((resolve, reject) => {
    if (clock.now() >= deadline) throw late();
    const alarm = deadlines.set(deadline, () => {
      givenUp = true;
      reject(late());
    });
    store
      .change(key, decideInTime, sync, !sync)
      .then(resolve, reject)
      .finally(() => alarm.cancel());
  });
}

/** Only growth is refused: a put that replaces what is there, and every merge, must always be possible. */
function checkSize(bytes: number, bytesBefore: number, { recordBytesMax }: RequestLimits): void {
  if (bytes <= recordBytesMax || bytes <= bytesBefore) return;
  const message = `the siblings of this key would have ${bytes} bytes, the limit is ${recordBytesMax}; read and resolve them`;
  throw new Failure('VALUE_TOO_LARGE', message, { field: 'value' });
}

function checkSiblings(siblings: number, siblingsBefore: number, { siblingsMax }: RequestLimits): void {
  if (siblings <= siblingsMax || siblings <= siblingsBefore) return;
  const message = `this key would have ${siblings} siblings, the limit is ${siblingsMax}; read and resolve them`;
  throw new Failure('VALUE_TOO_LARGE', message, { field: 'context' });
}

function minting(node: StorageNode) {
  return { lineage: node.lineage(), newActor: () => node.random.u64() };
}

function receiptOf(
  quorum: Quorum<void>,
  { ring, preference }: Place,
  dot: Dot,
  standIns: StandIns,
  isSynced: (nodeId: string) => boolean,
): Receipt {
  const zoneOf = (nodeId: string) => preference.find(({ id }) => id === nodeId)?.zone ?? '';
  return {
    acks: quorum.answers.map(({ nodeId }) => {
      return {
        nodeId,
        zone: zoneOf(nodeId),
        durable: isSynced(nodeId),
        hintedFor: standIns.homeOf(nodeId) ?? '',
        pending: false,
      };
    }),
    dot: printDot(dot),
    ring: ring.version,
    pendingMissed: [],
  };
}

/** I2. */
function withUnknownOutcome(error: unknown): unknown {
  if (error instanceof RingMoved) {
    const message = 'the ring changed while it was written, and the deadline passed';
    return new Failure('DEADLINE', message, { outcome: 'UNKNOWN' });
  }
  if (!(error instanceof Failure) || error.outcome === 'UNKNOWN') return error;
  return new Failure(error.reason, error.message, { ...error.details, outcome: 'UNKNOWN' });
}
