/**
 * Sessions to any number of routers or storage nodes, by address: opened at first need, opened again after a
 * loss (not at once, and not all at the same time). For routers, for storage nodes that send operations on,
 * and for the client.
 */
import type { Result, RingVersion, SessionWelcome } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cancellation, Cancelled, neverCancelled } from '../../core/cancellation.ts';
import { createDeadlines } from '../../core/deadlines.ts';
import { Failure } from '../../core/failure.ts';
import type { Clock, Random } from '../../core/ports.ts';
import { encodeVersion } from '../../core/ring/codec.ts';
import type { Ring } from '../../core/ring/ring.ts';
import { type Hop, type OperationBody, openSession, type SessionClient } from '../streams/session-client.ts';

const retryDelayMsMin = 50;
const retryDelayMsMax = 2_000;

export interface SessionPool {
  /** Keeps a session open to each of these, and to no other: what is sent elsewhere still has one until that is lost. */
  keep(addresses: readonly string[]): void;
  /** The same, and opens none: that is left to what is sent. */
  keepOnly(addresses: readonly string[]): void;
  /** What is sent there now goes out at once, and nothing there is overdue. */
  ready(address: string): boolean;
  inFlight(address: string): number;
  /**
   * Resolves with the result, or with the failure of the session. A session that is not there yet is waited for.
   * Without an answer for `patienceMs` it resolves with Failure DEADLINE, and the address is not ready until it
   * answers something again, or welcomes a session: a process that is stopped keeps its connection. Once it is
   * cancelled it resolves with Cancelled, at once, and the other end is told.
   */
  send(
    address: string,
    body: OperationBody,
    patienceMs: number,
    cancellation?: Cancellation,
  ): Promise<Result | Failure>;
  close(): void;
}

export interface SessionPoolOptions {
  /** name/version, for the servers' logs. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly hop?: Hop;
  /** By which operations are placed: a storage node that it has at another address than it listens on is not spoken to. */
  ring?(): Ring | undefined;
  /** Of the ring: nobody of another one is spoken to. Empty: not known. */
  clusterId?(): string;
}

interface Slot {
  /** The newest, by which the address is ready or not. */
  session: SessionClient | undefined;
  /** It, and those that were told to go and still owe answers. */
  readonly sessions: Set<SessionClient>;
  overdue: boolean;
  retryDelayMs: number;
  cancelRetry: () => void;
}

