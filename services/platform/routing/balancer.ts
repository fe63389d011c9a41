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
 */
import type { Result } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled } from '../../core/cancellation.ts';
import { Failure, type ReasonName } from '../../core/failure.ts';
import type { Clock, Random } from '../../core/ports.ts';
import { createPeakEwma, type PeakEwma } from '../../core/routing/peak-ewma.ts';
import { chooseOfTwo } from '../../core/routing/two-choices.ts';
import { fromOperationError } from '../errors.ts';
import type { Coordinators } from './coordinators.ts';
import type { SessionPool } from './session-pool.ts';

/** The way to another zone costs money, and its latency is in what was observed. */
const elsewhereFactor = 2;
/** What a failure counts as: as long as a silent node is trusted (core/quorum/peer-health.ts). Failing fast is not speed. */
const failureMs = 1_000;

/** The pool, watched. */
export interface Balancer extends Pick<SessionPool, 'ready' | 'send' | 'keep'> {
  /** Addresses in the order in which to try them. `preferred`, where it is a home that is ready, comes first. */
  order(coordinators: Coordinators, preferred?: string): readonly string[];
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
      load.started();
      const answer = await pool.send(address, ...what);
      const now = clock.now();
      load.ended(countedMs(answer, now - startedAt), now);
      return answer;
    },

    order({ homes, fallbacks }, preferred) {
      const ready = homes.filter(({ address }) => pool.ready(address));
      const first = ready.find(({ address }) => address === preferred);
      const now = clock.now();
      const chosen =
        first !== undefined
          ? [first]
          : chooseOfTwo({
              candidates: ready,
              favourite: zone === undefined ? undefined : ready.find((home) => home.zone === zone),
              cost: (home) =>
                loadOf(home.address).cost(now) * (zone === undefined || home.zone === zone ? 1 : elsewhereFactor),
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
