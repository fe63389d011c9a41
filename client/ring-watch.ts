/**
 * The newest ring, followed with WatchRing from one endpoint after the other: from the next one where a stream ends, or
 * where no ring is known yet and comes within `firstRingMs`.
 *
 * I1 All rings are of the cluster of the first one. An endpoint that leads to another cluster by now is passed over, with a
 *    warning of the process, and what is known goes on.
 */
import { type ServiceError, status } from '@grpc/grpc-js';
import type { WatchRingResponse } from '../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cancellation, Cancelled, neverCancelled } from '../services/core/cancellation.ts';
import { Failure } from '../services/core/failure.ts';
import type { Clock } from '../services/core/ports.ts';
import { decodeRing } from '../services/core/ring/codec.ts';
import { applyDelta } from '../services/core/ring/delta.ts';
import { compareVersions, type Ring } from '../services/core/ring/ring.ts';
import { servesNoKeys } from '../services/platform/errors.ts';
import type { UnaryChannels } from '../services/platform/routing/unary-channels.ts';
import { connectTimeoutMs } from '../services/platform/when-ready.ts';

export interface RingWatch {
  current(): Ring | undefined;
  /** Of all rings; empty: not known. */
  clusterId(): string;
  /** Resolves with the first ring; throws Failure NO_RING when none came in time, DRAINING once it is closed, and Cancelled. */
  first(timeoutMs: number, cancellation?: Cancellation): Promise<Ring>;
  close(): void;
}

const retryDelayMs = 500;
/** Longer than a connection may take to be made (platform/when-ready.ts), which is told of as what it is. */
export const firstRingMs = connectTimeoutMs + 500;

export function followRing(
  channels: Pick<UnaryChannels, 'channel'>,
  endpoints: readonly string[],
  clock: Pick<Clock, 'after'>,
  onRing: (ring: Ring) => void,
): RingWatch {
  let ring: Ring | undefined;
  /** Whose `ring` is; empty: not said. */
  let clusterId = '';
  /** Endpoints that lead to another cluster, since they last did not. */
  const strangers = new Set<string>();
  const waiting = new Set<{ arrived(first: Ring): void; giveUp(failure: Failure): void }>();
  let lastProblem = 'no answer';
  let closed = false;
  let end = () => {};

  function learn(next: Ring, of: string): void {
    if (clusterId === '') clusterId = of;
    if (ring !== undefined && compareVersions(next.version, ring.version) <= 0) return;
    ring = next;
    onRing(next);
    for (const { arrived } of waiting) arrived(next);
  }

  /** I1. */
  function checkCluster(endpoint: string, theirs: string): void {
    if (clusterId === '' || theirs === '' || theirs === clusterId) {
      strangers.delete(endpoint);
      return;
    }
    const problem = `it is of cluster ${theirs}, and this client goes by the ring of cluster ${clusterId}`;
    if (!strangers.has(endpoint)) process.emitWarning(`${endpoint}: ${problem}`, 'CartwheelClusterWarning');
    strangers.add(endpoint);
    throw new Error(problem);
  }

  function watch(attempt: number): void {
    if (closed) return;
    const endpoint = endpoints[attempt % endpoints.length] as string;
    const call = channels.channel(endpoint).watchRing({ known: ring?.version, deltas: true, clusterId });
    /** What this stream has sent: what it sends next is on top of that. */
    let sent: Ring | undefined;
    call.on('data', ({ ring: whole, delta, clusterId: theirs }: WatchRingResponse) => {
      try {
        checkCluster(endpoint, theirs);
        if (whole !== undefined) sent = decodeRing(whole);
        else if (delta !== undefined) sent = applyDelta(sent, delta);
        if (sent !== undefined) learn(sent, theirs);
        cancelPatience();
      } catch (error) {
        again(error instanceof Error ? error.message : String(error));
        call.cancel();
      }
    });
    let over = false;
    const again = (problem: string) => {
      if (over || closed) return;
      over = true;
      cancelPatience();
      lastProblem = `${endpoint}: ${problem}`;
      clock.after(retryDelayMs, () => watch(attempt + 1));
    };
    const passOver = () => {
      again('it has no ring');
      call.cancel();
    };
    const cancelPatience = ring === undefined ? clock.after(firstRingMs, passOver) : () => {};
    end = () => {
      cancelPatience();
      call.cancel();
    };
    call.on('error', (error: ServiceError) => {
      again(error.code === status.UNIMPLEMENTED ? servesNoKeys : error.message);
    });
    call.on('end', () => again('it ended the stream'));
  }

  watch(0);
  return {
    current: () => ring,
    clusterId: () => clusterId,
    first(timeoutMs, cancellation = neverCancelled) {
      if (ring !== undefined) return Promise.resolve(ring);
      if (cancellation.cancelled) return Promise.reject(new Cancelled('NOT_APPLIED'));
      return new Promise((resolve, reject) => {
        const forget = () => {
          waiting.delete(one);
          cancelTimer();
          forgetCancel();
        };
        const arrived = (first: Ring) => {
          forget();
          resolve(first);
        };
        const giveUp = (failure: Failure) => {
          forget();
          reject(failure);
        };
        const cancelTimer = clock.after(timeoutMs, () => {
          giveUp(new Failure('NO_RING', `no ring within ${Math.ceil(timeoutMs)} ms (${lastProblem})`));
        });
        const one = { arrived, giveUp };
        waiting.add(one);
        const forgetCancel = cancellation.onCancel(() => giveUp(new Cancelled('NOT_APPLIED')));
      });
    },
    close() {
      closed = true;
      end();
      for (const { giveUp } of waiting) giveUp(new Failure('DRAINING', 'the client is closed'));
    },
  };
}
