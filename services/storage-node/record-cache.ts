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
 * I3 No record is a buffer of its own, nor a part of the message that it came in: they are copied into pages, out of
 *    which they are copied for whoever asks. So pages are used again, and a record that goes is no garbage. (It would be
 *    garbage of the old generation, which only a full collection finds: a mebibyte and more a second under load.)
 */
import type { CopyNotes } from '../core/codec/record.ts';

export interface CachedRecord extends CopyNotes {
  /** The record's encoding; undefined where the engine has none. */
  readonly bytes: Uint8Array | undefined;
}

export interface RecordCache {
  get(name: string): CachedRecord | undefined;
  /** Takes it out. */
  take(name: string): CachedRecord | undefined;
  put(name: string, record: CachedRecord): void;
  readonly bytes: number;
}

/** Larger ones would push out many that are small. */
const recordBytesMax = 128 * 1024;
const pageBytesMax = 1024 * 1024;
/** Of an entry besides its record and its key, a byte a character, which may be the longer one: objects, map. */
const entryBytes = 256;

export function createRecordCache(bytesMax: number): RecordCache {
  const pages = createPages(Math.min(pageBytesMax, Math.max(1, Math.floor(bytesMax / 4))));
  let young = createGeneration(pages);
  let old = createGeneration(pages);

  function add(name: string, record: CachedRecord): void {
    const size = sizeOf(name, record);
    if (size > bytesMax / 2) return;
    if (young.bytes + size > bytesMax / 2) {
      old.close();
      old = young;
      young = createGeneration(pages);
    }
    young.put(name, record);
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
      young.drop(name);
      old.drop(name);
      if ((record.bytes?.length ?? 0) <= recordBytesMax) add(name, record);
    },
    get bytes() {
      return young.bytes + old.bytes;
    },
  };
}

/** Where a record is. It stays when the record is taken out, for the next one of that key. */
interface Place {
  birth: CopyNotes['birth'];
  owed: CopyNotes['owed'];
  isTaken: boolean;
  page: Buffer;
  start: number;
  /** Bytes from `start` on that are its own. */
  room: number;
  /** Of the record; -1: the engine has none. */
  length: number;
}

interface Generation {
  get(name: string): CachedRecord | undefined;
  take(name: string): CachedRecord | undefined;
  drop(name: string): void;
  put(name: string, record: CachedRecord): void;
  /** What its places take: that of a record which was taken out comes back with the whole generation. */
  readonly bytes: number;
  /** Its pages are used for others from now on. */
  close(): void;
}

const noPage = Buffer.alloc(0);

function createGeneration(pages: Pages): Generation {
  const places = new Map<string, Place>();
  const used: Buffer[] = [];
  let page: Buffer = noPage;
  let position = 0;
  let total = 0;

  function makeRoom(place: Place, bytes: number): void {
    if (position + bytes > page.length) {
      page = pages.take(bytes);
      used.push(page);
      position = 0;
    }
    place.page = page;
    place.start = position;
    place.room = bytes;
    position += bytes;
    total += bytes;
  }

  function here(name: string): Place | undefined {
    const place = places.get(name);
    return place?.isTaken === false ? place : undefined;
  }

  return {
    get(name) {
      const place = here(name);
      return place && copyOf(place);
    },
    take(name) {
      const place = here(name);
      if (place === undefined) return undefined;
      place.isTaken = true;
      return copyOf(place);
    },
    drop(name) {
      const place = here(name);
      if (place !== undefined) place.isTaken = true;
    },
    put(name, { birth, owed, bytes }) {
      let place = places.get(name);
      if (place === undefined) {
        place = { birth, owed, isTaken: false, page: noPage, start: 0, room: 0, length: -1 };
        places.set(name, place);
        total += entryBytes + name.length;
      }
      place.birth = birth;
      place.owed = owed;
      place.isTaken = false;
      place.length = bytes?.length ?? -1;
      if (bytes === undefined) return;
      if (bytes.length > place.room) makeRoom(place, bytes.length);
      place.page.set(bytes, place.start);
    },
    get bytes() {
      return total;
    },
    close() {
      pages.giveBack(used);
    },
  };
}

function copyOf({ birth, owed, page, start, length }: Place): CachedRecord {
  if (length < 0) return { birth, owed, bytes: undefined };
  const bytes = Buffer.allocUnsafe(length);
  page.copy(bytes, 0, start, start + length);
  return { birth, owed, bytes };
}

interface Pages {
  /** One with room for `bytes`, whatever is in it. */
  take(bytes: number): Buffer;
  giveBack(pages: readonly Buffer[]): void;
}

function createPages(pageBytes: number): Pages {
  const free: Buffer[] = [];
  return {
    take(bytes) {
      if (bytes > pageBytes) return Buffer.allocUnsafeSlow(bytes);
      return free.pop() ?? Buffer.allocUnsafeSlow(pageBytes);
    },
    giveBack(pages) {
      for (const page of pages) if (page.length === pageBytes) free.push(page);
    },
  };
}

function sizeOf(name: string, { bytes }: CachedRecord): number {
  return entryBytes + name.length + (bytes?.length ?? 0);
}