export function createSessionPool(options: SessionPoolOptions): SessionPool {
  const { name, clock, random, hop } = options;
  const deadlines = createDeadlines(clock);
  const slots = new Map<string, Slot>();
  /** Undefined: any address. */
  let wanted: ReadonlySet<string> | undefined;
  let closed = false;

  function slotOf(address: string): Slot {
    let slot = slots.get(address);
    if (slot === undefined) {
      slot = {
        session: undefined,
        sessions: new Set(),
        overdue: false,
        retryDelayMs: retryDelayMsMin,
        cancelRetry: () => {},
      };
      slots.set(address, slot);
    }
    return slot;
  }

  function open(address: string, slot: Slot): SessionClient {
    slot.cancelRetry();
    let wasReady = false;
    const session = openSession({
      address,
      name,
      hop,
      ring: versionOf(options.ring?.()),
      strangerIn: (welcome) => strangerIn(welcome, address, options.ring?.(), options.clusterId?.() ?? ''),
      now: () => clock.now(),
      endOfTurn: (run) => clock.endOfTurn(run),
      after: (ms, run) => clock.after(ms, run),
      onReady() {
        wasReady = true;
        judge(slot, session, false);
      },
      onClose() {
        slot.sessions.delete(session);
        if (slot.session !== session) return;
        slot.session = undefined;
        retry(address, slot, wasReady);
      },
    });
    slot.session = session;
    slot.sessions.add(session);
    slot.overdue = false;
    return session;
  }

  /** Who owes or gives an answer on an earlier session may be another process than the one that is there now. */
  function judge(slot: Slot, session: SessionClient, isOverdue: boolean): void {
    if (slot.session === session) slot.overdue = isOverdue;
  }

  function retry(address: string, slot: Slot, wasReady: boolean): void {
    if (closed || slots.get(address) !== slot) return;
    if (wanted?.has(address) === false) {
      drop(address, slot);
      return;
    }
    if (wasReady) slot.retryDelayMs = retryDelayMsMin;
    slot.cancelRetry = clock.after(slot.retryDelayMs / 2 + random.below(slot.retryDelayMs), () => open(address, slot));
    slot.retryDelayMs = Math.min(slot.retryDelayMs * 2, retryDelayMsMax);
  }

  function drop(address: string, slot: Slot): void {
    slots.delete(address);
    slot.cancelRetry();
    for (const session of slot.sessions) session.close();
  }

  function keepOnly(addresses: readonly string[]): void {
    if (closed) return;
    wanted = new Set(addresses);
    for (const [address, slot] of [...slots]) if (!wanted.has(address)) drop(address, slot);
  }

  return {
    keep(addresses) {
      if (closed) return;
      keepOnly(addresses);
      for (const address of addresses) if (!slots.has(address)) open(address, slotOf(address));
    },
    keepOnly,

    ready(address) {
      const slot = slots.get(address);
      return slot?.session?.ready === true && !slot.overdue;
    },
    inFlight: (address) => slots.get(address)?.session?.inFlight ?? 0,

    send(address, body, patienceMs, cancellation = neverCancelled) {
      if (cancellation.cancelled) return Promise.resolve(new Cancelled('NOT_APPLIED'));
      if (closed) return Promise.resolve(new Failure('DRAINING', 'the sessions are closed'));
      // First of all: what has no size is thrown before an alarm is set for it.
      const bytes = sizeOf(body);
      const slot = slotOf(address);
      const session = slot.session?.open ? slot.session : open(address, slot);
      return new Promise((resolve) => {
        const giveUp = (failure: Failure) => {
          settle(failure);
          session.cancel(id);
        };
        const alarm = deadlines.set(clock.now() + patienceMs, () => {
          judge(slot, session, true);
          const message = `no answer from ${address} within ${Math.ceil(patienceMs)} ms`;
          giveUp(new Failure('DEADLINE', message, { outcome: 'UNKNOWN' }));
        });
        const forget = cancellation.onCancel(() => giveUp(new Cancelled('UNKNOWN')));
        const settle = (answer: Result | Failure) => {
          alarm.cancel();
          forget();
          resolve(answer);
        };
        const id = session.send(body, bytes, (answer) => {
          // What is refused here says nothing of who is there.
          if (!(answer instanceof Failure)) judge(slot, session, false);
          settle(answer);
        });
      });
    },

    close() {
      closed = true;
      for (const [address, slot] of [...slots]) drop(address, slot);
      // What a cancelled alarm leaves would keep a program alive until it is due.
      deadlines.close();
    },
  };
}

/** Several nodes may have the address: one that is lost, and the one that takes its place. */
function strangerIn(
  { nodeId, clusterId: theirs }: SessionWelcome,
  address: string,
  ring: Ring | undefined,
  clusterId: string,
): string | undefined {
  if (clusterId !== '' && theirs !== '' && theirs !== clusterId)
    return `it is of cluster ${theirs}, and cluster ${clusterId} was meant`;
  const there = ring?.nodes.filter((node) => node.address === address && node.status !== 'LEFT') ?? [];
  if (nodeId === '' || there.length === 0 || there.some(({ id }) => id === nodeId)) return undefined;
  return `node ${nodeId} listens there, which is not the one that was meant`;
}

function versionOf(ring: Ring | undefined): RingVersion | undefined {
  return ring && encodeVersion(ring.version);
}

/** Roughly: it decides when a frame is full, and what is in flight. */
function sizeOf({ get, put, delete: remove, traceparent }: OperationBody): number {
  const request = put ?? get ?? remove;
  const write = put ?? remove;
  const context = write?.context ?? get?.sessionContext;
  let bytes = 64 + (request?.key.length ?? 0) + (context?.length ?? 0) + (put?.value.length ?? 0);
  // Short, of clients that mean well.
  bytes += (request?.namespace.length ?? 0) + (write?.requestId.length ?? 0) + (traceparent?.length ?? 0);
  if (get !== undefined) for (const dot of get.dots) bytes += Buffer.byteLength(dot) + 8;
  return bytes;
}
