/**
 * Where a listing of keys goes on: opaque to the client, bound to what is listed, checksummed.
 *
 *   u8      0x71: a page token, version 1
 *   bytes   the storage key after which it goes on
 *   u64     XXH64 of all before it, seeded with XXH64(namespace, 0x00, prefix), big-endian
 *
 * Where a prefix equals a key the seed is that of the key's contexts (context.ts): the first byte tells them apart.
 */
import type { Hash64 } from '../ports.ts';
import { ByteReader, ByteWriter, Malformed } from './bytes.ts';

const version = 0x71;
const hashBytes = 8;
const storageKeyBytesMin = 10;

export function encodePageToken(after: Uint8Array, listing: bigint, hash: Hash64): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(1 + after.length + hashBytes));
  writer.u8(version);
  writer.put(after);
  writer.u64(hash(writer.bytes.subarray(0, writer.position), listing));
  return writer.bytes;
}

/** The storage key after which the listing goes on. Throws Malformed for what is not a token of this listing. */
export function decodePageToken(token: Uint8Array, listing: bigint, hash: Hash64): Uint8Array {
  const end = token.length - hashBytes;
  if (end < 1 + storageKeyBytesMin) throw new Malformed(`a page token of ${token.length} bytes is too short`);
  if (token[0] !== version) throw new Malformed(`page token version ${token[0]}; this build reads ${version}`);
  if (new ByteReader(token, end).u64() !== hash(token.subarray(0, end), listing)) {
    throw new Malformed('its checksum does not match: it was changed, or belongs to another listing');
  }
  return token.subarray(1, end);
}
