/**
 * A partition that this node is to own, pulled from one of its owners: every record that is not the same here is fetched,
 * merged and synced. In the order of the hash, so that it goes on where it was interrupted.
 *
 * Owners that have it all are needed, and each of them that is not DOWN is pulled from: a write that was acknowledged
 * before may be with a single one of them. Then what is remembered beside the records (beside-records.ts).
 *
 * With the records comes the era of their owner (core/stability/era.ts): a node that has joined since a barrier knows nothing
 * of it, and would take from one that had left before it what all others refuse.
 */
import type { ExchangeResponse } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../core/failure.ts';
import { groupsOf } from '../core/groups.ts';
import { positionIn } from '../core/ring/partition.ts';
import { partsOfEpoch } from '../core/ring/ring.ts';
import { eraOf, firstEra } from '../core/stability/era.ts';
import { type Admission, writeDeadline } from './background.ts';
import { ownLosses } from './beside-records.ts';
import { fetchRecords, requestOf } from './exchange.ts';
import { costOfLearning, costOfTelling, learnRequests } from './learn-requests.ts';
import type { StorageNode } from './node.ts';
import { differingHere } from './record-lists.ts';

/** Merged in one go, which takes a few milliseconds. */
const recordsAtOnce = 32;
/** Looked for in one go, and learned in one batch where their records are neighbours. */
const requestsAtOnce = 256;

export interface Pull {
  readonly partition: number;
  /** Q. */
  readonly partitions: number;
  readonly owner: string;
  /** Of the ring that named this node as pending. */
  readonly epoch: number;
  /** Where it goes on; undefined: from the beginning. */
  from: Uint8Array | undefined;
  /** How far it has come: what lost is pulled of many partitions at once (transfers.ts). */
  stage: 'records' | 'requests' | 'losses' | 'done';
  records: number;
  bytes: number;
}

/** The disk has less than what is left of the partition takes: it is for the foreground. */
export class NoRoom extends Failure {}

function checkRoom({ id, engine }: StorageNode, pull: Pull, partitionBytes: number): void {
  const wanted = Math.ceil(partitionBytes * (1 - progressOf(pull)));
  const { freeBytes } = engine.stats();
  if (wanted <= freeBytes) return;
  const message = `partition ${pull.partition} takes ${wanted} bytes more on the disk of node ${id}, and ${freeBytes} are free`;
  throw new NoRoom('OVERLOADED', message);
}

/** 0 to 1. */
export function progressOf({ partition, partitions, from }: Pull): number {
  return from === undefined ? 0 : positionIn(partition, partitions, from);
}

/**
 * Brings it as far as `losses`, or not where the owner does not know the ring yet. Throws what a call, or a write, throws,
 * and NoRoom before a disk would be full.
 */
export async function pullPartition(node: StorageNode, pull: Pull, admission: Admission): Promise<void> {
  if (pull.stage === 'records' && (await pullRecords(node, pull, admission))) pull.stage = 'requests';
  if (pull.stage === 'requests' && (await pullRequests(node, pull, admission))) pull.stage = 'losses';
}

/** Resolves when all is here, and false when the owner does not know the ring yet; so all below. */
async function pullRecords(node: StorageNode, pull: Pull, { admit, reached }: Admission): Promise<boolean> {
  const owner = node.peers.replica(pull.owner);
  const { partition, partitions } = pull;
  for (;;) {
    await admit(1, 0);
    const listing = { partition, partitions, from: Buffer.from(pull.from ?? []), ...partsOfEpoch(pull.epoch) };
    const { behind, kept, next, partitionBytes, era } = await owner.exchange(requestOf({ listRecords: listing }));
    if (behind) return false;
    await node.barriers.follow(eraOf(era) ?? firstEra);
    checkRoom(node, pull, Number(partitionBytes));
    const lacking = await differingHere(node, kept);
    const written = { era: node.barriers.era, sync: true, hintedFor: '' };
    let came = 0;
    for await (const records of fetchRecords(owner, lacking)) {
      came += records.length;
      for (const some of groupsOf(records, recordsAtOnce)) {
        const bytes = some.reduce((sum, { record }) => sum + record.length, 0);
        await admit(some.length, bytes);
        const deadline = writeDeadline(node);
        await Promise.all(some.map((one) => node.replica.write({ ...written, ...one, deadline })));
        pull.records += some.length;
        pull.bytes += bytes;
      }
    }
    // It may have turned out not to be whole since it was listed: the page is asked for once more, until it is repaired.
    if (came < lacking.length)
      throw new Failure('STORAGE_FAILED', `node ${pull.owner} gave ${came} of ${lacking.length} records that it lists`);
    if (next.length === 0) return true;
    if (pull.from !== undefined && Buffer.compare(next, pull.from) <= 0)
      throw new Failure('INTERNAL', `node ${pull.owner} lists the same records again`);
    pull.from = next;
    reached(progressOf(pull));
  }
}

async function pullRequests(node: StorageNode, pull: Pull, { admit }: Admission): Promise<boolean> {
  const { owner, partition, partitions, epoch } = pull;
  return eachPage(owner, async (from) => {
    await admit(1, 0);
    const listing = { partition, partitions, from, ...partsOfEpoch(epoch) };
    const page = await node.peers.replica(owner).exchange(requestOf({ listRequests: listing }));
    for (const some of groupsOf(page.requests, requestsAtOnce)) {
      await admit(costOfTelling(some.length), 0);
      await learnRequests(node, some, (news) => admit(costOfLearning(news), 0));
    }
    return page;
  });
}

/** Of several partitions of one owner: its ledger is looked through once for all of them. */
export async function pullLosses(
  node: StorageNode,
  pulls: readonly [Pull, ...Pull[]],
  { admit }: Admission,
): Promise<boolean> {
  const [{ owner, partitions }] = pulls;
  const of = pulls.map(({ partition }) => partition);
  const epoch = Math.max(...pulls.map((pull) => pull.epoch));
  const known = await ownLosses(node, of, partitions);
  return eachPage(owner, async (from) => {
    await admit(1, 0);
    const listing = { of, partitions, from, ...partsOfEpoch(epoch) };
    const page = await node.peers.replica(owner).exchange(requestOf({ listLosses: listing }));
    await admit(
      page.losses.length,
      page.losses.reduce((sum, { key, value }) => sum + key.length + value.length, 0),
    );
    await node.losers.learn(page.losses, known);
    return page;
  });
}

/** Calls `pull` from the beginning on, and then from the `next` of each page, to the last. */
async function eachPage(
  owner: string,
  pull: (from: Buffer) => Promise<Pick<ExchangeResponse, 'behind' | 'next'>>,
): Promise<boolean> {
  for (let from: Buffer = Buffer.alloc(0); ; ) {
    const { behind, next } = await pull(from);
    if (behind) return false;
    if (next.length === 0) return true;
    if (Buffer.compare(next, from) <= 0) throw new Failure('INTERNAL', `node ${owner} lists the same page again`);
    from = next;
  }
}
