/**
 * The key under which a record is stored:
 *
 *     0        8             8+n  9+n
 *     ┌────────┬─────────────┬────┬───────┐
 *     │ hash64 │ namespace   │ 00 │ key   │     hash64 = XXH64(namespace ‖ 00 ‖ key), big-endian
 *     └────────┴─────────────┴────┴───────┘
 *
 * A namespace is ASCII without 0x00 (kv.proto), so the first 0x00 after the hash ends it; a key may be
 * any bytes.
 */
import { highOf, lowOf, u64Of } from '../codec/bytes.ts';
import type { Hash64 } from '../ports.ts';

const HASH_BYTES = 8;

/** Throws where the namespace is not ASCII or has a 0x00: whoever calls has validated it. */
export function storageKey(namespace: string, key: Uint8Array, hash: Hash64): Uint8Array {
  const separator = HASH_BYTES + namespace.length;
  const bytes = Buffer.allocUnsafe(separator + 1 + key.length);
  bytes[separator] = 0;
  for (let i = 0; i < namespace.length; i++) {
    const code = namespace.charCodeAt(i);
    if (code === 0 || code > 0x7f) throw new Error(`character ${code} at ${i} of the namespace is not ASCII`);
    bytes[HASH_BYTES + i] = code;
  }
  bytes.set(key, separator + 1);
  const hashed = hash(bytes.subarray(HASH_BYTES));
  writeUint32(bytes, 0, highOf(hashed));
  writeUint32(bytes, 4, lowOf(hashed));
  return bytes;
}

export interface ParsedStorageKey {
  readonly namespace: string;
  /** A view of the bytes given. */
  readonly key: Uint8Array;
}

/** Throws where there is no namespace or no key in it. Does not check the hash. */
export function parseStorageKey(bytes: Uint8Array): ParsedStorageKey {
  const separator = bytes.indexOf(0, HASH_BYTES);
  if (separator === -1) throw new Error(`a storage key of ${bytes.length} bytes has no 0x00 after its namespace`);
  if (separator === HASH_BYTES) throw new Error('a storage key has an empty namespace');
  if (separator + 1 === bytes.length) throw new Error(`a storage key of ${bytes.length} bytes ends before its key`);
  let namespace = '';
  for (let i = HASH_BYTES; i < separator; i++) namespace += String.fromCharCode(bytes[i] as number);
  return { namespace, key: bytes.subarray(separator + 1) };
}

const NAMESPACE_BYTES_MAX = 63;
const KEY_BYTES_MAX = 4_096;
/** Of a storage key. */
export const STORAGE_KEY_BYTES = { min: HASH_BYTES + 3, max: HASH_BYTES + NAMESPACE_BYTES_MAX + 1 + KEY_BYTES_MAX };

/** Whether `storageKey` can have made it; what comes from a peer may be any bytes. */
export function isStorageKey(bytes: Uint8Array, hash: Hash64): boolean {
  const separator = bytes.indexOf(0, HASH_BYTES);
  const namespaceBytes = separator - HASH_BYTES;
  const keyBytes = bytes.length - separator - 1;
  if (separator === -1 || namespaceBytes < 1 || namespaceBytes > NAMESPACE_BYTES_MAX) return false;
  if (keyBytes < 1 || keyBytes > KEY_BYTES_MAX) return false;
  return hashOfStorageKey(bytes) === hash(bytes.subarray(HASH_BYTES));
}

/** As the key of a Map: one character a byte. `storageKeyOfText` is the way back. */
export function storageKeyText(bytes: Uint8Array): string {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1');
}

export function storageKeyOfText(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** The hash that the storage key begins with. */
export function hashOfStorageKey(bytes: Uint8Array): bigint {
  return u64Of(readUint32(bytes, 0), readUint32(bytes, 4));
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function readUint32(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) value = value * 256 + (bytes[i] as number);
  return value;
}
