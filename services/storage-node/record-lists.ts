/**
 * What a node tells others of all that it keeps, record by record, tombstones too (an exchange does not list those):
 * to whoever takes a partition over, page by page, and to whoever wants to give its own copies up.
 *
 * I1 A page is given only by a ring at least as new as the one asked by: what is placed by an older one is refused here
 *    from then on (core/ring/fences.ts), so nothing of it comes after the page and is missed.
 * I2 What is said of a checked key is on the disk.
 * I3 Nothing is left out: a page with a record that is not whole is given once that is repaired (record-repair.ts).
 * I4 With a page goes the era of whoever gives it: a node that was in no barrier yet is in none before that of its owners.
 */
import type {
  CheckRecords,
  ExchangeResponse,
  KeyDigest,
  ListRecords,
} from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Malformed } from '../core/codec/bytes.ts';
import { DamagedData } from '../core/damaged-data.ts';
import { Failure } from '../core/failure.ts';
import { groupsOf } from '../core/groups.ts';
import type { Hash64, ScanPage } from '../core/ports.ts';
import { rangeOfPartition } from '../core/ring/partition.ts';
import { epochOf, epochOfParts, nodeById, type Ring, serves } from '../core/ring/ring.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import type { StorageNode } from './node.ts';

/** So many are read on the event loop itself where they are in memory (rocksdb/read-placement.ts), in a fraction of a millisecond. */
const checkedAtOnce = 64;
const notKept = 0n;

export type Listing = Pick<ExchangeResponse, 'behind' | 'kept' | 'next' | 'partitionBytes' | 'era'>;

/** Of a record as it is kept: equal ones have equal digests. */
export function bytesDigest(bytes: Uint8Array | undefined, hash: Hash64): bigint {
  return bytes === undefined ? notKept : hash(bytes);
}

export async function listRecords(
  node: Pick<StorageNode, 'id' | 'barriers' | 'engine' | 'ring' | 'store' | 'validation'>,
  { partition, partitions, ringTerm, ringSequence, from }: ListRecords,
): Promise<Listing> {
  const { store } = node;
  const { hash } = node.validation;
  const known = node.ring();
  if (known === undefined || isBehind(known, { partitions, ringTerm, ringSequence }))
    return { behind: true, kept: [], next: Buffer.alloc(0), partitionBytes: 0n, era: 0n };
  const { start, end } = rangeOfPartition(partition, partitions);
  await store.flush();
  const page = await store.scan(from.length === 0 ? start : from, end);
  const kept = page.entries.map(([key, stored]): KeyDigest => {
    const record = store.open(key, stored);
    if (record === undefined) throw new Failure('STORAGE_FAILED', 'a record of the page is not whole');
    return { key: key as Buffer, digest: bytesDigest(record.bytes, hash) };
  });
  const partitionBytes = BigInt(Math.round(bytesOfPartition(node, known)));
  const era = BigInt(node.barriers.era);
  return { behind: false, kept, next: Buffer.from(page.next ?? []), partitionBytes, era };
}

/** Whether it is older than what is asked by, or has other partitions. */
export function isBehind(
  known: Ring | undefined,
  { partitions, ringTerm, ringSequence }: Pick<ListRecords, 'partitions' | 'ringTerm' | 'ringSequence'>,
): boolean {
  const wanted = epochOfParts(ringTerm, ringSequence) ?? 0;
  return known === undefined || epochOf(known.version) < wanted || known.partitions !== partitions;
}

/** On this node's disk, on average over those that it serves. */
function bytesOfPartition({ id, engine }: Pick<StorageNode, 'id' | 'engine'>, ring: Ring): number {
  const self = nodeById(ring, id)?.index ?? -1;
  let served = 0;
  for (let partition = 0; partition < ring.partitions; partition++) if (serves(ring, partition, self)) served++;
  return engine.stats().diskBytes / Math.max(1, served);
}

/**
 * Of what an owner lists, in the order of the keys, the keys of which something else is here, or nothing: by one look at
 * the engine, for a fraction of what a read of each costs. What is on its way to the disk here may be named needlessly.
 * What is on its way out must not be taken for kept: a record that this node has just given up, before it knew that it takes
 * the partition over, is in the engine until then.
 */
export async function differingHere(
  { store, records, validation: { hash } }: Pick<StorageNode, 'store' | 'records' | 'validation'>,
  kept: readonly KeyDigest[],
): Promise<Uint8Array[]> {
  const [first, last] = [kept[0], kept.at(-1)];
  if (first === undefined || last === undefined) return [];
  await store.flush();
  const here = new Map<string, bigint>();
  const afterLast = Buffer.concat([last.key, Buffer.of(0)]);
  for (let from: Uint8Array | undefined = first.key; from !== undefined; ) {
    const page: ScanPage = await store.scan(from, afterLast);
    for (const [key, stored] of page.entries) {
      // One that is not whole differs, and is met, and told of, when it is merged into.
      const bytes = bytesOf(records, stored);
      if (bytes !== undefined) here.set(storageKeyText(key), bytesDigest(bytes, hash));
    }
    from = page.next;
  }
  return kept.flatMap(({ key, digest }) => (here.get(storageKeyText(key)) === digest ? [] : [key]));
}

function bytesOf(records: StorageNode['records'], stored: Uint8Array): Uint8Array | undefined {
  try {
    return records.decodeStored(stored).bytes;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

/**
 * In the order of the keys. Read from the engine, and not by changes that change nothing: a key costs less than half of that, and
 * puts nothing that clients read out of the cache. What cannot be read is said not to be kept, so it is given, and met when
 * that is merged into it.
 */
export async function checkRecords(
  { store, engine, records, validation: { hash } }: Pick<StorageNode, 'store' | 'engine' | 'records' | 'validation'>,
  { keys }: CheckRecords,
): Promise<KeyDigest[]> {
  await store.flush();
  const found: (Uint8Array | undefined)[] = [];
  for (const some of groupsOf(keys, checkedAtOnce)) {
    const read = engine.getMany('records', some).catch((error: unknown): undefined[] => {
      if (error instanceof DamagedData) return new Array(some.length).fill(undefined);
      throw error;
    });
    found.push(...(await read));
  }
  // I2: not before the look, or what was merged in between would be told of, and lost with the power.
  await store.flush({ sync: true });
  return keys.map((key, i) => {
    const stored = found[i];
    return { key, digest: bytesDigest(stored && bytesOf(records, stored), hash) };
  });
}
