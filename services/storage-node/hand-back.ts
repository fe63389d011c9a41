/**
 * Records of a partition that is no more this node's: each is given to the owners that lack it, and dropped once all of
 * them have it synced. What is owed to a home goes with its hint (handoff.ts): only the others get it here. Then the owners
 * are told which requests this node remembers: it may be the only one that saw a first attempt (P5), and be gone at the second.
 *
 * An owner that is DOWN may never answer, so it is not waited for while more than half of the owners are not. No write that
 * was acknowledged rests on what is here: whoever became an owner had pulled it (docs/ring-changes.md). What is dropped is
 * with a majority then: any other majority shows it, a disk may be lost, and what is damaged on one is mended from another
 * (P12). The one that is DOWN gets it by an exchange, if it comes back.
 *
 * I1 A record is dropped only if it is still what the owners have confirmed, and is owed to nobody but owners that are DOWN.
 * I2 More than half of the owners of its partition have confirmed it, and all that are not DOWN.
 */
import { Failure } from '../core/failure.ts';
import { groupsOf } from '../core/groups.ts';
import { majority } from '../core/quorum/tally.ts';
import { positionIn, rangeOfPartition, type StorageRange } from '../core/ring/partition.ts';
import { nameOfNode, type Ring, type RingNode } from '../core/ring/ring.ts';
import { sameBytes } from '../core/versioning/record.ts';
import { type Admission, writeDeadline } from './background.ts';
import { encodeRequest } from './beside-records.ts';
import { costOfListing, requestOf } from './exchange.ts';
import { costOfTelling } from './learn-requests.ts';
import { homesOf, type StorageNode } from './node.ts';
import { bytesDigest } from './record-lists.ts';
import { type Held, nothingHeld, unchanged } from './record-store.ts';

/** Given, or dropped, in one go, which takes a few milliseconds. */
const recordsAtOnce = 64;

export interface HandedBack {
  readonly given: number;
  readonly dropped: number;
  /** Records that changed meanwhile, or are not whole, and are here still. */
  readonly left: number;
  /** Homes with a hint that goes first, for a record that is owed to one that is DOWN too: it would not go with that hint. */
  readonly owedTo: ReadonlySet<string>;
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
  const owners = ownersOf(ring, partition);
  /** Homes that are DOWN, with the mark of what they are owed beside hints. */
  const marks = owners.down.map((id) => ({ id, mark: node.hints.markOf(id, partition, ring.partitions) }));
  const isDown = (id: string) => owners.down.includes(id);
  const isOwed = (owed: readonly string[]) => owed.some((id) => !isDown(id));
  const done = { given: 0, dropped: 0, left: 0, owedTo: new Set<string>() };
  await node.store.flush();
  for (let from: Uint8Array | undefined = start; from !== undefined; ) {
    const { era } = node.barriers;
    const page = await node.store.scan(from, end);
    const kept = page.entries.flatMap(([key, stored]): Kept[] => {
      const record = node.store.open(key, stored);
      if (record !== undefined) return [{ key, owed: record.owed, bytes: record.bytes }];
      done.left++; // until it is repaired
      return [];
    });
    if (kept.length > 0) {
      checkEnough(owners);
      for (const owner of owners.here) {
        const records = kept.filter(({ owed }) => !owed.includes(owner));
        if (records.length > 0) await give(owner, records, era);
      }
      for (const some of groupsOf(kept, recordsAtOnce)) await Promise.all(some.map(drop));
    }
    from = page.next;
    if (from !== undefined) reached(positionIn(partition, ring.partitions, from));
  }
  await giveRequests(node, { start, end }, owners.here, { admit });
  for (const { id, mark } of done.left === 0 && done.owedTo.size === 0 ? marks : []) {
    if (mark !== undefined) await node.hints.unmark(id, partition, mark);
  }
  return done;

