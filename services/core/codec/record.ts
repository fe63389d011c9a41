/**
 * The bytes of a record, on disk and between nodes. One record has one encoding, so replicas that agree
 * have equal bytes, and equal checksums at their end.
 *
 *   u8      version, 1
 *   entries of the clock, with heights     (entries.ts)
 *   varint  number of siblings
 *   each:   varint  which entry of the clock its dot's actor is
 *           varint  its dot's counter
 *           varint  written at, milliseconds since 1970
 *           varint  length of the request id, then its bytes
 *           varint  length of the value, then its bytes
 *   u32     CRC-32 of all before it, big-endian
 *
 * What a node keeps on its disk has its own birth before it, which is never sent:
 *
 *   u8      0: no birth; 1: one follows
 *   u64     lineage, u64 actor             (where one follows)
 *   the record as above
 */
import type { Checksum32 } from '../ports.ts';
import type { Birth } from '../versioning/birth.ts';
import { compareDots, contains, type Dot } from '../versioning/causal-context.ts';
import type { KeyRecord, Sibling } from '../versioning/record.ts';
import { ByteReader, ByteWriter, Malformed, varintSize } from './bytes.ts';
import { entriesSize, readEntries, writeEntries } from './entries.ts';

export const recordVersion = 1;
const checksumBytes = 4;
const requestIdBytesMax = 32;

export interface RecordCodec {
  encode(record: KeyRecord): Uint8Array;
  /** Values are views into `bytes`. Throws Malformed for anything that `encode` did not write. */
  decode(bytes: Uint8Array): KeyRecord;
}

export interface StoredRecord {
  readonly birth: Birth | undefined;
  /** As `RecordCodec.encode` gave it. */
  readonly bytes: Uint8Array;
}

/** `allocate` gives the bytes of an encoding, whatever is in them: from a pool where there is one. */
export function createRecordCodec(
  checksum: Checksum32,
  allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size),
): RecordCodec {
  return {
    encode(record) {
      const writer = new ByteWriter(allocate(recordSize(record)));
      writer.u8(recordVersion);
      writeEntries(writer, record.clock, true);
      writer.varint(record.siblings.length);
      for (const sibling of record.siblings) {
        writer.varint(record.clock.findIndex((entry) => entry.actor === sibling.dot.actor));
        writer.varint(sibling.dot.counter);
        writer.varint(sibling.writtenAtMs);
        writer.varint(sibling.requestId.length);
        writer.put(sibling.requestId);
        writer.varint(sibling.value.length);
        writer.put(sibling.value);
      }
      writer.u32(checksum(writer.bytes.subarray(0, writer.position)));
      return writer.bytes;
    },

    decode(bytes) {
      const end = bytes.length - checksumBytes;
      if (end < 1) throw new Malformed(`a record has at least 5 bytes, this one ${bytes.length}`);
      const wanted = recordChecksum(bytes);
      const found = checksum(bytes.subarray(0, end));
      if (found !== wanted) throw new Malformed(`checksum of a record is ${found}, its end says ${wanted}`);
      const reader = new ByteReader(bytes, 0, end);
      const version = reader.u8();
      if (version !== recordVersion)
        throw new Malformed(`record version ${version}; this build reads ${recordVersion}`);
      const clock = readEntries(reader, true);
      const siblings: Sibling[] = [];
      const count = reader.varint();
      for (let i = 0; i < count; i++) {
        const entry = clock[reader.varint()];
        if (entry === undefined) throw new Malformed(`sibling ${i} names an entry that the clock has not`);
        const dot: Dot = { actor: entry.actor, counter: reader.varint() };
        const last = siblings.at(-1);
        if (last !== undefined && compareDots(last.dot, dot) >= 0) throw new Malformed(`sibling ${i} is out of order`);
        if (dot.counter === 0 || !contains(clock, dot))
          throw new Malformed(`the dot of sibling ${i} is not in the clock`);
        const writtenAtMs = reader.varint();
        const requestIdLength = reader.varint();
        if (requestIdLength > requestIdBytesMax) throw new Malformed(`request id of ${requestIdLength} bytes`);
        const requestId = reader.take(requestIdLength);
        const value = reader.take(reader.varint());
        siblings.push({ dot, requestId, writtenAtMs, value });
      }
      reader.finish();
      return { clock, siblings };
    },
  };
}

/** Of the bytes of a whole record: differs, but for one chance in 2^32, where the records do. */
export function recordChecksum(bytes: Uint8Array): number {
  return new ByteReader(bytes, bytes.length - checksumBytes).u32();
}

/** What comes before the record where it is stored. */
export function encodeBirth(birth: Birth | undefined): Uint8Array {
  if (birth === undefined) return noBirth;
  const writer = new ByteWriter(new Uint8Array(17));
  writer.u8(1);
  writer.u64(birth.lineage);
  writer.u64(birth.actor);
  return writer.bytes;
}

const noBirth = Uint8Array.of(0);

/** The record's own bytes are not looked at here: decode them to know that they are whole. */
export function decodeStored(bytes: Uint8Array): StoredRecord {
  const reader = new ByteReader(bytes);
  const kind = reader.u8();
  if (kind > 1) throw new Malformed(`a stored record begins with 0 or 1, this one with ${kind}`);
  const birth = kind === 0 ? undefined : { lineage: reader.u64(), actor: reader.u64() };
  return { birth, bytes: bytes.subarray(reader.position) };
}

function recordSize(record: KeyRecord): number {
  let size = 1 + entriesSize(record.clock, true) + varintSize(record.siblings.length) + checksumBytes;
  for (const { dot, writtenAtMs, requestId, value } of record.siblings) {
    const entry = record.clock.findIndex(({ actor }) => actor === dot.actor);
    size += varintSize(entry) + varintSize(dot.counter) + varintSize(writtenAtMs);
    size += varintSize(requestId.length) + requestId.length + varintSize(value.length) + value.length;
  }
  return size;
}
