/** A change of the ring for people: what it would move, and how far it has come. `ring`, `partitions` and `dev` share it. */
import type { Command } from 'commander';
import type { CartwheelClient } from '../client/index.ts';
import type {
  ChangeStatus,
  ClaimantStatus,
  EndedChange,
  GetStatusResponse,
  PlanChangeRequest,
  PlanChangeResponse,
  PlannedNode,
} from '../proto/gen/cartwheel/admin/v1/admin.ts';
import { isOperationFailed, problemOf, withClient } from './connection.ts';
import { claimantBeside } from './dev/layout.ts';
import { Interrupted, unlessInterrupted } from './interruption.ts';
import { joining, leaving, left, statusName, up } from './node-status.ts';
import { bytes, count, duration, note, plural, table } from './output.ts';
import { pause } from './pause.ts';
import { messageOf, Problem } from './problem.ts';
import { type Settings, settingsOf } from './settings.ts';

const transferColumns = [
  { title: 'FROM' },
  { title: 'TO' },
  { title: 'PARTITIONS', align: 'right' },
  { title: 'BYTES', align: 'right' },
] as const;
const nodeColumns = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'ZONE' },
  { title: 'HOST' },
  { title: 'WEIGHT', align: 'right' },
  { title: 'BECOMES' },
  { title: 'OWNS', align: 'right' },
  { title: 'AFTERWARDS', align: 'right' },
  { title: 'TAKES', align: 'right' },
  { title: 'FREE', align: 'right' },
] as const;

/** The endpoints, and where `cartwheel dev` would have the claimant beside them. */
export function withClaimant<T>(
  command: Command,
  run: (client: CartwheelClient, settings: Settings) => Promise<T>,
): Promise<T> {
  const settings = settingsOf(command);
  const endpoints = [
    ...settings.endpoints,
    ...settings.endpoints.flatMap((endpoint) => claimantBeside(endpoint) ?? []),
  ];
  return withClient({ ...settings, endpoints }, async (client) => {
    try {
      return await run(client, settings);
    } catch (error) {
      if (!isOperationFailed(error) || error.reason !== 'NOT_ENOUGH_REPLICAS') throw error;
      throw new Problem(`${error.reason}: ${messageOf(error)}`, claimantHint);
    }
  });
}

const claimantHint =
  'is the claimant, one of the membership processes, running? In a cluster of `cartwheel dev`: cartwheel dev --restart';

/** The whole plan, and last the command that carries it out. */
export function planText(plan: PlanChangeResponse, commitCommand: string): string {
  const addresses = new Map(plan.nodes.map(({ id, address }) => [id, address]));
  const transfers = plan.transfers.map(({ from, to, partitions, bytes: moved }) => [
    addresses.get(from) ?? from,
    addresses.get(to) ?? to,
    count(partitions.length),
    `~${bytes(Number(moved))}`,
  ]);
  const { before, after } = plan;
  const lost = plan.partitionsWithoutSource;
  return [
    `plan     ${plan.planId}`,
    `ring     ${plan.ring?.term}.${plan.ring?.sequence}${plan.changeUnderWay ? ', and the change that is under way' : ''}`,
    `moves    ${planSummary(plan)}`,
    `time     ${plan.etaMs === undefined ? 'not known' : `about ${duration(Number(plan.etaMs) / 1_000)}, as fast as the background is now`}`,
    `safety   partitions on fewer hosts than could be: ${before?.partitionsShortOfHosts} now, ` +
      `${after?.partitionsShortOfHosts} afterwards; zones: ${before?.partitionsShortOfZones} now, ` +
      `${after?.partitionsShortOfZones} afterwards`,
    ...(lost.length === 0
      ? []
      : [
          `DATA IS LOST  of ${plural(lost.length, 'partition')} all owners are down: ${lost.join(', ')}. ` +
            'What only they have is gone unless one of them comes back first',
        ]),
    ...plan.nodes.filter(hasNoRoom).map(noRoomLine),
    '',
    table(nodeColumns, plan.nodes.map(nodeCells)),
    ...(transfers.length === 0 ? [] : [table(transferColumns, transfers)]),
    `carry it out: ${commitCommand} ${plan.planId}`,
    '',
  ].join('\n');
}

