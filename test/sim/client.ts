/**
 * A client: one operation after the other through the real dispatch, on a few keys that all clients share.
 * It adds to carts (read, merge, write), writes blindly, writes and deletes with the contexts it got, now and
 * then with an old one, and tries again under the same request id when it does not know what became of a
 * write.
 *
 * Owns what a client knows: its tokens. Hands every answer to the checks.
 */
import type { Durability, Operation, Placement, Receipt, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, Cancelling } from '../../services/core/cancellation.ts';
import { createContextCodec } from '../../services/core/codec/context.ts';
import { encodeDuration } from '../../services/core/codec/duration.ts';
import { Failure } from '../../services/core/failure.ts';
import { createExtraBudget } from '../../services/core/quorum/extra-budget.ts';
import { majority } from '../../services/core/quorum/tally.ts';
import { hashOfStorageKey } from '../../services/core/ring/storage-key.ts';
import type { CausalContext } from '../../services/core/versioning/causal-context.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { attemptsSavedMax, dispatch } from '../../services/platform/routing/dispatch.ts';
import { createRequestIds } from '../../services/platform/routing/request-ids.ts';
import { checkContext } from '../oracle/checks/contexts.ts';
import { type Copy, describe, itemsOf, mayBeHidden, mustBeHidden, type WriteAttempt } from '../oracle/ledger.ts';
import { Violation } from '../oracle/violation.ts';
import type { History } from './history.ts';
import { lastWriterWins, namespaceOf, storageKeyOf } from './keys.ts';
import type { Marks } from './marks.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import { createSimulatedPool } from './pool.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import { createWire } from './wire.ts';

/** A context, and what its client had seen when it got it. */
export interface Token {
  readonly bytes: Buffer;
  readonly seen: ReadonlySet<WriteAttempt>;
}

export interface ReadResult {
  readonly token: Token;
  readonly values: readonly Uint8Array[];
  readonly writes: ReadonlySet<WriteAttempt>;
  /** False: the token covers more than what was read. */
  readonly coversSession: boolean;
}

export interface ReadOptions {
  readonly r?: number | undefined;
  /** Nodes to send it to, in order. */
  readonly via: readonly string[];
  readonly session?: Token | undefined;
  readonly timeoutMs: number;
  /** See checks/reads.ts. */
  readonly faultsAreOver?: boolean;
}

export interface WriteOptions {
  readonly token?: Token | undefined;
  readonly w?: number | undefined;
  readonly via: readonly string[];
  readonly timeoutMs: number;
  /** How often it is tried again while its outcome is unknown. */
  readonly retries?: number;
  readonly durability?: Durability;
  /** 0: it stays. */
  readonly ttlMs?: number;
  readonly item?: string | undefined;
  readonly items?: readonly string[];
}

export interface Client {
  readonly name: string;
  /** Undefined where the read failed. */
  get(key: string, options: ReadOptions): Promise<ReadResult | undefined>;
  /** Undefined where it was not acknowledged. */
  put(key: string, options: WriteOptions): Promise<Token | undefined>;
  delete(key: string, options: WriteOptions & { readonly token: Token }): Promise<Token | undefined>;
  /** Sends an acknowledged write that had a request id once more; the dot of the answer, undefined where it failed. */
  again(attempt: WriteAttempt, options: Pick<WriteOptions, 'via' | 'timeoutMs'>): Promise<string | undefined>;
}

export interface ClientOptions {
  readonly name: string;
  readonly nodes: readonly string[];
  /** A share of its puts has to be in several zones. */
  readonly placement: { share(): number; zoneOf(node: string): string; hostOf(node: string): string };
  /** A share of its operations goes to one of these, instead of to nodes. */
  readonly routers: { readonly names: readonly string[]; share(): number };
  /** N. */
  readonly replicas: number;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly history: History;
  readonly marks: Marks;
  /** Of its operations it cancels, and tries again like others that fail. */
  cancelledShare(): number;
  /** How often a node has crashed: what only its memory had is gone then. */
  crashesOf(node: string): number;
  /** Marked down, or LEFT as such: nobody waits for what it alone has. */
  isGivenUp(node: string): boolean;
  /** Nothing is certain because a disk has it. */
  readonly damagesDisks: boolean;
  /** How much the wall clocks of two nodes may differ. */
  readonly clocksDifferMs: number;
}

/** By node: what may take its copy of a key from it, counted. */
type Mishaps = ReadonlyMap<string, { readonly crashes: number; readonly losses: number; readonly recordsLost: number }>;

export const emptyToken: Token = { bytes: Buffer.alloc(0), seen: new Set() };
const retryMs = { min: 1, max: 400 };
/** As long as most operations take. */
const cancelWithinMs = 40;
/** More than any write was tried. */
const lateAttempt = 9;

