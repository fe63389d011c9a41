/**
 * One read as two blocks of bytes, for the way to a reader thread and back: transferred, not cloned.
 *
 *     keys      each: length (4 bytes, little-endian), the key
 *     values    each: length + 1, and the value; or 0 where there is none
 *
 * They never leave the process: no version, no checksum.
 */
const LENGTH_BYTES = 4;

export function packKeys(keys: readonly Uint8Array[]): ArrayBuffer {
  return pack(keys, 0);
}

export function unpackKeys(packed: ArrayBuffer): Uint8Array[] {
  return unpack(packed, 0) as Uint8Array[];
}

export function packValues(values: readonly (Uint8Array | undefined)[]): ArrayBuffer {
  return pack(values, 1);
}

export function unpackValues(packed: ArrayBuffer): (Uint8Array | undefined)[] {
  return unpack(packed, 1);
}

/** `more` is added to each length, so that there is one that says: none. */
function pack(parts: readonly (Uint8Array | undefined)[], more: 0 | 1): ArrayBuffer {
  const size = parts.reduce((sum, part) => sum + LENGTH_BYTES + (part?.length ?? 0), 0);
  // Slow means: not from the pool that other buffers share, which a transfer would take away from them.
  const block = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (const part of parts) {
    at = block.writeUInt32LE(part === undefined ? 0 : part.length + more, at);
    if (part === undefined) continue;
    block.set(part, at);
    at += part.length;
  }
  return block.buffer as ArrayBuffer;
}

function unpack(packed: ArrayBuffer, more: 0 | 1): (Uint8Array | undefined)[] {
  const block = Buffer.from(packed);
  const parts: (Uint8Array | undefined)[] = [];
  for (let at = 0; at < block.length; ) {
    const length = block.readUInt32LE(at) - more;
    at += LENGTH_BYTES;
    parts.push(length < 0 ? undefined : block.subarray(at, at + length));
    at += Math.max(0, length);
  }
  return parts;
}
