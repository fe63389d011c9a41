/**
 * The bytes of a client's context: opaque to the client, bound to its key, checksummed.
 *
 *   u8      version, 1
 *   entries, without heights               (entries.ts)
 *   u64     XXH64 of all before it, seeded with the hash of the key, big-endian
 *
 * The context that knows nothing is no bytes at all. The checksum keeps out accidents, a context of
 * another key among them; it is no signature: who writes a key may forge its context, and harms only it.
 */
import type { Hash64 } from '../ports.ts';
import { type CausalContext, emptyContext } from '../versioning/causal-context.ts';
import { ByteReader, ByteWriter, Malformed } from './bytes.ts';
import { entriesSize, readEntries, writeEntries } from './entries.ts';

export const contextVersion = 1;
const hashBytes = 8;

/** Longer ones are refused unread; ours have about 10 entries and at most 64 detached dots. */
export const contextBytesMax = 16 * 1024;

export interface ContextCodec {
  /** `keyHash` is XXH64(namespace, 0x00, key), as in a storage key. */
  encode(context: CausalContext, keyHash: bigint): Buffer;
  /** Throws Malformed for what is not a context of this key. */
  decode(bytes: Uint8Array, keyHash: bigint): CausalContext;
}

export function createContextCodec(hash: Hash64): ContextCodec {
  return {
    encode(context, keyHash) {
      if (context.length === 0) return Buffer.alloc(0);
      const writer = new ByteWriter(Buffer.allocUnsafe(1 + entriesSize(context, false) + hashBytes));
      writer.u8(contextVersion);
      writeEntries(writer, context, false);
      writer.u64(hash(writer.bytes.subarray(0, writer.position), keyHash));
      return writer.bytes as Buffer;
    },

    decode(bytes, keyHash) {
      if (bytes.length === 0) return emptyContext;
      if (bytes.length > contextBytesMax)
        throw new Malformed(`${bytes.length} bytes; a context has at most ${contextBytesMax}`);
      const end = bytes.length - hashBytes;
      if (end < 2) throw new Malformed(`${bytes.length} bytes; a context has at least ${2 + hashBytes}`);
      // Before the checksum, which another version may place elsewhere.
      if (bytes[0] !== contextVersion) throw new Malformed(`version ${bytes[0]}; this build reads ${contextVersion}`);
      if (new ByteReader(bytes, end).u64() !== hash(bytes.subarray(0, end), keyHash)) {
        throw new Malformed('its checksum does not match: it was changed, or belongs to another key');
      }
      const reader = new ByteReader(bytes, 1, end);
      const context = readEntries(reader, false);
      reader.finish();
      if (context.length === 0)
        throw new Malformed('it has no entries; a context that knows nothing is no bytes at all');
      return context;
    },
  };
}