export function planSummary({ transfers, partitions, bytes: moved }: PlanChangeResponse): string {
  const replicas = transfers.reduce((sum, transfer) => sum + transfer.partitions.length, 0);
  return `${plural(replicas, 'replica')} of ${plural(partitions, 'partition')}, about ${bytes(Number(moved))}`;
}

function nodeCells({ id, address, zone, host, status, ...node }: PlannedNode): string[] {
  const becomes = statusName(status);
  const owns = [count(node.partitionsBefore), count(node.partitionsAfter)];
  const takes = node.bytes === 0n ? '-' : `~${bytes(Number(node.bytes))}`;
  const free = node.bytesFree === undefined ? '-' : bytes(Number(node.bytesFree));
  return [id, address, zone || '-', host || '-', count(node.weight), becomes, ...owns, takes, free];
}

function hasNoRoom({ bytesWanted, bytesFree }: PlannedNode): boolean {
  return bytesFree !== undefined && bytesWanted > bytesFree;
}

function noRoomLine({ address, bytesWanted, bytesFree }: PlannedNode): string {
  return (
    `NO ROOM  ${address} would want ${bytes(Number(bytesWanted))} of its disk, and has ${bytes(Number(bytesFree))} free: ` +
    'a commit will be refused'
  );
}

/** How far it is, in a line. */
export function changeLine(change: ChangeStatus, { waitingFor }: Pick<ClaimantStatus, 'waitingFor'>): string {
  const partitions = plural(change.partitionsLeft, 'partition');
  return [
    change.partitionsAfter > 0
      ? `${partitions} to become ${count(change.partitionsAfter)}`
      : `${partitions} left, ${count(change.partitionsInFlight)} in flight`,
    // A doubling moves nothing, nor does what only gives up another change.
    ...(change.bytes === 0n
      ? []
      : [`about ${bytes(Number(change.bytesMoved))} of ${bytes(Number(change.bytes))} moved`]),
    ...(change.paused ? ['PAUSED'] : []),
    ...(change.etaMs === undefined ? [] : [`${duration(Number(change.etaMs) / 1_000)} to go`]),
    ...(waitingFor === '' ? [] : [`waiting for ${waitingFor}`]),
  ].join('; ');
}

/** ChangeEnd of admin.proto, not imported: a command that moves nothing need not wait for the contracts to load. */
const done = 1;
const rolledBack = 2;
const replaced = 3;

const lookEveryMs = 500;
const tellEveryMs = 5_000;
/** Of a change that comes no further: the steps of one take seconds. */
const adviseAfterMs = 60_000;
/** The claimant may be started again meanwhile; longer than that takes. */
const claimantBackWithinMs = 60_000;

const adviceText =
  `no further for ${duration(adviseAfterMs / 1_000)}: \`cartwheel tasks\` shows what nodes do; a node that does not come back ` +
  'is given up with `cartwheel ring plan --down NODE`, all that has not moved yet with `cartwheel ring rollback`';

/** Throws a Problem where a change that is not under way ended elsewhere than at its goal, or nobody knows how. */
function requireDone(ended: EndedChange | undefined): void {
  if (ended?.end === done) return;
  const what =
    ended?.end === rolledBack
      ? 'the change was rolled back: what it had moved by then stays'
      : ended?.end === replaced
        ? `another change has taken this one in: ${ended.replacedBy}`
        : 'the change is not under way, and the claimant does not remember how it ended';
  throw new Problem(what, '`cartwheel ring status` shows what is under way');
}

/** How it ended, for a person. */
export function endText({ end, replacedBy }: EndedChange): string {
  if (end === replaced) return `another change, ${replacedBy}, has taken it in`;
  return end === done ? 'done' : end === rolledBack ? 'rolled back' : 'ended';
}

export interface WaitOptions {
  readonly stalledAfterMs?: number | undefined;
  /** Where another change takes it in, that one is waited for: it goes to the goals of both. */
  readonly isFollowed?: boolean;
}

/**
 * Says on standard error how far it is, until it is done, and what can be done where it comes no further. Throws a Problem
 * where it ended otherwise, or has not come any further for so long.
 */
