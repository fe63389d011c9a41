/**
 * One put or delete, run by a home of its key; operations.ts has validated and placed it:
 *
 *   change the own record, minting a dot → send the record to the other homes → answer at W
 *   → what is still under way goes on
 *
 * I1 The dot is in the overlay before it is sent anywhere (record-store.ts, I2).
 * I2 Until the own record is changed a failure is NOT_APPLIED; from then on it is UNKNOWN.
 */
import type { DeleteResponse, PutResponse, Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import type { RequestLimits } from '../core/requests/limits.ts';
import type { ValidPut, ValidWrite } from '../core/requests/validate.ts';
import { type Dot, printDot } from '../core/versioning/causal-context.ts';
import { answerContext, visibleSiblings } from '../core/versioning/record.ts';
import { applyDelete, applyPut, type Copy, type Written } from '../core/versioning/write.ts';
import { notEnoughReplicas, type Place, reachableHomes, type StorageNode } from './node.ts';
import { gatherQuorum, type Quorum } from './quorum.ts';
import type { Changed, Held, Next } from './record-store.ts';

export function coordinatePut(node: StorageNode, place: Place, put: ValidPut, deadline: number): Promise<PutResponse> {
  // A broken wall clock must not break the record (it decides nothing).
  const writtenAtMs = Math.max(0, Math.floor(node.clock.wallNow())) || 0;
  return write(node, place, put, deadline, (copy) => applyPut(copy, { ...put, writtenAtMs }, minting(node)));
}

export function coordinateDelete(
  node: StorageNode,
  place: Place,
  remove: ValidWrite,
  deadline: number,
): Promise<DeleteResponse> {
  return write(node, place, remove, deadline, (copy) => applyDelete(copy, remove.context, minting(node)));
}

async function write(
  node: StorageNode,
  place: Place,
  request: ValidWrite,
  deadline: number,
  apply: (copy: Copy) => Written,
): Promise<PutResponse> {
  const homes = reachableHomes(node, place);
  if (homes.length < request.w) throw notEnoughReplicas(place, request.w, homes.length);

  let written: Written | undefined;
  const { held, committed } = await changeInTime(node, request.storageKey, deadline, (own) => {
    written = apply(own);
    if (!written.fresh) return undefined;
    const { birth, record } = written.copy;
    const bytes = node.records.encode(record);
    checkSize(bytes.length, own.bytes?.length ?? 0, node.validation.limits);
    checkSiblings(record.siblings.length, own.record.siblings.length, node.validation.limits);
    return { birth, record, bytes };
  });
  const { dot, entriesCut } = written as unknown as Written;
  node.metrics.entriesCut.add(entriesCut);

  const message = { key: request.storageKey, record: held.bytes as Uint8Array, sync: true, deadline };
  // Async: a node that left the ring since then has failed, and throws here.
  const send = async (id: string) => node.peers.replica(id).write(message);
  const quorum = gatherQuorum({
    needed: request.w,
    deadline,
    deadlines: node.deadlines,
    asked: homes.map(({ id }) => [id, id === node.id ? committed : send(id)]),
    onFailure: (nodeId, error) => node.metrics.replicaFailed(nodeId, 'write', error),
  });

  const outcome = await quorum.outcome;
  const receipt = receiptOf(quorum, place, dot);
  if (outcome === 'impossible') throw notEnoughReplicas(place, request.w, quorum.answers.length, receipt);
  if (outcome === 'late') {
    const message = `${quorum.answers.length} of ${request.w} replicas had acknowledged when the deadline passed`;
    throw new Failure('DEADLINE', message, { outcome: 'UNKNOWN', receipt });
  }
  const { contexts } = node.validation;
  const context = contexts.encode(answerContext(request.context, dot), request.keyHash);
  return { context: Buffer.from(context), siblings: visibleSiblings(held.record).length, receipt };
}

/** Changes the own record, synced, or fails at the deadline; the change is then never made (I2). */
function changeInTime(
  { clock, deadlines, store }: StorageNode,
  key: Uint8Array,
  deadline: number,
  decide: (own: Held) => Next | undefined,
): Promise<Changed> {
  return new Promise((resolve, reject) => {
    const late = () => new Failure('DEADLINE', 'the deadline passed before anything was written');
    if (clock.now() >= deadline) throw late();
    const alarm = deadlines.set(deadline, () => reject(late()));
    const decideInTime = (own: Held) => {
      if (!alarm.armed) throw late();
      return decide(own);
    };
    store
      .change(key, decideInTime, true)
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

function receiptOf(quorum: Quorum<void>, { ring, homes }: Place, dot: Dot): Receipt {
  const zoneOf = (nodeId: string) => homes.find(({ id }) => id === nodeId)?.zone ?? '';
  return {
    acks: quorum.answers.map(({ nodeId }) => ({ nodeId, zone: zoneOf(nodeId), durable: true, hintedFor: '' })),
    dot: printDot(dot),
    ring: ring.version,
  };
}
