/**
 * Records of a partition that this node keeps for another, given to it one by one, without hints: those that hints had no
 * room for (hints.ts, marks). Where this node is no home of the partition, each goes once its home has it.
 *
 * I1 A record is given up only when every node that it is kept for has synced it, and only if it is still what was sent.
 *    One that is also owed to another by a hint goes with that, or marks the partition again (handoff.ts).
 * I2 When it ends, what was given up is gone from the engine: whoever then forgets why it was kept leaves nothing behind.
 * I3 Nothing is given up of a partition that this node serves by the time, or takes over: what it has pulled it counts as
 *    its own. Nor of one that it has given up itself, which is handed back to all that own it (hand-back.ts), not to one.
 */
import { positionIn, rangeOfPartition } from '../core/ring/partition.ts';
import type { Ring } from '../core/ring/ring.ts';
import { sameBytes } from '../core/versioning/record.ts';
import { type Admission, writeDeadline } from './background.ts';
import { isServedBy, placeOf, type StorageNode } from './node.ts';
import { type Held, nothingHeld, unchanged } from './record-store.ts';

/** Given in one go, which takes a few milliseconds. */
const pageRecords = 64;

export interface HandedOver {
  readonly given: number;
  /** Records that changed while they were given, or are not whole, and are kept for the home still. */
  readonly left: number;
}

/** Throws what a write to the home throws. */
export async function handOver(
  node: StorageNode,
  ring: Ring,
  partition: number,
  home: string,
  { admit, reached }: Admission,
): Promise<HandedOver> {
  const { start, end } = rangeOfPartition(partition, ring.partitions);
  /** By the ring of the very turn in which it would go (I3). */
  const staysHere = (key: Uint8Array): boolean => {
    const place = placeOf(node.ring() ?? ring, key);
    return isServedBy(place, node.id) || node.leftovers.has(place.partition) || node.hints.isMarked(key, home);
  };
  let given = 0;
  let left = 0;
  await node.store.flush();
  for (let from: Uint8Array | undefined = start; from !== undefined; ) {
    const { era } = node.barriers;
    const page = await node.store.scan(from, end, pageRecords);
    await admit(
      page.entries.length,
      page.entries.reduce((sum, [, stored]) => sum + stored.length, 0),
    );
    await Promise.all(
      page.entries.map(async ([key, stored]) => {
        const bytes = node.store.open(key, stored)?.bytes;
        if (bytes === undefined) {
          left++; // until it is repaired
          return;
        }
        const deadline = writeDeadline(node);
        await node.peers.replica(home).write({ key, record: bytes, era, sync: true, hintedFor: '', deadline });
        given++;
        const unlessChanged = (now: Held) => {
          if (staysHere(key) || now.owed.length > 0 || now.bytes === undefined) return unchanged;
          return sameBytes(now.bytes, bytes) ? { copy: nothingHeld } : unchanged;
        };
        const { held, committed } = await node.store.change(key, unlessChanged, false);
        if (held.bytes !== undefined && !sameBytes(held.bytes, bytes)) left++;
        await committed; // before the mark goes (I2)
      }),
    );
    from = page.next;
    if (from !== undefined) reached(positionIn(partition, ring.partitions, from));
  }
  return { given, left };
}