export async function changeDone(
  client: CartwheelClient,
  committed: string,
  { stalledAfterMs = Number.POSITIVE_INFINITY, isFollowed = false }: WaitOptions = {},
): Promise<void> {
  let planId = committed;
  const begunAt = performance.now();
  let told = Number.NEGATIVE_INFINITY;
  let heard = begunAt;
  let moved = heard;
  let state = '';
  let isAway = false;
  let isAdvised = false;
  for (;;) {
    try {
      const { claimant } = await client.changes.status();
      heard = performance.now();
      isAway = false;
      const change = claimant?.change;
      if (change?.planId !== planId) {
        const ended = claimant?.ended.find((each) => each.planId === planId);
        if (isFollowed && ended?.end === replaced) {
          planId = ended.replacedBy;
          note(`another change, ${planId}, has taken this one in, and goes on with it`);
          continue;
        }
        requireDone(ended);
        note(`done after ${duration((heard - begunAt) / 1_000)}`);
        return;
      }
      const now = `${change.partitionsLeft} ${change.partitionsInFlight} ${change.bytesMoved} ${claimant?.waitingFor}`;
      if (now !== state) [state, moved, isAdvised] = [now, heard, false];
      if (heard - moved > stalledAfterMs) {
        throw new Problem(
          `no further for ${duration(stalledAfterMs / 1_000)}: ${changeLine(change, { waitingFor: claimant?.waitingFor ?? '' })}`,
        );
      }
      if (heard - told >= tellEveryMs) {
        note(changeLine(change, { waitingFor: claimant?.waitingFor ?? '' }));
        told = heard;
      }
      if (heard - moved >= adviseAfterMs && !isAdvised) {
        note(adviceText);
        isAdvised = true;
      }
    } catch (error) {
      if (!isOperationFailed(error)) throw error;
      if (performance.now() - heard > claimantBackWithinMs) {
        throw new Problem(
          `for ${duration(claimantBackWithinMs / 1_000)} the claimant has not answered: ${messageOf(error)}`,
          'the change goes on when it runs again; reads and writes do not need it',
        );
      }
      if (!isAway)
        note(`waiting up to ${duration(claimantBackWithinMs / 1_000)} for the claimant: ${messageOf(error)}`);
      isAway = true;
    }
    await pause(lookEveryMs);
  }
}

const ringStatus = '`cartwheel ring status` shows how far it is';

/** `changeDone` for a command: interrupted, it says that the change goes on. */
export function changeWatched(client: CartwheelClient, planId: string, hint = ringStatus): Promise<void> {
  return unlessInterrupted(
    () => changeDone(client, planId),
    () => goesOn(hint),
  );
}

function goesOn(hint: string): Interrupted {
  return new Interrupted('interrupted; the change goes on', hint);
}

export interface CarryOptions {
  /** False: ends once it is committed. */
  readonly wait?: boolean;
  /** Where it ends without anything being committed: what there is to do about what was begun for it, if anything was. */
  readonly ifNotBegun?: () => string | undefined;
  /** Where it is interrupted later, and goes on. */
  readonly ifGoingOn?: string;
}

/** Plans, commits, and waits for the end; says on standard error what moves and how far it is. Gives the plan's id. */
export async function carriedOut(
  client: CartwheelClient,
  plan: () => Promise<PlanChangeResponse>,
  { wait = true, ifNotBegun, ifGoingOn = ringStatus }: CarryOptions = {},
): Promise<string> {
  let isBegun = false;
  const work = async (signal: AbortSignal) => {
    const planned = await plan();
    const { planId } = planned;
    signal.throwIfAborted();
    note(`moving ${planSummary(planned)}`);
    isBegun = true;
    try {
      await client.changes.commit(planId);
    } catch (error) {
      isBegun = !isOperationFailed(error) || error.outcome === 'UNKNOWN';
      throw error;
    }
    if (wait) await goalReached(client, planned);
    return planId;
  };
  const notBegun = () =>
    new Interrupted('interrupted before anything moved', ifNotBegun?.() ?? '`cartwheel status` shows what there is');
  try {
    return await unlessInterrupted(work, () => (isBegun ? goesOn(ifGoingOn) : notBegun()));
  } catch (error) {
    const problem = problemOf(error);
    const todo = isBegun ? undefined : ifNotBegun?.();
    if (todo === undefined || problem instanceof Interrupted || !(problem instanceof Problem)) throw error;
    throw new Problem(problem.message, problem.hint === undefined ? todo : `${problem.hint}; ${todo}`);
  }
}

/** Whichever change gets there: throws a Problem where the nodes of the plan are not what they were to become. */
export async function goalReached(
  client: CartwheelClient,
  planned: PlanChangeResponse,
  stalledAfterMs?: number,
): Promise<void> {
  await changeDone(client, planned.planId, { stalledAfterMs, isFollowed: true });
  await requireReached(client, planned);
}

