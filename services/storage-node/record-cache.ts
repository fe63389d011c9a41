/**
 * Records that were used lately, as they are on disk, up to a bound in bytes: a hot key costs no read of the
 * engine. Who keeps it right (I1) is record-store.ts.
 *
 * Two generations: what is used goes into the young one; when that holds half of the bytes it becomes the
 * old one, and what the old one still had is gone. Nearly as good as an exact order of use, and no work a
 * hit. (An exact order in one Map costs a scan over the deleted entries at its head for each that goes.)
 *
 * I1 What is here is what the engine has: a key that is being changed is not here.
 * I2 At most `bytesMax` bytes.
 * I3 It keeps no more memory alive than it counts: records are copied into pages of their generation, and go
 *    with it. (A buffer each would be tens of thousands of them for the garbage collector to look after; views
 *    of the pages that messages came in would keep those alive.)
 */
import type { CopyNotes } from '../core/codec/record.ts';

export interface CachedRecord extends CopyNotes {
  /** The record's encoding; undefined where the engine has none. */
  readonly bytes: Uint8Array | undefined;
}

export interface RecordCache {
  get(name: string): CachedRecord | undefined;
  /** Takes it out. What it held stays readable for as long as the caller keeps it. */
  take(name: string): CachedRecord | undefined;
  put(name: string, record: CachedRecord): void;
  readonly bytes: number;
}

/** Larger ones would push out many that are small. */
const recordBytesMax = 128 * 1024;
const pageBytesMax = 1024 * 1024;
/** Of an entry besides its record: key, objects, map. */
const entryBytes = 256;

export function createRecordCache(bytesMax: number): RecordCache {
  const pageBytes = Math.min(pageBytesMax, Math.max(1, Math.floor(bytesMax / 4)));
  let young = createGeneration(pageBytes);
  let old = createGeneration(pageBytes);

  function add(name: string, record: CachedRecord): void {
    const size = sizeOf(record);
    if (size > bytesMax / 2) return;
    if (young.bytes + size > bytesMax / 2) {
      old = young;
      young = createGeneration(pageBytes);
    }
    young.add(name, record);
  }

  return {
    take: (name) => young.take(name) ?? old.take(name),
    get(name) {
      const found = young.get(name);
      if (found !== undefined) return found;
      const older = old.take(name);
      if (older !== undefined) add(name, older);
      return older;
    },
    put(name, record) {
      young.take(name);
      old.take(name);
      if ((record.bytes?.length ?? 0) <= recordBytesMax) add(name, record);
    },
    get bytes() {
      return young.bytes + old.bytes;
    },
  };
}

interface Generation {
  get(name: string): CachedRecord | undefined;
  take(name: string): CachedRecord | undefined;
  add(name: string, record: CachedRecord): void;
  /** What it has ever held: the room of what was taken out comes back with the whole generation. */
  readonly bytes: number;
}

function createGeneration(pageBytes: number): Generation {
  const records = new Map<string, CachedRecord>();
  let page = Buffer.alloc(0);
  let position = 0;
  let total = 0;

  function own(bytes: Uint8Array): Uint8Array {
    if (position + bytes.length > page.length) {
      page = Buffer.allocUnsafeSlow(Math.max(pageBytes, bytes.length));
      position = 0;
    }
    const copied = page.subarray(position, position + bytes.length);
    copied.set(bytes);
    position += bytes.length;
    return copied;
  }

  return {
    get: (name) => records.get(name),
    take(name) {
      const found = records.get(name);
      if (found !== undefined) records.delete(name);
      return found;
    },
    add(name, record) {
      const { birth, owed, bytes } = record;
      records.set(name, { birth, owed, bytes: bytes && own(bytes) });
      total += sizeOf(record);
    },
    get bytes() {
      return total;
    },
  };
}

function sizeOf({ bytes }: CachedRecord): number {
  return entryBytes + (bytes?.length ?? 0);
}
