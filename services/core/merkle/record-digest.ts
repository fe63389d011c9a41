/**
 * What a digest tree says of one record: a hash of its key's hash, and of the dots and expiries of its live siblings.
 *
 * Not of its clock: clocks are cut by the puts of one coordinator at a time, and replicas that would show a reader the
 * same have nothing to repair. So a record without siblings has the digest of no record, 0: a tombstone that only one
 * replica knows is no difference, until another replica holds what it covers.
 */
import type { Hash64 } from '../ports.ts';
import type { KeyRecord } from '../versioning/record.ts';

const keyHashBytes = 8;
const siblingBytes = 24;
let scratch = new Uint8Array(keyHashBytes + 16 * siblingBytes);
let view = new DataView(scratch.buffer);

export function recordDigest(storageKey: Uint8Array, { siblings }: KeyRecord, hash: Hash64): bigint {
  if (siblings.length === 0) return 0n;
  const size = keyHashBytes + siblings.length * siblingBytes;
  if (scratch.length < size) {
    scratch = new Uint8Array(size);
    view = new DataView(scratch.buffer);
  }
  for (let i = 0; i < keyHashBytes; i++) scratch[i] = storageKey[i] as number;
  let at = keyHashBytes;
  for (const { dot, expiresAtMs = 0 } of siblings) {
    view.setBigUint64(at, dot.actor);
    view.setFloat64(at + 8, dot.counter); // exact: both are integers below 2^53
    view.setFloat64(at + 16, expiresAtMs);
    at += siblingBytes;
  }
  return hash(scratch.subarray(0, size));
}
