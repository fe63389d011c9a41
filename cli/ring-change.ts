/** A change of the ring for people: what it would move, and how far it has come. `ring`, `partitions` and `dev` share it. */
import type { Command } from 'commander';
import type { CartwheelClient } from '../client/index.ts';
import type {
  ChangeStatus,
  ClaimantStatus,
  PlanChangeRequest,
  PlanChangeResponse,
  PlannedNode,
} from '../proto/gen/cartwheel/admin/v1/admin.ts';
import { isOperationFailed, withClient } from './connection.ts';
import { claimantBeside } from './dev/layout.ts';
import { bytes, count, duration, note, plural, table } from './output.ts';
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
/** NodeStatus of kv.proto, by number. */
const statuses = ['?', 'joining', 'up', 'leaving', 'left', 'down'] as const;

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
  return withClient({ ...settings, endpoints }, (client) => run(client, settings));
}

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
  const becomes = statuses[status] ?? '?';
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
  return [
    `${plural(change.partitionsLeft, 'partition')} left, ${count(change.partitionsInFlight)} in flight`,
    `about ${bytes(Number(change.bytesMoved))} of ${bytes(Number(change.bytes))} moved`,
    ...(change.paused ? ['PAUSED'] : []),
    ...(change.etaMs === undefined ? [] : [`${duration(Number(change.etaMs) / 1_000)} to go`]),
    ...(waitingFor === '' ? [] : [`waiting for ${waitingFor}`]),
  ].join('; ');
}

const lookEveryMs = 500;
const tellEveryMs = 5_000;
/** The claimant may be started again meanwhile; longer than that takes. */
const claimantBackWithinMs = 60_000;

/**
 * Says on standard error how far it is, until it is done. Throws a Problem where another change takes its place, or it has
 * not come any further for so long.
 */
export async function changeDone(
  client: CartwheelClient,
  planId: string,
  stalledAfterMs = Number.POSITIVE_INFINITY,
): Promise<void> {
  let told = Number.NEGATIVE_INFINITY;
  let heard = performance.now();
  let moved = heard;
  let state = '';
  for (;;) {
    try {
      const { claimant } = await client.changes.status();
      heard = performance.now();
      const change = claimant?.change;
      if (change === undefined) return;
      if (change.planId !== planId) {
        throw new Problem(`another change has taken the place of this one: ${change.planId}`, 'cartwheel ring status');
      }
      const now = `${change.partitionsLeft} ${change.partitionsInFlight} ${claimant?.waitingFor}`;
      if (now !== state) [state, moved] = [now, heard];
      if (heard - moved > stalledAfterMs) {
        throw new Problem(
          `no further for ${duration(stalledAfterMs / 1_000)}: ${changeLine(change, { waitingFor: claimant?.waitingFor ?? '' })}`,
        );
      }
      if (heard - told >= tellEveryMs) {
        note(changeLine(change, { waitingFor: claimant?.waitingFor ?? '' }));
        told = heard;
      }
    } catch (error) {
      if (!isOperationFailed(error) || performance.now() - heard > claimantBackWithinMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
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
    await new Promise((done) => setTimeout(done, knownEveryMs));
  }
}

/**
 * Plans that what runs at `joins` takes the place of a node whose disk is lost, and commits it. Throws a Problem where
 * nobody else has some of its partitions, unless that is accepted.
 */
export async function replaceLost(
  client: CartwheelClient,
  { leaves, joins }: { readonly leaves: string; readonly joins: string },
  acceptsLoss: boolean,
  withinMs: number,
): Promise<string> {
  const planned = await plannedOnceKnown(client, { down: [leaves], replace: [{ leaves, joins }] }, withinMs);
  const { planId, partitionsWithoutSource: lost } = planned;
  if (lost.length > 0 && !acceptsLoss) {
    throw new Problem(
      `all owners of ${plural(lost.length, 'partition')} are down, and what only they have would be lost: ${lost.join(', ')}`,
      'bring one of them back first, or add --accept-loss',
    );
  }
  note(`moving ${planSummary(planned)}`);
  await client.changes.commit(planId);
  return planId;
}
