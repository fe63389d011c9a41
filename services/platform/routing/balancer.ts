/**
 * Which home of a key runs an operation: the one that seems to answer sooner of two drawn at random, by what each took
 * lately and has under way (core/routing/peak-ewma.ts, two-choices.ts). Any home can; always to take the first would
 * leave the load of a hot key, and the slowness of one node, where they are.
 *
 * Owns what is known of each process's speed. Knows nothing of keys.
 *
 * I1 Homes that are ready come before those that are not, and all homes before fallbacks.
 * I2 With a zone: a home in it is one of the two, and one elsewhere is chosen only where it costs less than a
 *    `elsewhereFactor`th of it.
 * I3 A write goes to the first of the homes that are ready, unless another costs less than a `elsewhereFactor`th of it. Each
 *    home that coordinates writes of a key has a birth in its clock, and another one after each crash (core/versioning/birth.ts):
 *    with writes spread over all homes clocks would grow N times as fast, up to where entries are cut. First homes are as
 *    evenly spread as partitions, so this spreads the writes of many keys as well. Not with a zone: the way counts more there.
 */
import type { Result } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled } from '../../core/cancellation.ts';
import { Failure, type ReasonName } from '../../core/failure.ts';
import type { Clock, Random } from '../../core/ports.ts';
import type { RingNode } from '../../core/ring/ring.ts';
import { createPeakEwma, type PeakEwma } from '../../core/routing/peak-ewma.ts';
import { chooseOfTwo } from '../../core/routing/two-choices.ts';
import { fromOperationError } from '../errors.ts';
import type { Coordinators } from './coordinators.ts';
import type { SessionPool } from './session-pool.ts';

/** The way to another zone costs money, an entry in a clock room; what is slower for it is in what was observed. */
const elsewhereFactor = 2;
/** What a failure counts as: as long as a silent node is trusted (core/quorum/peer-health.ts). Failing fast is not speed. */
const failureMs = 1_000;

/** The pool, watched. */
export interface Balancer extends Pick<SessionPool, 'ready' | 'send' | 'keep'> {
  /** Addresses in the order in which to try them. */
  order(coordinators: Coordinators, operation: 'read' | 'write'): readonly string[];
}

export interface BalancerOptions {
  readonly pool: Pick<SessionPool, 'ready' | 'send' | 'keep'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Pick<Random, 'below'>;
  /** Where this process is; undefined: all are as near. */
  readonly zone?: string | undefined;
}

export function createBalancer({ pool, clock, random, zone }: BalancerOptions): Balancer {
  const loads = new Map<string, PeakEwma>();
  const below = (bound: number) => random.below(bound);

  function loadOf(address: string): PeakEwma {
    let load = loads.get(address);
    if (load === undefined) {
      load = createPeakEwma();
      loads.set(address, load);
    }
    return load;
  }

  return {
    ready: (address) => pool.ready(address),
    keep(addresses) {
      for (const address of loads.keys()) if (!addresses.includes(address)) loads.delete(address);
      pool.keep(addresses);
    },

    async send(address, ...what) {
      const load = loadOf(address);
      const startedAt = clock.now();
      // What cannot be sent is thrown here, before it counts as under way.
      const answering = pool.send(address, ...what);
      load.started();
      const answer = await answering;
      const now = clock.now();
      load.ended(countedMs(answer, now - startedAt), now);
      return answer;
    },

    order({ homes, fallbacks }, operation) {
      const ready = homes.filter(({ address }) => pool.ready(address));
      const isFavoured = (home: RingNode) =>
        zone === undefined ? operation === 'write' && home === ready[0] : home.zone === zone;
      const favourite = ready.find(isFavoured);
      const now = clock.now();
      const chosen = chooseOfTwo({
        candidates: ready,
        favourite,
        cost: (home) =>
          loadOf(home.address).cost(now) * (favourite === undefined || isFavoured(home) ? 1 : elsewhereFactor),
        below,
      });
      const order: string[] = [];
      for (const nodes of [chosen, ready, homes, fallbacks]) {
        for (const { address } of nodes) if (!order.includes(address)) order.push(address);
      }
      return order;
    },
  };
}

/** Another process may do better; what all would answer alike says nothing of this one. */
const isOfTheProcess: ReadonlySet<ReasonName> = new Set([
  'DRAINING',
  'NO_RING',
  'NOT_ENOUGH_REPLICAS',
  'OVERLOADED',
  'STORAGE_FAILED',
]);

/** What it counts as, in milliseconds; undefined: it says nothing. */
function countedMs(answer: Result | Failure, ms: number): number | undefined {
  if (!(answer instanceof Failure) && answer.error === undefined) return ms;
  if (answer instanceof Cancelled) return undefined;
  const { reason } =
    answer instanceof Failure ? answer : fromOperationError(answer.error as NonNullable<Result['error']>);
  if (reason === 'DEADLINE') return ms;
  return isOfTheProcess.has(reason) ? Math.max(ms, failureMs) : undefined;
}
