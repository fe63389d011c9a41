/**
 * Runs the claimant: looks at what gossip knows every LOOK_INTERVAL_MS, asks the ring's nodes what they say where the
 * claimant wants to know, and issues the rings that it decides on. Decides nothing itself.
 *
 * I1 One look, or one change of the goal, at a time; each begins from what the one before has made durable.
 * I2 A goal is durable before the first ring on the way to it is issued.
 * I3 Where claimants are elected, nothing is issued once the lease may be over.
 */
import { Failure } from '../core/failure.ts';
import { type ChangeProgress, createChangeProgress } from '../core/membership/change-progress.ts';
import { type ClaimantState, claimantStep, createClaimant } from '../core/membership/claimant.ts';
import { type Course, turned } from '../core/membership/course.ts';
import type { Membership } from '../core/membership/membership.ts';
import type { Goal, Reports } from '../core/membership/rebalance.ts';
import type { Clock, Log, Random } from '../core/ports.ts';
import { formatVersion, type Ring } from '../core/ring/ring.ts';
import type { Gossip } from '../platform/gossip/gossip.ts';

export interface ClaimLoopOptions {
  readonly expectedNodes: number;
  readonly partitions: number;
  readonly replicas: number;
  readonly gossip: Pick<Gossip, 'state' | 'issue' | 'reachAll'>;
  /** Of a claimant that was elected (core/membership/election.ts). */
  readonly mandate?: Mandate | undefined;
  /** Of an earlier life, or an earlier claimant. */
  readonly course: Course;
  /** Makes it durable in place of the one before. */
  readonly keepCourse: (course: Course) => Promise<void>;
  /** What these nodes say now; those that say nothing are not in it. */
  readonly reports: (known: Membership, ring: Ring) => Promise<Reports>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface Mandate {
  readonly term: bigint;
  /** In case it forms the first ring: the same for whoever else may be elected. */
  readonly clusterId: string;
  /** Whether it still is the claimant. */
  isHeld(): boolean;
}

export interface ClaimLoop {
  state(): ClaimantState;
  /** How far the change under way has come; undefined: there is none, or nobody has said. */
  progress(): ChangeProgress | undefined;
  /** Takes the goal that `decide` gives, once it is durable. What it throws is thrown, and changes nothing. */
  setGoal(decide: (ring: Ring | undefined, goal: Goal | undefined) => Goal): Promise<void>;
  /** Resolves when an issue under way has ended. */
  stop(): Promise<void>;
}

/** A look costs microseconds, and a cluster that starts waits for it. */
const LOOK_INTERVAL_MS = 100;
/** With a question to every node; a partition needs three of them to move. */
const ASKING_INTERVAL_MS = 500;
export const STEP_INTERVAL_MS = 3 * ASKING_INTERVAL_MS;

export function startClaimLoop(options: ClaimLoopOptions): ClaimLoop {
  const { gossip, clock, random, log, mandate } = options;
  const freshClusterId = mandate?.clusterId ?? `${hex(random.u64())}${hex(random.u64())}`;
  let state = createClaimant(options, options.course, mandate?.term);
  const progress = createChangeProgress();
  let isStopped = false;
  let cancel = () => {};
  let last: Promise<void> = Promise.resolve();

  /** I1. */
  function inTurn(run: () => Promise<void>): Promise<void> {
    const done = last.then(run);
    last = done.catch(() => {});
    return done;
  }

  async function look(): Promise<void> {
    const { ring } = gossip.state();
    const reports = state.needsReports && ring !== undefined ? await options.reports(gossip.state(), ring) : undefined;
    if (reports !== undefined && ring !== undefined && state.goal !== undefined) {
      progress.look(ring, state.goal, reports, clock.now());
    }
    const [next, effects] = claimantStep(state, gossip.state(), freshClusterId, clock.now(), reports);
    // While the ring changes it waits for something else at each look; the rings that it issues say how far it is.
    if (next.goal === undefined && next.waitingFor !== '' && next.waitingFor !== state.waitingFor) {
      log.info({ waitingFor: next.waitingFor }, 'the claimant waits');
    }
    for (const effect of effects) {
      try {
        if (mandate?.isHeld() === false) return;
        if (effect.kind === 'issue') await issue(effect.ring, effect.clusterId);
        else await keepCourse(effect);
      } catch (error) {
        log.error({ err: error, kind: effect.kind }, 'a ring or a goal could not be made durable; trying again');
        return;
      }
    }
    state = next;
  }

  async function issue(ring: Ring, clusterId: string): Promise<void> {
    await gossip.issue(ring, clusterId);
    const { pending, nodes } = ring;
    log.info(
      { ring: formatVersion(ring.version), clusterId, nodes: nodes.length, pending: pending.size },
      'issued a ring',
    );
    // The first ring is heard of soon enough, and nobody's next step waits for it.
    if (state.goal !== undefined) await gossip.reachAll();
  }

  async function keepCourse({ goal, ended }: Course): Promise<void> {
    await options.keepCourse({ goal, ended });
    log.info(
      { plan: goal?.id ?? 'none' },
      goal === undefined ? 'the ring has come to its goal' : 'the ring has a goal',
    );
  }

  function lookAgain(): void {
    void inTurn(look).then(() => {
      if (!isStopped) cancel = clock.after(state.needsReports ? ASKING_INTERVAL_MS : LOOK_INTERVAL_MS, lookAgain);
    });
  }

  lookAgain();
  return {
    state: () => state,
    progress: () => state.goal && progress.of(state.goal, clock.now()),
    setGoal: (decide) =>
      inTurn(async () => {
        if (mandate?.isHeld() === false) throw new Failure('NOT_IMPLEMENTED', 'this is not the claimant any more');
        const course = turned(state, decide(gossip.state().ring, state.goal));
        await keepCourse(course);
        state = { ...state, ...course, waitingFor: '' };
      }),
    async stop() {
      isStopped = true;
      cancel();
      await last;
    },
  };
}

function hex(n: bigint): string {
  return n.toString(16).padStart(16, '0');
}
