/**
 * The claimant of a simulation: it changes the ring, one goal after the other, by what core/membership/rebalance.ts says,
 * and asks and tells the nodes over the network. It crashes, and goes on with what is on its disk: the ring and the goal.
 */
import { Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { type ChangeRequest, planChange } from '../../services/core/membership/change-request.ts';
import { planDoubling } from '../../services/core/membership/doubling.ts';
import { advance, type Goal, type Report, rolledBack } from '../../services/core/membership/rebalance.ts';
import { encodeRing } from '../../services/core/ring/codec.ts';
import { compareVersions, formatVersion, nodeById, type Ring, type RingNode } from '../../services/core/ring/ring.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import type { History } from './history.ts';
import type { Marks } from './marks.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import { decodeRingReport } from './ring-report.ts';
import type { Scheduler } from './scheduler.ts';
import { ConnectionLost, createWire } from './wire.ts';

const limits = { partitionsInFlight: 6, partitionsPerNode: 3 };
const lookMs = { min: 5, max: 80 };
/** On average: nodes hear of a ring one after the other. */
const tellAfterMs = 15;
const downMs = { min: 10, max: 400 };
const answerWithinMs = 300;
/** More only take longer. The trees of simulated nodes have 256 leaves. */
const partitionsMax = 64;
export const claimantName = 'claimant';

export interface SimulatedClaimant {
  /** The newest that was issued. */
  readonly ring: Ring;
  /** Asks for a change; false where it cannot be. */
  begin(request: ChangeRequest): boolean;
  /** Gives up what is not flipped of the change that is under way, if one is. */
  rollBack(): void;
  /** Begins with no further partition, or goes on. */
  pause(paused: boolean): void;
  /** Doubles the partitions as soon as no other change is under way; none begins before that. */
  double(): void;
  /** Calls `listener` when a ring with twice as many partitions was issued, and nobody has heard of it yet. */
  onDoubled(listener: () => void): void;
  /** It does nothing for a while, and has forgotten what it was told. */
  crash(): void;
  /** Resolves when there is nothing left to change, and every node that is up knows the ring. */
  settled(): Promise<void>;
}

export interface SimulatedClaimantOptions {
  readonly ring: Ring;
  readonly names: readonly string[];
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly random: SeededRandom;
  readonly history: History;
  readonly marks: Marks;
  readonly oracle: Oracle;
  isUp(name: string): boolean;
}

export function createSimulatedClaimant(options: SimulatedClaimantOptions): SimulatedClaimant {
  const { names, scheduler, network, random, history, marks, oracle } = options;
  const wire = createWire({
    ...{ from: claimantName, others: names, network, scheduler, random: random.fork('wire') },
    alive: () => true,
    accepts: () => true,
  });
  let ring = options.ring;
  let goal: Goal | undefined;
  let doublingAsked = false;
  const doubledListeners: (() => void)[] = [];
  let reports = new Map<string, Report>();
  let working = false;
  /** So often it has crashed. */
  let life = 0;

  function issue(next: Ring): void {
    ring = next;
    const pending = [...next.pending].map(([partition, nodes]) => `${partition}:${nodes.join('+')}`).join(' ');
    history.note(
      'issued',
      claimantName,
      `${formatVersion(next.version)} ${next.nodes.map(statusOf).join(' ')} ${pending}`,
    );
  }

  function doubledNow(): void {
    marks.add('the partitions doubled');
    history.note('doubled', claimantName, `${ring.partitions} partitions`);
    for (const listener of doubledListeners) listener();
  }

  async function tell(name: string): Promise<void> {
    const known = reports.get(name)?.version;
    const isBehind = known === undefined || compareVersions(known, ring.version) < 0;
    const message = isBehind ? RingMessage.encode(encodeRing(ring)).finish() : new Uint8Array(0);
    await scheduler.sleep(random.around(tellAfterMs));
    try {
      const answer = wire.call(name, 'ring', message).then(decodeRingReport);
      const report = await Promise.race([answer, scheduler.sleep(answerWithinMs)]);
      // Who answers under another id counts as silent (platform/read-statuses.ts).
      if (report === undefined || report.id !== name) return;
      const { version } = report.ring;
      reports.set(name, { version, pulled: new Set(report.pulled), owes: report.owes });
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  const unaware = () => {
    return names.filter((name) => {
      const known = reports.get(name)?.version;
      return options.isUp(name) && (known === undefined || compareVersions(known, ring.version) < 0);
    });
  };

  async function work(): Promise<void> {
    while (goal !== undefined || doublingAsked || unaware().length > 0) {
      await scheduler.sleep(random.between(lookMs.min, lookMs.max));
      const before = life;
      await Promise.all(names.map(tell));
      if (life !== before) {
        await scheduler.sleep(random.between(downMs.min, downMs.max));
        continue;
      }
      if (goal === undefined && doublingAsked) {
        goal = planDoubling(ring, goal, xxh64).goal;
        doublingAsked = false;
      }
      if (goal === undefined) continue;
      const step = advance(ring, goal, reports, limits);
      goal = step.goal;
      if (step.ring !== undefined) {
        const { partitions } = ring;
        issue(step.ring);
        if (ring.partitions > partitions) doubledNow();
      }
      if (!step.done) continue;
      marks.add('a change of the ring came to its end');
      history.note('changed', claimantName, formatVersion(ring.version));
      goal = undefined;
    }
  }

  function goOn(): void {
    if (working) return;
    working = true;
    work()
      .catch((error: unknown) => oracle.fail(error))
      .finally(() => {
        working = false;
      });
  }

  return {
    get ring() {
      return ring;
    },
    begin(request) {
      if (doublingAsked) return false;
      try {
        const planned = planChange(ring, goal, request, () => 1, xxh64);
        if (goal !== undefined) marks.add('a change of the ring was begun during another');
        goal = planned.goal;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        return false;
      }
      goOn();
      return true;
    },
    rollBack() {
      if (goal === undefined) return;
      goal = rolledBack(ring, goal);
      history.note('rolled back', claimantName, goal.id);
      if (goal.withdrawn.size > 0) marks.add('a change of the ring was rolled back');
    },
    pause(paused) {
      if (goal !== undefined) goal = { ...goal, paused };
    },
    double() {
      if (ring.partitions >= partitionsMax) return;
      doublingAsked = true;
      goOn();
    },
    onDoubled(listener) {
      doubledListeners.push(listener);
    },
    crash() {
      life++;
      // What it had heard is gone; the ring and the goal are on its disk.
      reports = new Map();
      history.note('crashed', claimantName);
      if (goal !== undefined) marks.add('the claimant crashed during a change');
    },
    async settled() {
      goOn();
      while (working) await scheduler.sleep(lookMs.max);
    },
  };
}

function statusOf({ id, status }: RingNode): string {
  return `${id}=${status}`;
}

export function isIn(ring: Ring, name: string): boolean {
  const status = nodeById(ring, name)?.status;
  return status !== undefined && status !== 'LEFT';
}
