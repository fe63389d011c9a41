/**
 * Hinted handoff (DeCandia et al. 2007, 4.6): what is owed to a node is delivered when it answers again.
 *
 *   a page of hints ─► each: the record as it is now ─► the home has synced it ─► the hint goes, and a record
 *                                                                                  that does not belong here
 *
 * I1 One handoff a node at a time, tried for ever, ever rarer while it fails.
 * I2 A hint goes only when its home has synced the record, and only if the record is still the one that was sent:
 *    what came meanwhile is owed still. (Or it goes with a record that is handed back to others while the home is DOWN:
 *    hand-back.ts.)
 * I3 A record goes with its last hint where this node is no home of it, in the same step (record-store.ts, I1). Its
 *    birth goes with it: the next write of the key here gets a new one (core/versioning/birth.ts).
 * I4 While nothing is owed there is no timer.
 * I5 Where the ring has given the partition to others meanwhile, the hint goes and the record stays: it is handed back to
 *    those that own it now (transfers.ts), or compared with them (exchanges.ts) where this node is one of them. So it is with
 *    all that is owed to a node that has left, whether that can still be reached or not: its disk may have been lost.
 * I6 What is owed is counted, and a count that nothing in the index bears out is mended: a hint whose record was lost with
 *    a part of the disk is counted twice where the key is written once more.
 * I7 A record that cannot be read here or taken there keeps no other from being delivered. Where nothing of a page can
 *    be, the handoff ends, and begins anew later.
 */
import { decodeHintNote, hintKey, hintsOf, parseHintKey } from '../core/codec/hint.ts';
import type { Metrics } from '../core/ports.ts';
import { nameOfNode, nodeById } from '../core/ring/ring.ts';
import { sameBytes } from '../core/versioning/record.ts';
import type { Admission } from './background.ts';
import { isServedBy, type Place, placeOf, type StorageNode } from './node.ts';
import { CorruptRecord, type Held, type Next, nothingHeld, unchanged } from './record-store.ts';

/** Records in flight to one node: few, because foreground writes use the same stream. The governor lets each page on. */
const pageHints = 16;
const writeTimeoutMs = 5_000;
/** How often is looked who answers again, beside being told so. */
const lookEveryMs = 200;
const retryMsMin = 250;
const retryMsMax = 10_000;

export interface Handoff {
  /** What the last run left is delivered too. Before it resolves (all is counted) nothing may be changed. */
  start(): Promise<void>;
  /** Of each node that something is owed to: delivered since its handoff began, and for how long that has gone on. */
  progress(nodeId: string): { readonly delivered: number; readonly ms: number } | undefined;
  /** Not all that is owed to the node could be delivered when it was last tried, though it could be reached. */
  isRefused(nodeId: string): boolean;
  /** Begins nothing any more. What is under way fails with the streams. */
  stop(): void;
}

interface Course {
  readonly startedAt: number;
  delivered: number;
}

