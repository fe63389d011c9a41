/**
 * The bytes of a record, on disk and between nodes. One record has one encoding, so replicas that agree
 * have equal bytes, and equal checksums at their end.
 *
 *   u8      version: 1, 2 where a sibling expires, or 3 where one contends (core/versioning/last-writer.ts)
 *   entries of the clock, with heights     (entries.ts)
 *   varint  number of siblings
 *   each:   varint  which entry of the clock its dot's actor is
 *           varint  its dot's counter
 *           varint  written at, milliseconds since 1970
 *           varint  expires at, milliseconds since 1970; 0: never     (from version 2)
 *           u8      0, 1 of a value that contends, 2 of a delete that does     (version 3)
 *           varint  length of the request id, then its bytes
 *           varint  length of the value, then its bytes
 *   u32     CRC-32 of all before it, big-endian
 *
 * What a node keeps on its disk has what only this node knows of it before it, which is never sent:
 *
 *   u8      1 where a birth follows, plus 4 where nodes follow that the record is owed to
 *   u64     lineage, u64 actor             (the birth)
 *   varint  how many nodes; each: varint length of its id, then its bytes
 *   u32     CRC-32 of all so far, where nodes are in it
 *   the record as above
 *
 * A birth alone has no checksum: one that is damaged is nobody's, and the next write makes another.
 */
import type { Checksum32 } from '../ports.ts';
import type { Birth } from '../versioning/birth.ts';
import { compareDots, contains, type Dot } from '../versioning/causal-context.ts';
import type { KeyRecord, Sibling } from '../versioning/record.ts';
import { ByteReader, ByteWriter, Malformed, varintSize } from './bytes.ts';
import { entriesSize, readEntries, writeEntries } from './entries.ts';

/** The version is the least that can say what the record holds, so that it still has one encoding. */
const plainVersion = 1;
const expiringVersion = 2;
const contendingVersion = 3;
const checksumBytes = 4;
const requestIdBytesMax = 32;

export interface RecordCodec {
  encode(record: KeyRecord): Uint8Array;
  /** Values are views into `bytes`. Throws Malformed for anything that `encode` did not write. */
  decode(bytes: Uint8Array): KeyRecord;
  /** Throws Malformed where the bytes are not whole: for less than it costs to decode them. */
  check(bytes: Uint8Array): void;
  /** What comes before the record where it is stored. */
  encodeNotes(notes: CopyNotes): Uint8Array;
  /** Throws Malformed. The record's own bytes are not looked at here: decode them to know that they are whole. */
  decodeStored(bytes: Uint8Array): StoredRecord;
}

/** What a node knows of its own copy of a record. */
export interface CopyNotes {
  readonly birth: Birth | undefined;
  /** Ids of the homes that this node owes the record to (its hints), sorted. */
  readonly owed: readonly string[];
}

export interface StoredRecord extends CopyNotes {
  /** As `RecordCodec.encode` gave it. */
  readonly bytes: Uint8Array;
}

/** `allocate` gives the bytes of an encoding, whatever is in them: from a pool where there is one. */
export function createRecordCodec(
  checksum: Checksum32,
  allocate: (size: number) => Uint8Array = (size) => new Uint8Array(size),
): RecordCodec {
  function check(bytes: Uint8Array): void {
    const end = bytes.length - checksumBytes;
    if (end < 1) throw new Malformed(`a record has at least 5 bytes, this one ${bytes.length}`);
    const wanted = recordChecksum(bytes);
    const found = checksum(bytes.subarray(0, end));
    if (found !== wanted) throw new Malformed(`checksum of a record is ${found}, its end says ${wanted}`);
  }

  return {
    check,
    encodeNotes: (notes) => encodeNotes(notes, checksum),
    decodeStored: (bytes) => decodeStored(bytes, checksum),

    encode(record) {
      const writer = new ByteWriter(allocate(recordSize(record)));
      const version = versionOf(record);
      writer.u8(version);
      writeEntries(writer, record.clock, true);
      writer.varint(record.siblings.length);
      for (const sibling of record.siblings) {
        writer.varint(record.clock.findIndex((entry) => entry.actor === sibling.dot.actor));
        writer.varint(sibling.dot.counter);
        writer.varint(sibling.writtenAtMs);
        if (version >= expiringVersion) writer.varint(sibling.expiresAtMs ?? 0);
        if (version >= contendingVersion) writer.u8(contenders.indexOf(sibling.contends));
        writer.varint(sibling.requestId.length);
        writer.put(sibling.requestId);
        writer.varint(sibling.value.length);
        writer.put(sibling.value);
      }
      writer.u32(checksum(writer.bytes.subarray(0, writer.position)));
      return writer.bytes;
    },

    decode(bytes) {
      check(bytes);
      const reader = new ByteReader(bytes, 0, bytes.length - checksumBytes);
      const version = reader.u8();
      if (version < plainVersion || version > contendingVersion) {
        throw new Malformed(`record version ${version}; this build reads ${plainVersion} to ${contendingVersion}`);
      }
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
        const expiresAtMs = version >= expiringVersion ? reader.varint() : 0;
        const contends = version >= contendingVersion ? readContender(reader) : undefined;
        const requestIdLength = reader.varint();
        if (requestIdLength > requestIdBytesMax) throw new Malformed(`request id of ${requestIdLength} bytes`);
        const requestId = reader.take(requestIdLength);
        const value = reader.take(reader.varint());
        if (contends === 'delete' && value.length > 0)
          throw new Malformed(`a delete with ${value.length} bytes of value`);
        const notes = { ...(expiresAtMs > 0 && { expiresAtMs }), ...(contends && { contends }) };
        siblings.push({ dot, requestId, writtenAtMs, value, ...notes });
      }
      reader.finish();
      const record = { clock, siblings };
      if (versionOf(record) !== version) throw new Malformed(`record version ${version}, and no sibling needs it`);
      return record;
    },
  };
}

