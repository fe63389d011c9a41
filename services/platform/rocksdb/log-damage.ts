import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { databaseDirectory, isMissing } from './data-directory.ts';

/**
 * Whether RocksDB's write-ahead logs are as they were written. RocksDB does not say: what it cannot read it takes for where a
 * crash cut the log off, and all that comes behind it, synced and acknowledged, is gone without a word when it opens.
 *
 *     a log file: blocks of 32 KiB, of fragments that do not cross them     a write: one FULL, or FIRST, MIDDLE …, LAST
 *     ┌────────────┬────────┬──────┬─────────┐
 *     │ CRC-32C    │ length │ type │ payload │   the checksum is of type and payload, and masked; little-endian
 *     └────────────┴────────┴──────┴─────────┘
 *       4            2        1
 *
 * A write begins only when the one before it is in the file. So where another one begins behind what cannot be read, that
 * is no torn end: bits have turned. (Or a power failure, after writes that were not synced yet: nothing that was promised is
 * lost then, and to take it for damage costs a refill.) What cannot be told is damage to the very last write.
 *
 * To be looked at before RocksDB opens: it then writes what it could read into data files, and the logs go.
 */

const BLOCK_BYTES = 32 * 1024;
/** Read at once: some time goes into each call. */
const PIECE_BYTES = 8 * BLOCK_BYTES;
const HEADER_BYTES = 7;
const FULL = 1;
const FIRST = 2;

/** Where, for people; undefined: there is none. */
export async function findDamagedLog(directory: string): Promise<string | undefined> {
  const database = databaseDirectory(directory);
  let unreadable: string | undefined;
  for (const name of await logsIn(database)) {
    for await (const { block, offset } of blocksOf(join(database, name))) {
      for (const { at, kind } of fragmentsIn(block)) {
        if (kind === 'unreadable') unreadable ??= `${name} at byte ${offset + at}`;
        else if (kind === 'begins' && unreadable !== undefined) return unreadable;
      }
    }
  }
  return undefined;
}

/** The older ones first: their names are numbers. */
async function logsIn(database: string): Promise<string[]> {
  try {
    const names = (await readdir(database)).filter((name) => name.endsWith('.log'));
    return names.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

async function* blocksOf(path: string): AsyncGenerator<{ readonly block: Buffer; readonly offset: number }> {
  const file = await open(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (let offset = 0; ; offset += PIECE_BYTES) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, offset);
      for (let at = 0; at < bytesRead; at += BLOCK_BYTES) {
        yield { block: piece.subarray(at, Math.min(at + BLOCK_BYTES, bytesRead)), offset: offset + at };
      }
      if (bytesRead < PIECE_BYTES) return;
    }
  } finally {
    await file.close();
  }
}

interface Fragment {
  readonly at: number;
  /** A write begins with it; it goes on with it; it cannot be read. */
  readonly kind: 'begins' | 'goes on' | 'unreadable';
}

function* fragmentsIn(block: Buffer): Generator<Fragment> {
  // What is left of a block, where no header fits, is filled up.
  for (let at = 0; at + HEADER_BYTES <= block.length; ) {
    const end = at + HEADER_BYTES + block.readUInt16LE(at + 4);
    const type = block[at + 6];
    const isWhole = end <= block.length && block.readUInt32LE(at) === masked(crc32c(block.subarray(at + 6, end)));
    yield { at, kind: !isWhole ? 'unreadable' : type === FULL || type === FIRST ? 'begins' : 'goes on' };
    // Where it is the length that has changed, what comes next is found in the next block.
    at = end;
  }
}

/** As RocksDB keeps a checksum beside the bytes that it is of. */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
