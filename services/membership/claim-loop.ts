/**
 * Runs the claimant: looks at what gossip knows every LOOK_INTERVAL_MS, and issues the rings that it decides
 * on. Decides nothing itself.
 */
import { type ClaimantState, claimantStep, createClaimant } from '../core/membership/claimant.ts';
import type { Clock, Log, Random } from '../core/ports.ts';
import { formatVersion } from '../core/ring/ring.ts';
import type { Gossip } from '../platform/gossip/gossip.ts';

export interface ClaimLoopOptions {
  readonly expectedNodes: number;
  readonly partitions: number;
  readonly replicas: number;
  readonly gossip: Pick<Gossip, 'state' | 'issue'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface ClaimLoop {
  state(): ClaimantState;
  /** Resolves when an issue under way has ended. */
  stop(): Promise<void>;
}

/** A look costs microseconds, and a cluster that starts waits for it. */
const LOOK_INTERVAL_MS = 100;

export function startClaimLoop(options: ClaimLoopOptions): ClaimLoop {
  const { gossip, clock, random, log } = options;
  const freshClusterId = `${hex(random.u64())}${hex(random.u64())}`;
  let state = createClaimant(options);
  let isStopped = false;
  let cancel = () => {};
  let looking = Promise.resolve();

  async function look(): Promise<void> {
    const [next, effects] = claimantStep(state, gossip.state(), freshClusterId, clock.now());
    if (next.waitingFor !== '' && next.waitingFor !== state.waitingFor) {
      log.info({ waitingFor: next.waitingFor }, 'the claimant waits');
    }
    for (const { ring, clusterId } of effects) {
      try {
        await gossip.issue(ring, clusterId);
        log.info({ ring: formatVersion(ring.version), clusterId, nodes: ring.nodes.length }, 'issued a ring');
      } catch (error) {
        log.error({ err: error, ring: formatVersion(ring.version) }, 'a ring could not be issued; trying again');
        return;
      }
    }
    state = next;
  }

  function lookAgain(): void {
    looking = look().then(() => {
      if (!isStopped) cancel = clock.after(LOOK_INTERVAL_MS, lookAgain);
    });
  }

  lookAgain();
  return {
    state: () => state,
    async stop() {
      isStopped = true;
      cancel();
      await looking;
    },
  };
}

function hex(n: bigint): string {
  return n.toString(16).padStart(16, '0');
}
