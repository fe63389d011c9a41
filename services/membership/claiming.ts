/**
 * Whether this process is the claimant: always, never, or while it holds a Lease of Kubernetes; and what the claimant
 * consists of. An elected one keeps its goal where the next one finds it, any other in its directory.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Membership } from '../core/membership/membership.ts';
import type { Report, Reports } from '../core/membership/rebalance.ts';
import type { Clock, Log, Random } from '../core/ports.ts';
import type { Ring } from '../core/ring/ring.ts';
import type { Gossip } from '../platform/gossip/gossip.ts';
import { connectKubernetes } from '../platform/kubernetes/api.ts';
import { readStatuses } from '../platform/read-statuses.ts';
import { type ClaimLoop, type Mandate, startClaimLoop } from './claim-loop.ts';
import type { MembershipConfig } from './config.ts';
import type { Directory } from './directory.ts';
import { decodeGoal, encodeGoal } from './goal-file.ts';
import { type KeptGoal, openGoalMap } from './goal-map.ts';
import { startLeadership } from './leadership.ts';
import { createRingChanges, reportOf } from './ring-changes.ts';
import { startScaling } from './scaling.ts';

export interface Claimant {
  readonly claimLoop: ClaimLoop;
  readonly changes: ReturnType<typeof createRingChanges>;
}

export interface Claiming {
  /** Undefined while this process is not the claimant. */
  now(): Claimant | undefined;
  stop(): Promise<void>;
}

export interface ClaimingWorld {
  readonly gossip: Gossip;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export async function startClaiming(
  config: MembershipConfig,
  directory: Pick<Directory, 'goal'>,
  world: ClaimingWorld,
): Promise<Claiming> {
  if (config.claimant === 'false') return { now: () => undefined, stop: async () => {} };
  if (config.claimant === 'elected') return startElected(config, config.kubernetesName as string, world);
  const claimant = startClaimant(config, goalFile(directory), world);
  return { now: () => claimant, stop: () => claimant.claimLoop.stop() };
}

async function startElected(config: MembershipConfig, name: string, world: ClaimingWorld): Promise<Claiming> {
  const kubernetes = await connectKubernetes();
  const { gossip, clock, log } = world;
  let claimant: Claimant | undefined;
  const leadership = startLeadership({
    ...{ kubernetes, clock, log },
    lease: `${name}-membership`,
    self: `${hostname()}_${randomBytes(8).toString('hex')}`,
    ringTerm: () => gossip.state().ring?.version.term ?? 0n,
    async begin(mandate) {
      const goal = await openGoalMap(kubernetes, `${name}-goal`);
      const started = startClaimant(config, goal, world, mandate);
      claimant = started;
      const stopScaling =
        config.storageAddress === undefined
          ? async () => {}
          : startScaling({
              ...{ kubernetes, name: `${name}-scale`, pattern: config.storageAddress, claimant: started, clock, log },
              joinAutomatically: config.joinAutomatically,
              replaceAutomatically: config.replaceAutomatically,
              known: gossip.state,
              reports: askForReports,
              statuses: readStatuses,
            });
      return {
        isSuperseded: () => goal.isStale() || started.claimLoop.state().isSuperseded,
        async stop() {
          claimant = undefined;
          await stopScaling();
          await started.claimLoop.stop();
        },
      };
    },
  });
  return { now: () => (leadership.isHeld() ? claimant : undefined), stop: leadership.stop };
}

function startClaimant(config: MembershipConfig, goal: KeptGoal, world: ClaimingWorld, mandate?: Mandate): Claimant {
  const claimLoop = startClaimLoop({
    ...config,
    ...world,
    mandate,
    goal: goal.kept,
    keepGoal: goal.keep,
    reports: askForReports,
  });
  const changes = createRingChanges({ gossip: world.gossip, claimLoop, statuses: readStatuses, clock: world.clock });
  return { claimLoop, changes };
}

function goalFile({ goal }: Pick<Directory, 'goal'>): KeptGoal {
  return { kept: decodeGoal(goal.kept), keep: (next) => goal.keep(encodeGoal(next)), isStale: () => false };
}

/** Asked where gossip says that they are: one that has moved is not yet at its address in the ring. */
async function askForReports({ members }: Membership, ring: Ring): Promise<Reports> {
  const nodes = ring.nodes.filter(({ status }) => status !== 'LEFT');
  const statuses = await readStatuses(
    nodes.map(({ id, address }) => ({ id, address: members.get(id)?.address ?? address })),
  );
  const reports = new Map<string, Report>();
  for (const [id, status] of statuses) {
    const report = reportOf(status);
    if (report !== undefined) reports.set(id, report);
  }
  return reports;
}
