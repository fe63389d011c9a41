/** One router: the real routing (createRouter) on simulated ports. It keeps nothing, and never stops. */
import { Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { createExtraBudget } from '../../services/core/quorum/extra-budget.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import type { Ring } from '../../services/core/ring/ring.ts';
import { toOperationError } from '../../services/platform/errors.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createHotKeys } from '../../services/platform/hot-keys.ts';
import { type BalancerOptions, createBalancer } from '../../services/platform/routing/balancer.ts';
import { attemptsSavedMax } from '../../services/platform/routing/dispatch.ts';
import { createRequestIds } from '../../services/platform/routing/request-ids.ts';
import { createRouter } from '../../services/router/route.ts';
import { createNodeClock } from './clock.ts';
import type { CountingMetrics } from './metrics.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import { createSimulatedPool, createUnderWay, receive } from './pool.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import { createWire } from './wire.ts';

/** So low that the few clients of a seed wait for each other, and share what they read. */
const keyLimits = { readsMax: 1, writesMax: 1, waitingMax: 1_000 };

export interface SimulatedRouterOptions {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly metrics: CountingMetrics;
  ring(): Ring;
}

export function startSimulatedRouter(options: SimulatedRouterOptions): void {
  const { name, nodes, scheduler, random, network, oracle, metrics, ring } = options;
  const alive = () => true;
  const clock = createNodeClock({ scheduler, random: random.fork('clock'), alive, wallSkew: () => 0 });
  const wire = createWire({ from: name, others: nodes, network, scheduler, random: random.fork('wire'), alive });
  const sending = { wire, forwarded: false, random: random.fork('sending') };
  const byName = createSimulatedPool({ ...sending, scheduler, oracle, after: clock.after });
  const underWay = createUnderWay();
  const pool: BalancerOptions['pool'] = {
    ready: (address) => byName.ready(nameOf(address)),
    send: (address, ...what) => byName.send(nameOf(address), ...what),
    keep() {},
  };
  const balancer = createBalancer({ pool, clock, random: random.fork('balancer') });
  // Homes that all coordinate writes of one key find more: in half of the seeds no home is favoured for them.
  const isSpread = random.fork('spread').chance(0.5);
  const router = createRouter({
    ...{ clock, metrics, ring, keyLimits, limits: requestLimits, hash: xxh64 },
    balancer: isSpread ? { ...balancer, order: (homes) => balancer.order(homes, 'read') } : balancer,
    hotKeys: createHotKeys(clock, metrics),
    extra: createExtraBudget(attemptsSavedMax),
    newRequestId: createRequestIds(random.fork('request ids')),
  });

  async function serve(bytes: Uint8Array): Promise<Uint8Array> {
    const { operation, ageMs } = receive(bytes, scheduler.now());
    const cancellation = underWay.begin(operation);
    if (cancellation === undefined) return new Uint8Array(0);
    const until = { deadline: clock.now() - ageMs + operation.timeoutMs, cancellation };
    let result: Omit<Result, 'id'>;
    try {
      result = await router.run(operation, until);
    } catch (error) {
      if (!(error instanceof Failure)) oracle.fail(error);
      const failure = error instanceof Failure ? error : new Failure('INTERNAL', 'a bug', { outcome: 'UNKNOWN' });
      result = { error: toOperationError(failure) };
    }
    underWay.end(operation.id);
    return Result.encode({ ...result, id: operation.id }).finish();
  }

  network.listen(name, (_, message) => serve(message));
}

/** Addresses of the ring are NAME:1. */
function nameOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
