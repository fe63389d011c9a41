/**
 * What the claimant of a Kubernetes cluster does by itself, every LOOK_INTERVAL_MS: has new pods join the ring, and those
 * that have lost their volume take their own place, where it may; and keeps the number below which pods may not be taken away.
 * The annotations of the ServiceAccount NAME-scale, which nobody runs as and which has no rights, are
 *
 *     cartwheel/wanted       how many pods there are to be: written by the chart, and by the Job that lets nodes leave
 *     cartwheel/drained-to   how few there may be: written here, and read by the policy that guards the StatefulSet
 *
 * It looks like work for a ConfigMap. But an API server watches ConfigMaps as the parameters of policies only from the first binding
 * with such parameters to the last one, and after that never again until it is restarted (kubernetes#130887): after helm uninstall
 * and install the policy went by a number of before. ServiceAccounts it watches from its start to its end, for their tokens.
 *
 * I1 `drained-to` is lowered only when all but fewer than N nodes of the ring have said that they know no newer one, so
 *    that a claimant which begins with an old ring does not allow what a newer one forbids.
 */
import type { PlanChangeRequest } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Member } from '../core/membership/member.ts';
import type { Membership } from '../core/membership/membership.ts';
import type { Reports } from '../core/membership/rebalance.ts';
import {
  DRAINED_TO,
  drainedTo,
  type Joining,
  joinStep,
  type Replacing,
  replacementStep,
  WANTED,
} from '../core/membership/scale.ts';
import type { Clock, Log } from '../core/ports.ts';
import { compareVersions, type Ring } from '../core/ring/ring.ts';
import type { Kubernetes, Notes } from '../platform/kubernetes/api.ts';
import { sparingly } from '../platform/logging.ts';
import type { StatusTarget } from '../platform/read-statuses.ts';
import type { Claimant } from './claiming.ts';

export interface ScalingOptions {
  readonly kubernetes: Pick<Kubernetes, 'notes' | 'replaceNotes'>;
  /** Of the ServiceAccount. */
  readonly name: string;
  /** Addresses of storage pods, with {} for the number. */
  readonly pattern: string;
  readonly joinAutomatically: boolean;
  readonly replaceAutomatically: boolean;
  readonly claimant: {
    readonly claimLoop: Pick<Claimant['claimLoop'], 'state'>;
    readonly changes: Pick<Claimant['changes'], 'plan' | 'commit'>;
  };
  readonly known: () => Membership;
  readonly reports: (known: Membership, ring: Ring) => Promise<Reports>;
  readonly statuses: (targets: readonly StatusTarget[]) => Promise<ReadonlyMap<string, unknown>>;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_INTERVAL_MS = 2_000;
const noChange: PlanChangeRequest = { join: [], joinAll: false, leave: [], replace: [], down: [] };

/** Returns what stops it: it resolves when nothing is done any more. */
export function startScaling(options: ScalingOptions): () => Promise<void> {
  const { kubernetes, pattern, claimant, clock, log } = options;
  const quietly = sparingly(log, clock.now);
  let joining: Joining | undefined;
  let replacing: Replacing | undefined;
  let isStopped = false;
  let cancel = () => {};
  let looking: Promise<void> = Promise.resolve();

  async function look(): Promise<void> {
    const known = options.known();
    const { ring } = known;
    if (ring === undefined) return;
    const { notes } = await keepDrainedTo(await kubernetes.notes(options.name), known, ring);
    // One change at a time: those that are still outside afterwards have their turn then.
    if (claimant.claimLoop.state().goal !== undefined) return;
    const strangers = [...known.members.values()].filter(({ status }) => status === 'JOINING');
    if (strangers.length === 0) return;
    const statuses = await options.statuses(strangers);
    const outside = strangers.filter(({ id }) => statuses.has(id));
    if (options.replaceAutomatically) await replace(known, ring, outside);
    if (options.joinAutomatically) await join(Number(notes[WANTED] ?? 0), ring, outside);
  }

  async function keepDrainedTo(kept: Notes, known: Membership, ring: Ring): Promise<Notes> {
    const fewest = drainedTo(ring, claimant.claimLoop.state().goal, pattern);
    const before = Number(kept.notes[DRAINED_TO] ?? Number.NaN);
    if (before === fewest) return kept;
    const isLowered = !(fewest > before);
    if (isLowered && !(await isNewest(known, ring))) return kept;
    log.info({ drainedTo: fewest, before: kept.notes[DRAINED_TO] }, 'there may be as few storage pods as this');
    return kubernetes.replaceNotes(kept, { ...kept.notes, [DRAINED_TO]: String(fewest) });
  }

  /** I1. */
  async function isNewest(known: Membership, ring: Ring): Promise<boolean> {
    const reports = await options.reports(known, ring);
    const nodes = ring.nodes.filter(({ status }) => status !== 'LEFT');
    const isNewer = [...reports.values()].some(({ version }) => compareVersions(version, ring.version) > 0);
    return !isNewer && nodes.length - reports.size < ring.replicas;
  }

  async function replace(known: Membership, ring: Ring, outside: readonly Member[]): Promise<void> {
    const reports = await options.reports(known, ring);
    const answers = (id: string) => reports.has(id);
    const [next, now] = replacementStep(replacing, ring, outside, answers, pattern, clock.now());
    if (next !== undefined && next.joins !== replacing?.joins) {
      log.warn({ ...next }, 'a storage pod has come back as another node: its volume is lost');
    }
    replacing = next;
    if (now === undefined) return;
    const { leaves, joins } = now;
    await change('a storage pod without its volume takes its own place', {
      down: [leaves],
      replace: [{ leaves, joins }],
    });
  }

  async function join(wanted: number, ring: Ring, outside: readonly Member[]): Promise<void> {
    const [next, nodes] = joinStep(joining, ring, outside, { pattern, wanted }, clock.now());
    joining = next;
    if (nodes.length > 0) await change('new storage pods join the ring', { join: nodes.map(({ id }) => id) });
  }

  async function change(what: string, request: Partial<PlanChangeRequest>): Promise<void> {
    const plan = await claimant.changes.plan({ ...noChange, ...request });
    const { planId, transfers, partitionsWithoutSource: lost } = plan;
    if (lost.length > 0) throw new Error(`all owners of ${lost.length} partitions are down: an operator has to decide`);
    const replicas = transfers.reduce((sum, { partitions }) => sum + partitions.length, 0);
    log.info({ plan: planId, replicas, ...request }, what);
    await claimant.changes.commit({ planId });
  }

  function lookAgain(): void {
    looking = look()
      .catch((error: unknown) => quietly.warn({ err: error }, 'could not look after the number of storage pods'))
      .then(() => {
        if (!isStopped) cancel = clock.after(LOOK_INTERVAL_MS, lookAgain);
      });
  }

  lookAgain();
  return async () => {
    isStopped = true;
    cancel();
    await looking;
  };
}
