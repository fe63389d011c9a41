import { type Mutation, SPACES, type Space } from '../../core/ports.ts';

/**
 * One write as one block of bytes: what travels from the event loop to the committer thread, as a
 * transferred ArrayBuffer. An object would be cloned field by field; this is one copy of the bytes, which
 * is needed anyway because keys and values are often views into pooled buffers.
 *
 *     offset  size  what
 *     0       1     1 when the write must be synced, else 0
 *     then, for each mutation, to the end:
 *     +0      1     number of the space in SPACES; plus 0x80 when the key is removed
 *     +1      4     length of the key, little-endian
 *     +5      4     length of the value, little-endian; 0 when the key is removed
 *     +9            the key, the value (its prefix first)
 *
 * It never leaves the process: no version, no checksum.
 */

const HEADER_BYTES = 1;
const MUTATION_HEADER_BYTES = 9;
const REMOVED = 0x80;

/** The block, in an ArrayBuffer of its own: it can be transferred. */
export function packWrite(mutations: readonly Mutation[], sync: boolean): ArrayBuffer {
  let size = HEADER_BYTES;
  for (const { key, prefix, value } of mutations) {
    size += MUTATION_HEADER_BYTES + key.length + (value === undefined ? 0 : (prefix?.length ?? 0) + value.length);
  }
  // Slow means: not from the pool that other buffers share, which a transfer would take away from them.
  const block = Buffer.allocUnsafeSlow(size);
  block[0] = sync ? 1 : 0;
  let at = HEADER_BYTES;
  for (const { space, key, prefix, value } of mutations) {
    block[at] = SPACES.indexOf(space) | (value === undefined ? REMOVED : 0);
    block.writeUInt32LE(key.length, at + 1);
    block.writeUInt32LE(value === undefined ? 0 : (prefix?.length ?? 0) + value.length, at + 5);
    at += MUTATION_HEADER_BYTES;
    block.set(key, at);
    at += key.length;
    if (value !== undefined) {
      if (prefix !== undefined) {
        block.set(prefix, at);
        at += prefix.length;
      }
      block.set(value, at);
      at += value.length;
    }
  }
  return block.buffer as ArrayBuffer;
}

/** Calls `put` or `remove` for each mutation, in order, with views into the block; returns whether to sync. */
export function unpackWrite(
  packed: ArrayBuffer,
  put: (space: Space, key: Uint8Array, value: Uint8Array) => void,
  remove: (space: Space, key: Uint8Array) => void,
): boolean {
  const block = Buffer.from(packed);
  let at = HEADER_BYTES;
  while (at < block.length) {
    const kind = block.readUInt8(at);
    const keyEnd = at + MUTATION_HEADER_BYTES + block.readUInt32LE(at + 1);
    const valueEnd = keyEnd + block.readUInt32LE(at + 5);
    const key = block.subarray(at + MUTATION_HEADER_BYTES, keyEnd);
    const space = SPACES[kind & ~REMOVED] as Space;
    if ((kind & REMOVED) !== 0) {
      remove(space, key);
    } else {
      put(space, key, block.subarray(keyEnd, valueEnd));
    }
    at = valueEnd;
  }
  return block[0] === 1;
}