/** A node says itself that it is up, once it has heard of the ring in which it is. The claimant knows at once who has LEFT. */
const saidWithinMs = 10_000;
const tellAfterMs = 2_000;

/**
 * Throws a Problem where the nodes are not what they were to become. Whoever removes the data of a node that has LEFT relies on
 * this, and not on the word of the claimant alone.
 */
export async function requireReached(
  client: CartwheelClient,
  { nodes }: Pick<PlanChangeResponse, 'nodes'>,
): Promise<void> {
  const giveUpAt = performance.now() + saidWithinMs;
  let isTold = false;
  for (;;) {
    const { members } = await statusSoon(client, giveUpAt);
    const statusNow = new Map(members.map(({ id, status }) => [id, status]));
    const isOther = ({ id, status }: PlannedNode) => (statusNow.get(id) ?? status) !== status;
    const stayed = nodes.find((node) => node.status === left && isOther(node));
    const gone = nodes.find((node) => isJoinOf(node) && isGone(statusNow.get(node.id)));
    const waits = nodes.find((node) => node.status === up && statusNow.get(node.id) === joining);
    const other = stayed ?? gone ?? waits;
    if (other === undefined) return;
    if (other !== waits || performance.now() > giveUpAt) {
      const [wanted, seen] = [other.status, statusNow.get(other.id) ?? 0].map(statusName);
      throw new Problem(`the change was given up: ${other.address} was to be ${wanted}, and is ${seen}`);
    }
    if (!isTold && performance.now() >= giveUpAt - saidWithinMs + tellAfterMs) {
      note(`waiting up to ${duration(saidWithinMs / 1_000)} for ${other.address} to say that it is up`);
      isTold = true;
    }
    await pause(lookEveryMs);
  }
}

function isJoinOf({ status, partitionsBefore, partitionsAfter }: PlannedNode): boolean {
  return status === up && partitionsBefore === 0 && partitionsAfter > 0;
}

function isGone(status: number | undefined): boolean {
  return status === leaving || status === left;
}

/** The claimant may just be starting again. */
async function statusSoon(client: CartwheelClient, giveUpAt: number): Promise<GetStatusResponse> {
  for (;;) {
    try {
      return await client.changes.status();
    } catch (error) {
      if (!isOperationFailed(error) || performance.now() > giveUpAt) throw error;
    }
    await pause(lookEveryMs);
  }
}

const knownEveryMs = 250;

/** The plan, once the nodes in it are known: until then the claimant says that it knows no such node, or that it is silent. */
export async function plannedOnceKnown(
  client: CartwheelClient,
  request: Partial<PlanChangeRequest>,
  withinMs: number,
): Promise<PlanChangeResponse> {
  const giveUpAt = performance.now() + withinMs;
  for (let hasTold = false; ; hasTold = true) {
    try {
      return await client.changes.plan(request);
    } catch (error) {
      const mayPass = isOperationFailed(error) && error.reason === 'CHANGE_IMPOSSIBLE';
      if (!mayPass || performance.now() > giveUpAt) throw error;
      if (!hasTold) note(`waiting up to ${duration(withinMs / 1_000)}: ${messageOf(error)}`);
    }
    await pause(knownEveryMs);
  }
}

/**
 * What runs at `joins` takes the place of a node whose disk is lost. Throws a Problem where nobody else has some of its
 * partitions, unless that is accepted.
 */
export function replaceLost(
  client: CartwheelClient,
  { leaves, joins }: { readonly leaves: string; readonly joins: string },
  { acceptsLoss, knownWithinMs, ...carry }: CarryOptions & { acceptsLoss: boolean; knownWithinMs: number },
): Promise<string> {
  const plan = async () => {
    const planned = await plannedOnceKnown(client, { down: [leaves], replace: [{ leaves, joins }] }, knownWithinMs);
    const { partitionsWithoutSource: lost } = planned;
    if (lost.length === 0 || acceptsLoss) return planned;
    throw new Problem(
      `all owners of ${plural(lost.length, 'partition')} are down, and what only they have would be lost: ${lost.join(', ')}`,
      'bring one of them back first, or add --accept-loss',
    );
  };
  return carriedOut(client, plan, carry);
}