export function createHandoff(node: StorageNode, measures: Metrics): Handoff {
  const { barriers, clock, random, hints, peers, store, metrics } = node;
  const courses = new Map<string, Course>();
  /** After a failure: not before then, and then twice as long. */
  const pauses = new Map<string, { until: number; ms: number }>();
  let timer: (() => void) | undefined;
  let stopped = false;
  measures.gauge('cartwheel_hints_deliverable', 'Records owed to homes that can be reached', () => {
    return hints.nodes().reduce((sum, nodeId) => sum + (peers.reachable(nodeId) ? hints.count(nodeId) : 0), 0);
  });

  function look(): void {
    timer = undefined;
    const owed = hints.nodes();
    for (const nodeId of owed) begin(nodeId);
    if (owed.length > 0) watch();
  }

  function watch(): void {
    if (!stopped && !barriers.isLeftBehind) timer ??= clock.after(lookEveryMs, look);
  }

  function begin(nodeId: string): void {
    const paused = (pauses.get(nodeId)?.until ?? 0) > clock.now();
    if (stopped || paused || barriers.isLeftBehind || courses.has(nodeId) || hints.count(nodeId) === 0) return;
    if (!peers.reachable(nodeId) && !hasLeft(nodeId)) return;
    const course: Course = { startedAt: clock.now(), delivered: 0 };
    courses.set(nodeId, course);
    void run(nodeId, course);
  }

  /** Nothing is delivered to it any more, so it need not be there (I5). */
  function hasLeft(nodeId: string): boolean {
    const ring = node.ring();
    return ring !== undefined && nodeById(ring, nodeId)?.status === 'LEFT';
  }

  async function run(nodeId: string, course: Course): Promise<void> {
    const task = node.background.begin('handoff', `hints to ${nameOfNode(node.ring(), nodeId)}`);
    try {
      await deliverAll(nodeId, course, task);
      pauses.delete(nodeId);
    } catch (error) {
      metrics.replicaFailed(nodeId, 'handoff', error);
      const ms = Math.min((pauses.get(nodeId)?.ms ?? retryMsMin / 2) * 2, retryMsMax);
      pauses.set(nodeId, { until: clock.now() + ms / 2 + random.below(ms), ms });
    }
    task.end();
    courses.delete(nodeId);
    if (hints.count(nodeId) > 0) watch();
  }

  async function deliverAll(nodeId: string, course: Course, { admit, reached }: Admission): Promise<void> {
    const { start, end } = hintsOf(nodeId);
    let failure: PromiseRejectedResult | undefined;
    let from: Uint8Array | undefined = start;
    let found = 0;
    while (from !== undefined && !stopped) {
      const page = await node.engine.scan('hints', from, end, pageHints);
      found += page.entries.length;
      await admit(
        page.entries.length,
        page.entries.reduce((sum, [, note]) => sum + decodeHintNote(note).recordBytes, 0),
      );
      const delivered = await Promise.allSettled(
        page.entries.map(async ([key]) => {
          await deliver(nodeId, parseHintKey(key).key);
          course.delivered++;
        }),
      );
      reached(course.delivered / (course.delivered + hints.count(nodeId)));
      const failed = delivered.filter((result) => result.status === 'rejected');
      failure ??= failed[0];
      // A corrupt record is owed still, once it is repaired; it keeps no other from being delivered.
      const refused = failed.filter(({ reason }) => !(reason instanceof CorruptRecord));
      from = refused.length > 0 && failed.length === delivered.length ? undefined : page.next;
    }
    if (failure !== undefined) throw failure.reason;
    // What is on its way to the index is counted already (I6).
    if (found === 0 && store.pendingRecords === 0) await hints.recount(nodeId);
  }

  async function deliver(nodeId: string, key: Uint8Array): Promise<void> {
    let era = 0;
    const look = () => {
      era = node.barriers.era;
      return undefined;
    };
    const { held: sent } = await store.change(key, look, false);
    if (sent.bytes === undefined || !sent.owed.includes(nodeId)) {
      await forgetOrphan(nodeId, key);
      return;
    }
    const place = placeNow(key);
    if (place !== undefined && !isServedBy(place, nodeId)) {
      await store.change(key, (now) => withoutOwed(now, nodeId, key), false);
      return;
    }
    const deadline = clock.now() + writeTimeoutMs;
    await peers.replica(nodeId).write({ key, record: sent.bytes, era, sync: true, hintedFor: '', deadline });
    await store.change(key, (now) => withoutHint(now, sent, nodeId, key), false);
    metrics.hintsDelivered.add(1);
  }

  /**
   * A hint whose record is gone, with what was lost of this node's disk (refill.ts). Mostly there is none: what was read of
   * the index is older than the record. Nobody else takes a hint of this node away (I1), so the look tells.
   */
  async function forgetOrphan(nodeId: string, key: Uint8Array): Promise<void> {
    await store.flush();
    const [hint] = await node.engine.getMany('hints', [hintKey(nodeId, key)]);
    if (hint === undefined) return;
    let isOrphan = false;
    const { committed } = await store.change(
      key,
      (now) => {
        isOrphan = !now.owed.includes(nodeId);
        return isOrphan ? { also: [{ space: 'hints', key: hintKey(nodeId, key), value: undefined }] } : unchanged;
      },
      false,
    );
    await committed;
    if (isOrphan) hints.changed(nodeId, -1);
  }

  /** I2, I3. */
  function withoutHint(now: Held, sent: Held, nodeId: string, key: Uint8Array): Next {
    const isSame = now.bytes !== undefined && sameBytes(now.bytes, sent.bytes as Uint8Array);
    if (!isSame || !now.owed.includes(nodeId)) return unchanged;
    const owed = now.owed.filter((id) => id !== nodeId);
    return { copy: owed.length === 0 && !isKeptHere(key, nodeId) ? nothingHeld : { ...now, owed } };
  }

  /** I5. */
  function withoutOwed(now: Held, nodeId: string, key: Uint8Array): Next {
    if (!now.owed.includes(nodeId)) return unchanged;
    // As the ring numbers it now, not as it did when the record was read.
    const place = placeNow(key);
    if (place !== undefined && !isServedBy(place, node.id)) node.leftovers.add(place.partition);
    return { copy: { ...now, owed: now.owed.filter((id) => id !== nodeId) } };
  }

  function placeNow(key: Uint8Array): Place | undefined {
    const ring = node.ring();
    return ring && placeOf(ring, key);
  }

  /** Left to a hand-over or a hand-back (hand-over.ts, hand-back.ts), which may have passed it by already. */
  function isKeptHere(key: Uint8Array, delivered: string): boolean {
    const place = placeNow(key);
    if (place === undefined || isServedBy(place, node.id)) return true;
    const isLeft = node.leftovers.has(place.partition);
    if (isLeft) node.leftovers.add(place.partition);
    return hints.markAgain(key, delivered) || isLeft;
  }

  peers.onReachable((nodeId) => {
    pauses.delete(nodeId);
    begin(nodeId);
  });
  hints.onAdded(() => watch());

  return {
    async start() {
      await hints.open();
      if (hints.nodes().length > 0) watch();
    },
    progress(nodeId) {
      const course = courses.get(nodeId);
      return course && { delivered: course.delivered, ms: clock.now() - course.startedAt };
    },
    isRefused: (nodeId) => pauses.has(nodeId),
    stop() {
      stopped = true;
      timer?.();
    },
  };
}
