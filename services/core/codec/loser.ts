/**
 * The ledger of values that lost where the last writer wins. Under a namespace, in the order in which they lost:
 *
 *   the namespace, UTF-8       (names have no 0x00)
 *   u8      0
 *   u64     milliseconds since 1970 when it lost
 *   u64     actor, u64 counter           (the dot of the loser)
 *   the key
 *
 * with the value
 *
 *   varint  written at, milliseconds since 1970
 *   u64     actor, varint counter        (the dot of the winner)
 *   the value
 */
import type { Dot } from '../versioning/causal-context.ts';
import { ByteReader, ByteWriter, Malformed, varintSize } from './bytes.ts';

export interface LoserKey {
  readonly namespace: string;
  readonly lostAtMs: number;
  readonly dot: Dot;
  readonly key: Uint8Array;
}

export interface LoserValue {
  readonly writtenAtMs: number;
  readonly lostTo: Dot;
  readonly value: Uint8Array;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

export function loserKey({ namespace, lostAtMs, dot, key }: LoserKey): Uint8Array {
  const name = utf8.encode(namespace);
  const writer = new ByteWriter(new Uint8Array(name.length + 25 + key.length));
  writer.put(name);
  writer.u8(0);
  writer.u64(BigInt(lostAtMs));
  writer.u64(dot.actor);
  writer.u64(BigInt(dot.counter));
  writer.put(key);
  return writer.bytes;
}

/** Throws Malformed for what is no key of the ledger. */
export function parseLoserKey(bytes: Uint8Array): LoserKey {
  const end = bytes.indexOf(0);
  if (end < 1) throw new Malformed('a loser begins with a namespace and a byte 0');
  const reader = new ByteReader(bytes, end + 1);
  const lostAtMs = Number(reader.u64());
  const dot = { actor: reader.u64(), counter: Number(reader.u64()) };
  return { namespace: fromUtf8.decode(bytes.subarray(0, end)), lostAtMs, dot, key: bytes.subarray(reader.position) };
}

/** The range of a namespace's losers. */
export function losersOf(namespace: string): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const name = utf8.encode(namespace);
  return { start: Uint8Array.from([...name, 0]), end: Uint8Array.from([...name, 1]) };
}

export function encodeLoser({ writtenAtMs, lostTo, value }: LoserValue): Uint8Array {
  const size = varintSize(writtenAtMs) + 8 + varintSize(lostTo.counter) + value.length;
  const writer = new ByteWriter(new Uint8Array(size));
  writer.varint(writtenAtMs);
  writer.u64(lostTo.actor);
  writer.varint(lostTo.counter);
  writer.put(value);
  return writer.bytes;
}

export function decodeLoser(bytes: Uint8Array): LoserValue {
  const reader = new ByteReader(bytes);
  const writtenAtMs = reader.varint();
  const lostTo = { actor: reader.u64(), counter: reader.varint() };
  return { writtenAtMs, lostTo, value: bytes.subarray(reader.position) };
}
