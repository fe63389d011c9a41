/**
 * The index of hints: one key for each record that is owed to a node, so that all that is owed to one node is one
 * contiguous range.
 *
 *   the node's id, UTF-8    (ids have no 0x00)
 *   u8      0
 *   the storage key of the record
 *
 * The value is for people: what is owed is the record as it is when it is handed over.
 *
 *   varint  milliseconds since 1970 when it came to be owed
 *   varint  bytes of the record then
 */
import { ByteReader, ByteWriter, Malformed, varintSize } from './bytes.ts';

export interface Hint {
  readonly nodeId: string;
  readonly key: Uint8Array;
}

export interface HintNote {
  readonly sinceMs: number;
  readonly recordBytes: number;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

export function hintKey(nodeId: string, key: Uint8Array): Uint8Array {
  const id = utf8.encode(nodeId);
  const bytes = new Uint8Array(id.length + 1 + key.length);
  bytes.set(id);
  bytes.set(key, id.length + 1);
  return bytes;
}

/** Throws Malformed for what is no key of the index. */
export function parseHintKey(bytes: Uint8Array): Hint {
  const end = bytes.indexOf(0);
  if (end < 1) throw new Malformed('a hint begins with the id of a node and a byte 0');
  return { nodeId: fromUtf8.decode(bytes.subarray(0, end)), key: bytes.subarray(end + 1) };
}

/** The range of all that is owed to a node. */
export function hintsOf(nodeId: string): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const id = utf8.encode(nodeId);
  return { start: Uint8Array.from([...id, 0]), end: Uint8Array.from([...id, 1]) };
}

export function encodeHintNote({ sinceMs, recordBytes }: HintNote): Uint8Array {
  const writer = new ByteWriter(new Uint8Array(varintSize(sinceMs) + varintSize(recordBytes)));
  writer.varint(sinceMs);
  writer.varint(recordBytes);
  return writer.bytes;
}

export function decodeHintNote(bytes: Uint8Array): HintNote {
  const reader = new ByteReader(bytes);
  return { sinceMs: reader.varint(), recordBytes: reader.varint() };
}
