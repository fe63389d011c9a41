/**
 * Records of a partition that is no more this node's: each is given to the owners that lack it, and dropped once all of
 * them have it synced. What is owed to a home goes with its hint (handoff.ts): only the others get it here. Then the owners
 * are told which requests this node remembers: it may be the only one that saw a first attempt (P5), and be gone at the second.
 *
 * I1 A record is dropped only if it is still what the owners have confirmed, and is owed to nobody.
 */
import { Failure } from '../core/failure.ts';
import { positionIn, rangeOfPartition, type StorageRange } from '../core/ring/partition.ts';
import type { Ring } from '../core/ring/ring.ts';
import { sameBytes } from '../core/versioning/record.ts';
import { type Admission, writeDeadline } from './background.ts';
import { encodeRequest } from './beside-records.ts';
import { requestOf } from './exchange.ts';
import { homesOf, type StorageNode } from './node.ts';
import { bytesDigest, pageRecords } from './record-lists.ts';
import { type Held, nothingHeld, unchanged } from './record-store.ts';

export interface HandedBack {
  readonly given: number;
  readonly dropped: number;
  /** Records that changed meanwhile, or are not whole, and are here still. */
  readonly left: number;
}

interface Kept {
  readonly owed: readonly string[];
  readonly key: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Throws what a call to an owner throws. */
export async function handBack(
  node: StorageNode,
  ring: Ring,
  partition: number,
  { admit, reached }: Admission,
): Promise<HandedBack> {
  const { start, end } = rangeOfPartition(partition, ring.partitions);
  const owners = homesOf(ring, partition).map(({ id }) => id);
  const done = { given: 0, dropped: 0, left: 0 };
  await node.store.flush();
  for (let from: Uint8Array | undefined = start; from !== undefined; ) {
    const { era } = node.barriers;
    const page = await node.store.scan(from, end, pageRecords);
    const kept = page.entries.flatMap(([key, stored]): Kept[] => {
      const record = node.store.open(key, stored);
      if (record !== undefined) return [{ key, owed: record.owed, bytes: record.bytes }];
      done.left++; // until it is repaired
      return [];
    });
    if (kept.length > 0) {
      for (const owner of owners) {
        const records = kept.filter(({ owed }) => !owed.includes(owner));
        if (records.length > 0) await give(owner, records, era);
      }
      await Promise.all(kept.map(drop));
    }
    from = page.next;
    if (from !== undefined) reached(positionIn(partition, ring.partitions, from));
  }
  // Nobody waits for one that is DOWN, which may never answer.
  const here = homesOf(ring, partition).flatMap(({ id, status }) => (status === 'DOWN' ? [] : [id]));
  await giveRequests(node, { start, end }, here, { admit });
  return done;

  /** The owner has them all synced then. */
  async function give(owner: string, records: readonly Kept[], era: number): Promise<void> {
    if (!node.peers.reachable(owner)) throw new Failure('NOT_ENOUGH_REPLICAS', `node ${owner} cannot be reached`);
    await admit(records.length, 0);
    const keys = records.map(({ key }) => Buffer.from(key));
    const answer = await node.peers.replica(owner).exchange(requestOf({ checkRecords: { keys } }));
    const theirs = new Map(answer.kept.map(({ key, digest }) => [key.toString('latin1'), digest]));
    const lacking = records.filter(({ key, bytes }) => {
      return theirs.get(Buffer.from(key).toString('latin1')) !== bytesDigest(bytes, node.validation.hash);
    });
    await admit(
      lacking.length,
      lacking.reduce((sum, { bytes }) => sum + bytes.length, 0),
    );
    const deadline = writeDeadline(node);
    await Promise.all(
      lacking.map(({ key, bytes }) =>
        node.peers.replica(owner).write({ key, record: bytes, era, sync: true, hintedFor: '', deadline }),
      ),
    );
    done.given += lacking.length;
  }

  /** I1. */
  async function drop({ key, bytes }: Kept): Promise<void> {
    const unlessChanged = (now: Held) => {
      const isSame = now.bytes !== undefined && sameBytes(now.bytes, bytes);
      return isSame && now.owed.length === 0 ? { copy: nothingHeld } : unchanged;
    };
    const { held } = await node.store.change(key, unlessChanged, false);
    if (held.bytes === undefined) done.dropped++;
    else if (held.owed.length === 0) done.left++;
  }
}

/**
 * Tells the owners of a range what is remembered of it here, once they have its records. What they do not take (I1) is told
 * them the next time too; it stays here like all the rest. Throws what a call to an owner throws.
 */
async function giveRequests(
  node: Pick<StorageNode, 'requests' | 'peers'>,
  range: StorageRange,
  owners: readonly string[],
  { admit }: Pick<Admission, 'admit'>,
): Promise<void> {
  let from: Uint8Array | undefined;
  do {
    const page = await node.requests.list(range, from);
    const news = page.requests.filter(({ isGiven }) => !isGiven);
    if (news.length > 0) {
      const requests = news.map(encodeRequest);
      let taken: ReadonlySet<number> = new Set(news.keys());
      for (const owner of owners) {
        if (!node.peers.reachable(owner)) throw new Failure('NOT_ENOUGH_REPLICAS', `node ${owner} cannot be reached`);
        await admit(requests.length, 0);
        const { agreed } = await node.peers.replica(owner).exchange(requestOf({ learnRequests: { requests } }));
        taken = new Set(agreed.filter((i) => taken.has(i)));
      }
      await node.requests.noteGiven(news.filter((_, i) => taken.has(i)));
    }
    from = page.next;
  } while (from !== undefined);
}
