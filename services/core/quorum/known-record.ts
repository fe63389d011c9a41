/**
 * Digest reads: a reader that has a record already says what it has, and a replica that has the same says only that (as
 * Cassandra's coordinators do). Replicas agree nearly always, so nearly all values are sent by nobody.
 *
 * 64 bits of hash, and the length, stand for the record: as in the digests by which replicas are compared (core/merkle).
 */
import type { Hash64 } from '../ports.ts';

/** What is sent in the place of the record; undefined: nothing, and the record comes whole. */
export function digestOfKnown(record: Uint8Array | undefined, hash: Hash64): bigint | undefined {
  return record && hash(record, BigInt(record.length));
}

export function isKnown(record: Uint8Array | undefined, known: bigint | undefined, hash: Hash64): boolean {
  return known !== undefined && record !== undefined && hash(record, BigInt(record.length)) === known;
}
