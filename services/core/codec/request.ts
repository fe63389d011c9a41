/**
 * The table of requests that were seen, in generations, so that the oldest can go without a look at each:
 *
 *   u32     generation
 *   u64     hash of the key    (the first bytes of its storage key)
 *   the request id
 *
 * The value is the dot that its write got:
 *
 *   u64     actor
 *   varint  counter
 *   u8      flags, where there are any: 1 its write is settled, 2 it was given to the owners
 */
import type { Dot } from '../versioning/causal-context.ts';
import { ByteReader, ByteWriter, varintSize } from './bytes.ts';

const hashBytes = 8;
const SETTLED = 1;
const GIVEN = 2;

export function requestKey(generation: number, storageKey: Uint8Array, requestId: Uint8Array): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(4 + hashBytes + requestId.length));
  writer.u32(generation);
  writer.put(storageKey.subarray(0, hashBytes));
  writer.put(requestId);
  return writer.bytes;
}

/** The range of a key's requests in a generation; of all keys with its hash. */
export function requestsOfKey(
  generation: number,
  storageKey: Uint8Array,
): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const start = requestKey(generation, storageKey, new Uint8Array(0));
  // Ids have at most 32 bytes.
  return { start, end: requestKey(generation, storageKey, new Uint8Array(33).fill(0xff)) };
}

/** What a key of the table names. */
export function parseRequestKey(key: Uint8Array): { readonly hash: bigint; readonly id: Uint8Array } {
  const reader = new ByteReader(key, 4);
  return { hash: reader.u64(), id: key.subarray(reader.position) };
}

export function generationOf(key: Uint8Array): number {
  return new ByteReader(key).u32();
}

/** Where a generation begins: all before it are older. */
export function startOfGeneration(generation: number): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(4));
  writer.u32(generation);
  return writer.bytes;
}

export interface Remembered {
  readonly dot: Dot;
  /** Its record was let go here: what it wrote is covered, and gone everywhere. */
  readonly isSettled: boolean;
  /** The partition is others’, and all of its owners know it (beside-records.ts). */
  readonly isGiven: boolean;
}

export function encodeRemembered({ dot: { actor, counter }, isSettled, isGiven }: Remembered): Uint8Array {
  const flags = (isSettled ? SETTLED : 0) | (isGiven ? GIVEN : 0);
  const writer = new ByteWriter(new Uint8Array(8 + varintSize(counter) + (flags === 0 ? 0 : 1)));
  writer.u64(actor);
  writer.varint(counter);
  if (flags !== 0) writer.u8(flags);
  return writer.bytes;
}

export function decodeRemembered(bytes: Uint8Array): Remembered {
  const reader = new ByteReader(bytes);
  const dot = { actor: reader.u64(), counter: reader.varint() };
  const flags = reader.position < bytes.length ? reader.u8() : 0;
  reader.finish();
  return { dot, isSettled: (flags & SETTLED) !== 0, isGiven: (flags & GIVEN) !== 0 };
}
