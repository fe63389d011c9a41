/**
 * Has the storage nodes whose pods an upgrade takes away leave the ring first: what the chart's Job does before it.
 *
 * I1 What cannot be is refused before anything is begun: fewer nodes than replicas, or a node of the ring that does not
 *    answer, which those that leave would have to wait for.
 * I2 It can be begun again at any time, also where an earlier one was stopped on the way: what is under way is taken in.
 * I3 Where it fails, the ring goes back to all nodes, as far as they have not left, and WANTED to what it was. A signal
 *    is no failure: what is begun goes on.
 */
import type { CartwheelClient } from '../../client/index.ts';
import type { GetStatusResponse, PlanChangeResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Member } from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import { DRAINED_TO, numberOf, WANTED } from '../../services/core/membership/scale.ts';
import type { Kubernetes } from '../../services/platform/kubernetes/api.ts';
import { readStatuses } from '../../services/platform/read-statuses.ts';
import { isOperationFailed } from '../connection.ts';
import { joining, leaving, left, up } from '../node-status.ts';
import { note, plural } from '../output.ts';
import { pause } from '../pause.ts';
import { messageOf, Problem } from '../problem.ts';
import { goalReached, planSummary } from '../ring-change.ts';

export interface DrainOptions {
  /** As many pods stay. */
  readonly to: number;
  /** Addresses of storage pods, with {} for the number. */
  readonly pattern: string;
  /** The ServiceAccount on which is noted how many pods are wanted, and how few there may be (scaling.ts). */
  readonly scaleAccount: string;
  /** The change is given up where it comes no further for so long. */
  readonly stalledAfterMs: number;
  /** So long a node may be too busy to answer. */
  readonly answerWithinMs: number;
}

/** A claimant may just be elected. */
const claimantWithinMs = 60_000;
const lookEveryMs = 1_000;
/** Of the claimant, to write DRAINED_TO, which it looks at every two seconds. */
const guardWithinMs = 60_000;
/** An API server hears of a parameter of its policies from a watch. */
const guardHeardMs = 2_000;

export async function drain(client: CartwheelClient, kubernetes: Kubernetes, options: DrainOptions): Promise<void> {
  const { to, pattern } = options;
  const { members, claimant } = await claimantStatus(client);
  const isGoing = ({ address }: Pick<Member, 'address'>) => (numberOf(pattern, address) ?? -1) >= to;
  const isUnderWay = claimant?.change !== undefined;
  const going = members.filter(
    (member) => isGoing(member) && member.status !== left && (member.status !== joining || isUnderWay),
  );
  if (going.length > 0) {
    await allAnswer(members, options.answerWithinMs);
    await leave(client, kubernetes, options, going);
  }
  await guardLowered(kubernetes, options);
  note(`pods ${to} and above own nothing any more`);
}

async function leave(
  client: CartwheelClient,
  kubernetes: Kubernetes,
  { to, scaleAccount, stalledAfterMs }: DrainOptions,
  going: readonly Member[],
): Promise<void> {
  note(`to leave: ${going.map(({ address }) => address).join(', ')}`);
  const plan = await client.changes.plan({ leave: going.map(({ id }) => id) });
  if (plan.partitionsWithoutSource.length > 0) throw nothingChanged(lostText(plan));
  note(`plan ${plan.planId}: ${planSummary(plan)}`);
  // First, so that nobody who has left is taken for new.
  const wanted = await setWanted(kubernetes, scaleAccount, String(to));
  try {
    await client.changes.commit(plan.planId);
    await goalReached(client, plan, stalledAfterMs);
  } catch (error) {
    await giveUp(client, plan.planId);
    if (wanted !== undefined) await setWanted(kubernetes, scaleAccount, wanted);
    throw new Problem(
      `the nodes have not left: ${messageOf(error)}`,
      'those that have not left yet stay; `cartwheel ring status` shows what it waits for; then upgrade again',
    );
  }
}

/** Where it is still this change that is under way. */
async function giveUp(client: CartwheelClient, planId: string): Promise<void> {
  try {
    const { claimant } = await client.changes.status();
    if (claimant?.change?.planId === planId) await client.changes.control('ROLL_BACK');
  } catch (error) {
    note(`it could not be rolled back: ${messageOf(error)}`);
  }
}

/** I1. */
async function allAnswer(members: readonly Member[], withinMs: number): Promise<void> {
  const giveUpAt = performance.now() + withinMs;
  let silent = members.filter((member) => member.status === up || member.status === leaving);
  for (;;) {
    const statuses = await readStatuses(silent);
    silent = silent.filter(({ id }) => !statuses.has(id));
    if (silent.length === 0) return;
    if (performance.now() > giveUpAt) break;
    await pause(lookEveryMs);
  }
  const addresses = silent.map(({ address }) => address).join(', ');
  throw nothingChanged(
    `${plural(silent.length, 'node')} of the ring ${silent.length === 1 ? 'does' : 'do'} not answer: ${addresses}`,
  );
}

function nothingChanged(message: string): Problem {
  return new Problem(
    `nodes cannot leave now: ${message}`,
    'nothing was changed; bring all nodes up, or say with `cartwheel ring plan --down` which are gone for good',
  );
}

function lostText({ partitionsWithoutSource: lost }: PlanChangeResponse): string {
  return `all owners of ${plural(lost.length, 'partition')} are down`;
}

/** Answers what it was. */
async function setWanted(kubernetes: Kubernetes, name: string, wanted: string): Promise<string | undefined> {
  const kept = await kubernetes.notes(name);
  const before = kept.notes[WANTED];
  if (before !== wanted) await kubernetes.replaceNotes(kept, { ...kept.notes, [WANTED]: wanted });
  return before;
}

async function guardLowered(kubernetes: Kubernetes, { to, scaleAccount }: DrainOptions): Promise<void> {
  const giveUpAt = performance.now() + guardWithinMs;
  for (;;) {
    const drainedTo = (await kubernetes.notes(scaleAccount)).notes[DRAINED_TO];
    if (Number(drainedTo ?? Number.POSITIVE_INFINITY) <= to) break;
    if (performance.now() > giveUpAt) {
      throw new Problem(`the claimant has not lowered ${DRAINED_TO} of ${scaleAccount} to ${to}: it is ${drainedTo}`);
    }
    await pause(lookEveryMs);
  }
  await pause(guardHeardMs);
}

async function claimantStatus(client: CartwheelClient): Promise<GetStatusResponse> {
  const giveUpAt = performance.now() + claimantWithinMs;
  for (;;) {
    try {
      return await client.changes.status();
    } catch (error) {
      if (!isOperationFailed(error) || performance.now() > giveUpAt) throw error;
      note(`no claimant yet: ${messageOf(error)}`);
    }
    await pause(lookEveryMs);
  }
}
