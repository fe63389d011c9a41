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
import { createStatusReader, readStatuses, type StatusReader } from '../platform/read-statuses.ts';
import { type ClaimLoop, type Mandate, startClaimLoop } from './claim-loop.ts';
import type { MembershipConfig } from './config.ts';
import { decodeCourse, encodeCourse } from './course-file.ts';
import { type KeptCourse, openCourseMap } from './course-map.ts';
import type { Directory } from './directory.ts';
import { startLeadership } from './leadership.ts';
import { createRingChanges, reportOf } from './ring-changes.ts';
import { startScaling } from './scaling.ts';

export interface Claimant {
  readonly claimLoop: ClaimLoop;
  readonly changes: ReturnType<typeof createRingChanges>;
  /** What the nodes of the ring say of themselves now. */
  reports(known: Membership, ring: Ring): Promise<Reports>;
  /** Resolves when an issue under way has ended. */
  stop(): Promise<void>;
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
  const claimant = startClaimant(config, courseFile(directory), world);
  return { now: () => claimant, stop: claimant.stop };
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
      const course = await openCourseMap(kubernetes, `${name}-goal`);
      const started = startClaimant(config, course, world, mandate);
      claimant = started;
      const stopScaling =
        config.storageAddress === undefined
          ? async () => {}
          : startScaling({
              ...{ kubernetes, name: `${name}-scale`, pattern: config.storageAddress, claimant: started, clock, log },
              joinAutomatically: config.joinAutomatically,
              replaceAutomatically: config.replaceAutomatically,
              known: gossip.state,
              reports: started.reports,
              statuses: readStatuses,
            });
      return {
        isSuperseded: () => course.isStale() || started.claimLoop.state().isSuperseded,
        async stop() {
          claimant = undefined;
          await stopScaling();
          await started.stop();
        },
      };
    },
  });
  return { now: () => (leadership.isHeld() ? claimant : undefined), stop: leadership.stop };
}

function startClaimant(
  config: MembershipConfig,
  course: KeptCourse,
  world: ClaimingWorld,
  mandate?: Mandate,
): Claimant {
  const statuses = createStatusReader();
  const reports: Claimant['reports'] = (known, ring) => askForReports(statuses, known, ring);
  const claimLoop = startClaimLoop({
    ...config,
    ...world,
    mandate,
    course: course.kept,
    keepCourse: course.keep,
    reports,
  });
  const changes = createRingChanges({ gossip: world.gossip, claimLoop, statuses: readStatuses });
  return {
    ...{ claimLoop, changes, reports },
    async stop() {
      await claimLoop.stop();
      statuses.close();
    },
  };
}

function courseFile({ goal }: Pick<Directory, 'goal'>): KeptCourse {
  return { kept: decodeCourse(goal.kept), keep: (next) => goal.keep(encodeCourse(next)), isStale: () => false };
}

/** Asked where gossip says that they are: one that has moved is not yet at its address in the ring. */
async function askForReports(reader: StatusReader, { members }: Membership, ring: Ring): Promise<Reports> {
  const nodes = ring.nodes.filter(({ status }) => status !== 'LEFT');
  const statuses = await reader.read(
    nodes.map(({ id, address }) => ({ id, address: members.get(id)?.address ?? address })),
  );
  const reports = new Map<string, Report>();
  for (const [id, status] of statuses) {
    const report = reportOf(status);
    if (report !== undefined) reports.set(id, report);
  }
  return reports;
}
