/** A change of the ring as the nemesis makes it: asked for until it has come to its end, whoever dies meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CartwheelClient, connect, OperationFailed } from '../../client/index.ts';
import type { PlanChangeRequest } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { decodeMember } from '../../services/core/membership/member.ts';

const lookEveryMs = 300;
/** It goes on while processes die and links are cut, which it waits for. */
const patienceMs = 240_000;

export interface Wanted {
  /** Ids of nodes. */
  readonly joins: readonly string[];
  readonly leaves: readonly string[];
  /** Their disks are lost. */
  readonly down: readonly string[];
  /** Whether the disk of the node of that id has been lost, perhaps meanwhile. */
  isLost(id: string): boolean;
}

/** Resolves when the ring has come to it and stays, or it is stopped. Throws where that takes too long. */
export async function carryOut(claimant: string, wanted: Wanted, stop?: AbortSignal): Promise<void> {
  await untilDone(claimant, (client) => lookOrAsk(client, wanted), stop);
}

/**
 * Waits until no other change is under way, and makes two of each partition. Resolves with how many there are then;
 * undefined: it was stopped before. Throws where that takes too long.
 */
export async function doublePartitions(claimant: string, stop?: AbortSignal): Promise<number | undefined> {
  let wanted: number | undefined;
  const isDone = await untilDone(
    claimant,
    async ({ changes }) => {
      const { claimant, partitions } = await changes.status();
      wanted ??= 2 * partitions;
      if (claimant?.change !== undefined) return `it waits for ${claimant.waitingFor}`;
      if (partitions >= wanted) return 'done';
      const { planId, partitionsAfter } = await changes.planDoubling();
      // What was committed before, and not answered, may have been done since the look.
      if (partitionsAfter === wanted) await changes.commit(planId);
      return 'it was asked for';
    },
    stop,
  );
  return isDone ? wanted : undefined;
}

/** Takes one step after the other until one says that it is done; false: it was stopped before. */
async function untilDone(
  claimant: string,
  step: (client: CartwheelClient) => Promise<string>,
  stop: AbortSignal | undefined,
): Promise<boolean> {
  const client = connect({ endpoints: [claimant] });
  const giveUpAt = performance.now() + patienceMs;
  try {
    while (stop?.aborted !== true) {
      const last = await step(client).catch(messageOfFailure);
      if (last === 'done') return true;
      if (performance.now() > giveUpAt) throw new Error(`the ring did not change in ${patienceMs} ms: ${last}`);
      await sleep(lookEveryMs);
    }
    return false;
  } finally {
    await client.close();
  }
}

function messageOfFailure(error: unknown): string {
  if (error instanceof OperationFailed) return error.message;
  throw error;
}

async function lookOrAsk(client: CartwheelClient, { joins, leaves, down, isLost }: Wanted): Promise<string> {
  const { claimant, members, partitions } = await client.changes.status();
  const statuses = new Map(members.map(decodeMember).map(({ id, status }) => [id, status]));
  const isGone = (id: string) => {
    const status = statuses.get(id);
    // One that has left is forgotten, by whoever knows a ring.
    return status === 'LEFT' || status === 'DOWN' || (status === undefined && (partitions > 0 || isLost(id)));
  };
  const awaited = down.filter((id) => !isGone(id));
  // A change that is under way may wait for those that are lost: then it has to be told.
  if (claimant?.change !== undefined && awaited.length === 0) return `it waits for ${claimant.waitingFor}`;
  // One that has lost its disk on its way in never is UP: another takes its place.
  const missing = joins.filter((id) => statuses.get(id) !== 'UP' && !isLost(id));
  const staying = leaves.filter((id) => !isGone(id));
  if (missing.length === 0 && staying.length === 0 && awaited.length === 0) return 'done';
  const request: Partial<PlanChangeRequest> = { join: missing, leave: staying, down: [...down] };
  await client.changes.commit((await client.changes.plan(request)).planId);
  return 'it was asked for';
}

/** The id of the node that is reached there, once it answers. */
export async function idAt(address: string): Promise<string> {
  const client = connect({ endpoints: [address] });
  try {
    for (;;) {
      try {
        return (await client.status(address)).id;
      } catch (error) {
        if (!(error instanceof OperationFailed)) throw error;
      }
      await sleep(lookEveryMs);
    }
  } finally {
    await client.close();
  }
}