export function createClient(options: ClientOptions): Client {
  const {
    name,
    nodes,
    routers,
    placement,
    replicas,
    scheduler,
    random,
    network,
    oracle,
    history,
    marks,
    crashesOf,
    isGivenUp,
    damagesDisks,
  } = options;
  const { clocksDifferMs } = options;
  const { ledger } = oracle;
  const contexts = createContextCodec(xxh64);
  const newRequestId = createRequestIds(random.fork('request ids'));
  const extra = createExtraBudget(attemptsSavedMax);
  const wire = createWire({
    from: name,
    others: [...nodes, ...routers.names],
    network,
    scheduler,
    random: random.fork('wire'),
    alive: () => true,
  });
  const sending = { wire, forwarded: false, random: random.fork('sending') };
  const pool = createSimulatedPool({ ...sending, scheduler, oracle, after: scheduler.after });
  const cancels = random.fork('cancels');
  const clock = { now: () => scheduler.now() };
  const routing = random.fork('routing');
  const placing = random.fork('placing');

  async function send(
    key: string,
    operation: Omit<Operation, 'id' | 'timeoutMs'>,
    via: readonly string[],
    timeoutMs: number,
  ) {
    const deadline = scheduler.now() + timeoutMs;
    const isRouted = routers.names.length > 0 && routing.chance(routers.share());
    const addresses = isRouted ? routing.shuffled(routers.names) : via;
    const cancellation = new Cancelling();
    const share = options.cancelledShare();
    if (share > 0 && cancels.chance(share))
      scheduler.after(cancels.between(0, cancelWithinMs), () => cancellation.cancel());
    try {
      return await dispatch(
        { pool, clock, extra, newRequestId },
        addresses,
        { ...operation, timeoutMs },
        {
          deadline,
          cancellation,
        },
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error instanceof Cancelled) marks.add('an operation was cancelled');
      if (error.reason === 'INTERNAL' || error.reason.endsWith('INVALID')) {
        throw new Violation('no bug', `an operation on ${key} was answered ${error.reason}: ${error.message}`);
      }
      return error;
    }
  }

  function decode(key: string, bytes: Uint8Array): CausalContext {
    return contexts.decode(bytes, hashOfStorageKey(storageKeyOf(key)));
  }

  async function get(
    key: string,
    { r, via, session, timeoutMs, faultsAreOver = false }: ReadOptions,
  ): Promise<ReadResult | undefined> {
    const startedAt = scheduler.now();
    const sessionContext = session?.bytes ?? Buffer.alloc(0);
    const request = { ...addressOf(key), r, sessionContext, maxBytes: 0, dots: [] };
    const answer = await send(key, { get: request }, via, timeoutMs);
    if (answer instanceof Failure || answer.get === undefined) {
      history.note('get failed', name, `${key} ${answer instanceof Failure ? answer.reason : ''}`);
      return undefined;
    }
    const { siblings, context, certificate } = answer.get;
    const where = `a get of ${key} by ${name} at ${startedAt.toFixed(3)}`;
    history.note('got', name, `${key} r=${r ?? '-'} ${siblings.map(({ dot }) => dot).join(' ')}`);
    const homes = certificate?.homesAnswered ?? 0;
    if (homes < (r ?? majority(replicas))) marks.add('a read rested on a fallback');
    const answeredAt = scheduler.now();
    const writes = oracle.reads.answered({ key, r: homes, faultsAreOver, startedAt, answeredAt, siblings, where });
    const seen = new Set([...writes, ...(session?.seen ?? [])]);
    const sent = session === undefined ? [] : decode(key, session.bytes);
    const hides = lastWriterWins(key);
    checkContext(ledger, { key, context: decode(key, context), sent, seen, now: answeredAt, hides, where });
    const coversSession = certificate?.coversSession ?? false;
    if (coversSession && hides) {
      const known = [...(session?.seen ?? [])];
      oracle.lastWriter.answered({ key, siblings, known, answeredAt, where: `${where}, for a session it covers,` });
    } else if (coversSession) checkSession(session, writes, where);
    markRead(writes, coversSession, context.length > 0);
    for (const write of ledger.writesOf(key)) {
      if (mustBeHidden(write, startedAt) && write.replacedBy.size === 0) marks.add('a value had expired');
    }
    return { token: { bytes: context, seen }, values: siblings.map(({ value }) => value), writes, coversSession };
  }

  /** P7. */
  function checkSession(session: Token | undefined, read: ReadonlySet<WriteAttempt>, where: string): void {
    for (const write of session?.seen ?? []) {
      if (write.kind === 'delete' || read.has(write) || write.replacedBy.size > 0) continue;
      if (mayBeHidden(write, scheduler.now())) continue;
      throw new Violation('P7', `${where} says that it covers the session, which had seen ${describe(write)}`);
    }
  }

  function markRead(writes: ReadonlySet<WriteAttempt>, coversSession: boolean, knows: boolean): void {
    if (writes.size >= 3) marks.add('a read saw three siblings');
    if (writes.size === 0 && knows) marks.add('a read found nothing but a context');
    if (!coversSession) marks.add('a read could not show its session');
    for (const write of writes) {
      if (write.outcome === 'unknown') marks.add('a write of unknown outcome turned out to be applied');
    }
  }

  async function write(kind: 'put' | 'delete', key: string, options: WriteOptions): Promise<Token | undefined> {
    const { token = emptyToken, w, via, timeoutMs, retries = 0, durability = 0, ttlMs = 0, item, items = [] } = options;
    const context = decode(key, token.bytes);
    // Without one of its own dispatch gives it one, which does not outlive the call.
    const requestId = retries > 0 || random.chance(0.5) ? newRequestId() : undefined;
    const attempt = ledger.begin({
      kind,
      key,
      client: name,
      w: w ?? majority(replicas),
      requestId,
      context,
      replaces: token.seen,
      item,
      items,
      ttl: ttlMs === 0 ? undefined : { ms: ttlMs, clocksDifferMs },
      startedAt: scheduler.now(),
    });
    history.note(`${kind}s`, name, `#${attempt.number} ${key} w=${w ?? '-'} durability=${durability}`);
    const common = { ...addressOf(key), context: token.bytes, w, durability };
    const require = kind === 'put' ? requirement() : undefined;
    let mayBeApplied = false;
    for (let tried = 0; ; tried++) {
      const known = new Set(attempt.dots);
      const before = mishapsOf(key);
      const request = { ...common, requestId: requestId ?? Buffer.alloc(0), attempt: tried };
      const operation =
        attempt.value === undefined
          ? { delete: request }
          : {
              put: {
                ...request,
                value: attempt.value,
                ttl: ttlMs === 0 ? undefined : encodeDuration(ttlMs),
                require,
              },
            };
      const answer = await send(key, operation, tried === 0 ? via : random.shuffled(via), timeoutMs);
      if (!(answer instanceof Failure)) {
        checkPlacement(attempt, require, answer);
        return acknowledged(attempt, token, answer, known, before);
      }
      const dot = answer.details.receipt?.dot;
      if (dot !== undefined && dot !== '') oracle.dots.named(dot, attempt, 'the receipt of a failure');
      mayBeApplied ||= answer.outcome === 'UNKNOWN';
      history.note(`${kind} failed`, name, `#${attempt.number} ${answer.reason} ${answer.outcome}`);
      if (tried >= retries || !mayBeApplied) break;
      await scheduler.sleep(random.between(retryMs.min, retryMs.max));
    }
    ledger.end(attempt, mayBeApplied ? 'unknown' : 'not applied', scheduler.now());
    if (mayBeApplied) return undefined;
    marks.add('a write said to be not applied');
    if (attempt.dots.size > 0) throw new Violation('P5', `${describe(attempt)} was said to be not applied`);
    return undefined;
  }

  async function again(
    attempt: WriteAttempt,
    { via, timeoutMs }: Pick<WriteOptions, 'via' | 'timeoutMs'>,
  ): Promise<string | undefined> {
    const { key, value, ttl } = attempt;
    const request = {
      ...{ ...addressOf(key), requestId: attempt.requestId ?? Buffer.alloc(0), attempt: lateAttempt },
      context: Buffer.from(contexts.encode(attempt.context, hashOfStorageKey(storageKeyOf(key)))),
      ...{ w: attempt.w, durability: 0 as const },
    };
    const expiry = ttl && encodeDuration(ttl.ms);
    const operation =
      value === undefined ? { delete: request } : { put: { ...request, value, ttl: expiry, require: undefined } };
    history.note('again', name, `#${attempt.number} ${key}`);
    const answer = await send(key, operation, via, timeoutMs);
    return answer instanceof Failure ? undefined : (answer.put ?? answer.delete)?.receipt?.dot;
  }

  function requirement(): Placement | undefined {
    const share = placement.share();
    if (share === 0 || !placing.chance(share)) return undefined;
    return { durable: placing.below(2), hosts: 1 + placing.below(replicas), zones: 1 + placing.below(replicas) };
  }

  /** P8: it is not acknowledged where it has not been asked to be. */
  function checkPlacement(attempt: WriteAttempt, require: Placement | undefined, { put }: Omit<Result, 'id'>): void {
    if (require === undefined) return;
    const acks = (put?.receipt?.acks ?? []).filter(({ pending }) => !pending);
    const distinct = (of: (node: string) => string) => new Set(acks.map(({ nodeId }) => of(nodeId))).size;
    const zones = distinct(placement.zoneOf);
    const hosts = distinct(placement.hostOf);
    const durable = acks.filter((ack) => ack.durable).length;
    if (zones >= 2 && require.zones >= 2 && acks.some(({ hintedFor }) => hintedFor !== ''))
      marks.add('a fallback took part in what had to be in several zones');
    if (durable >= require.durable && hosts >= require.hosts && zones >= require.zones) return;
    const [wanted, there] = [JSON.stringify(require), JSON.stringify({ durable, hosts, zones })];
    throw new Violation('P8', `${describe(attempt)} was acknowledged: ${wanted} was wanted, ${there} is there`);
  }

  function acknowledged(
    attempt: WriteAttempt,
    sent: Token,
    answer: Omit<Result, 'id'>,
    dotsBefore: ReadonlySet<string>,
    mishapsBefore: Mishaps,
  ): Token {
    const response = answer.put ?? answer.delete;
    if (response === undefined) throw new Violation('no bug', `${describe(attempt)} was answered with something else`);
    const dot = response.receipt?.dot ?? '';
    const where = `the answer to ${attempt.kind} #${attempt.number}`;
    oracle.dots.named(dot, attempt, where);
    const acks = response.receipt?.acks ?? [];
    const missed = response.receipt?.pendingMissed.length ?? 0;
    if (missed > 0) marks.add('a pending owner missed a write');
    const homes = acks.filter(({ hintedFor, pending }) => hintedFor === '' && !pending).length - missed;
    const copies = copiesOf(attempt.key, acks, missed, mishapsBefore);
    acks.forEach(({ nodeId, hintedFor: home }, i) => {
      if (home === '') return;
      const isHintLost = () => oracle.recordsLostOf(nodeId, attempt.key) !== mishapsBefore.get(nodeId)?.recordsLost;
      const isLost = () => isHintLost() || (copies?.[i]?.isLost() ?? false);
      oracle.owed.push({ write: attempt, dot, home, isLost });
    });
    if (homes + missed === 0) marks.add('a write was acknowledged by fallbacks alone');
    ledger.end(attempt, 'acknowledged', scheduler.now(), homes, copies);
    history.note(`${attempt.kind} done`, name, `#${attempt.number} ${dot}`);
    if (attempt.kind === 'put' && dotsBefore.has(dot)) marks.add('a known request id was answered with its dot');
    const seen = new Set([...sent.seen, attempt]);
    const { key, context: before } = attempt;
    const context = decode(key, response.context);
    const hides = lastWriterWins(key);
    checkContext(ledger, { key, context, sent: before, seen, dot, now: scheduler.now(), hides, where });
    return { bytes: response.context, seen };
  }

  function mishapsOf(key: string): Mishaps {
    const ofNode = (node: string) => ({
      crashes: crashesOf(node),
      losses: oracle.lossesOf(node, key),
      recordsLost: oracle.recordsLostOf(node, key),
    });
    return new Map(nodes.map((node) => [node, ofNode(node)]));
  }

  /** Undefined where all of them have it on disk, and disks keep it. */
  function copiesOf(key: string, acks: Receipt['acks'], missed: number, before: Mishaps): readonly Copy[] | undefined {
    const synced = acks.filter(({ durable }) => durable).length;
    if (synced === acks.length && !damagesDisks) return undefined;
    if (synced === 0) marks.add('a write was acknowledged from memories alone');
    const givenUp = acks.map(({ nodeId }) => isGivenUp(nodeId));
    const copies = acks.map(({ nodeId, durable, hintedFor, pending }, i) => ({
      isHome: hintedFor === '' && !pending,
      isPending: pending,
      isLost() {
        if (givenUp[i] === true) return true;
        const crashed = !durable && crashesOf(nodeId) !== before.get(nodeId)?.crashes;
        if (crashed) marks.add('a crash lost what only a memory had');
        // A fallback may have given it to its home, and the home may have lost it.
        const holders = hintedFor === '' ? [nodeId] : [nodeId, hintedFor];
        return crashed || holders.some((node) => oracle.lossesOf(node, key) !== before.get(node)?.losses);
      },
    }));
    return [...copies, ...Array<Copy>(missed).fill({ isHome: false, isPending: true, isLost: () => true })];
  }

  return {
    name,
    get,
    put: (key, put) => write('put', key, put),
    delete: (key, remove) => write('delete', key, remove),
    again,
  };
}

function addressOf(key: string) {
  return { namespace: namespaceOf(key), key: Buffer.from(key) };
}

/** A shopper's merge: every item of every sibling, and one more. */
export function withItem(values: readonly Uint8Array[], item: string): readonly string[] {
  return [...new Set([...values.flatMap((value) => itemsOf(value)), item])].sort();
}