  /** The owner has them all synced then. */
  async function give(owner: string, records: readonly Kept[], era: number): Promise<void> {
    if (!node.peers.reachable(owner))
      throw new Failure('NOT_ENOUGH_REPLICAS', `${nameOfNode(node.ring(), owner)} cannot be reached`);
    await admit(costOfListing(records.length), 0);
    const keys = records.map(({ key }) => Buffer.from(key));
    const answer = await node.peers.replica(owner).exchange(requestOf({ checkRecords: { keys } }));
    const theirs = new Map(answer.kept.map(({ key, digest }) => [key.toString('latin1'), digest]));
    const lacking = records.filter(({ key, bytes }) => {
      return theirs.get(Buffer.from(key).toString('latin1')) !== bytesDigest(bytes, node.validation.hash);
    });
    for (const some of groupsOf(lacking, recordsAtOnce)) {
      await admit(
        some.length,
        some.reduce((sum, { bytes }) => sum + bytes.length, 0),
      );
      const deadline = writeDeadline(node);
      await Promise.all(
        some.map(({ key, bytes }) =>
          node.peers.replica(owner).write({ key, record: bytes, era, sync: true, hintedFor: '', deadline }),
        ),
      );
      done.given += some.length;
    }
  }

  /** I1. */
  async function drop({ key, bytes }: Kept): Promise<void> {
    const unlessChanged = (now: Held) => {
      const isSame = now.bytes !== undefined && sameBytes(now.bytes, bytes);
      return isSame && !isOwed(now.owed) ? { copy: nothingHeld } : unchanged;
    };
    const { held } = await node.store.change(key, unlessChanged, false);
    if (held.bytes === undefined) done.dropped++;
    else if (!isOwed(held.owed)) done.left++;
    else if (held.owed.some(isDown)) for (const id of held.owed) if (!isDown(id)) done.owedTo.add(id);
  }
}

interface Owners {
  readonly here: readonly string[];
  readonly down: readonly string[];
}

function ownersOf(ring: Ring, partition: number): Owners {
  const homes = homesOf(ring, partition);
  const idsOf = (some: readonly RingNode[]) => some.map(({ id }) => id);
  return {
    here: idsOf(homes.filter(({ status }) => status !== 'DOWN')),
    down: idsOf(homes.filter(({ status }) => status === 'DOWN')),
  };
}

/** I2. Throws Failure NOT_ENOUGH_REPLICAS where too many are DOWN. */
function checkEnough({ here, down }: Owners): void {
  const owners = here.length + down.length;
  if (here.length >= majority(owners)) return;
  const message = `${majority(owners)} of ${owners} owners have to take it, and ${here.length} are not DOWN; DOWN: ${down.join(', ')}`;
  throw new Failure('NOT_ENOUGH_REPLICAS', message);
}

/**
 * Tells the owners of a range what is remembered of it here, once they have its records. What they do not take (I1) is told
 * them the next time too; it stays here like all the rest. Throws what a call to an owner throws.
 */
async function giveRequests(
  node: Pick<StorageNode, 'requests' | 'peers' | 'ring'>,
  range: StorageRange,
  owners: readonly string[],
  { admit }: Pick<Admission, 'admit'>,
): Promise<void> {
  let from: Uint8Array | undefined;
  do {
    const page = await node.requests.list(range, from);
    const news = page.requests.filter(({ isGiven }) => !isGiven);
    if (news.length > 0) {
      if (owners.length === 0) throw new Failure('NOT_ENOUGH_REPLICAS', 'all owners are DOWN');
      const requests = news.map(encodeRequest);
      let taken: ReadonlySet<number> = new Set(news.keys());
      for (const owner of owners) {
        if (!node.peers.reachable(owner))
          throw new Failure('NOT_ENOUGH_REPLICAS', `${nameOfNode(node.ring(), owner)} cannot be reached`);
        await admit(costOfTelling(requests.length), 0);
        const { agreed } = await node.peers.replica(owner).exchange(requestOf({ learnRequests: { requests } }));
        taken = new Set(agreed.filter((i) => taken.has(i)));
      }
      await node.requests.noteGiven(news.filter((_, i) => taken.has(i)));
    }
    from = page.next;
  } while (from !== undefined);
}