function versionOf({ siblings }: KeyRecord): number {
  if (siblings.some(({ contends }) => contends !== undefined)) return contendingVersion;
  return siblings.some(({ expiresAtMs }) => expiresAtMs !== undefined) ? expiringVersion : plainVersion;
}

/** In the order of their numbers. */
const contenders: readonly Sibling['contends'][] = [undefined, 'value', 'delete'];

function readContender(reader: ByteReader): Sibling['contends'] {
  const number = reader.u8();
  if (number >= contenders.length) throw new Malformed(`a sibling contends as ${number}; 0 to 2 are known`);
  return contenders[number];
}

/** Of the bytes of a whole record: differs, but for one chance in 2^32, where the records do. */
export function recordChecksum(bytes: Uint8Array): number {
  return new ByteReader(bytes, bytes.length - checksumBytes).u32();
}

function encodeNotes({ birth, owed }: CopyNotes, checksum: Checksum32): Uint8Array {
  if (owed.length === 0) return encodeBirth(birth, 0);
  const ids = owed.map((id) => utf8.encode(id));
  const size = ids.reduce((sum, { length }) => sum + varintSize(length) + length, varintSize(ids.length));
  const writer = new ByteWriter(new Uint8Array(size));
  writer.varint(ids.length);
  for (const id of ids) {
    writer.varint(id.length);
    writer.put(id);
  }
  const notes = Uint8Array.from([...encodeBirth(birth, owedFlag), ...writer.bytes]);
  const sealed = new ByteWriter(new Uint8Array(notes.length + checksumBytes));
  sealed.put(notes);
  sealed.u32(checksum(notes));
  return sealed.bytes;
}

const birthFlag = 1;
const owedFlag = 4;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();
const noNotes = Uint8Array.of(0);
const nobody: readonly string[] = Object.freeze([]);

function encodeBirth(birth: Birth | undefined, flags: 0 | typeof owedFlag): Uint8Array {
  if (birth === undefined) return flags === 0 ? noNotes : Uint8Array.of(flags);
  const writer = new ByteWriter(new Uint8Array(17));
  writer.u8(birthFlag | flags);
  writer.u64(birth.lineage);
  writer.u64(birth.actor);
  return writer.bytes;
}

function decodeStored(bytes: Uint8Array, checksum: Checksum32): StoredRecord {
  const reader = new ByteReader(bytes);
  const flags = reader.u8();
  if ((flags & ~(birthFlag | owedFlag)) !== 0) throw new Malformed(`a stored record begins with ${flags}`);
  const birth = (flags & birthFlag) === 0 ? undefined : { lineage: reader.u64(), actor: reader.u64() };
  const owed = (flags & owedFlag) === 0 ? nobody : readOwed(reader);
  if (owed !== nobody) {
    const found = checksum(bytes.subarray(0, reader.position));
    if (found !== reader.u32()) throw new Malformed('the checksum of what a node knows of its copy is wrong');
  }
  return { birth, owed, bytes: bytes.subarray(reader.position) };
}

function readOwed(reader: ByteReader): readonly string[] {
  const owed: string[] = [];
  for (let left = reader.varint(); left > 0; left--) owed.push(fromUtf8.decode(reader.take(reader.varint())));
  return owed;
}

function recordSize(record: KeyRecord): number {
  let size = 1 + entriesSize(record.clock, true) + varintSize(record.siblings.length) + checksumBytes;
  const version = versionOf(record);
  for (const { dot, writtenAtMs, expiresAtMs = 0, requestId, value } of record.siblings) {
    const entry = record.clock.findIndex(({ actor }) => actor === dot.actor);
    size += varintSize(entry) + varintSize(dot.counter) + varintSize(writtenAtMs);
    if (version >= expiringVersion) size += varintSize(expiresAtMs);
    if (version >= contendingVersion) size += 1;
    size += varintSize(requestId.length) + requestId.length + varintSize(value.length) + value.length;
  }
  return size;
}
