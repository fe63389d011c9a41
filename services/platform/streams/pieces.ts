/**
 * Records that are larger than one message: sent in pieces under one id, joined at the other end. Nearly
 * every record is one piece, and costs nothing here.
 *
 * I1 The pieces of one record follow each other in order (a stream keeps order); other ids may come between.
 */

/** Well below a message's 4 MiB, and never more than a few milliseconds of work. */
export const pieceBytes = 1024 * 1024;

/** What a peer may have us hold of unfinished records. */
export const joiningBytesMax = 128 * 1024 * 1024;

/** And how many of them at once: pieces may be small, and even empty. */
export const joiningRecordsMax = 8_192;

/** And how many pieces: of one byte each they would take a hundred times their size. Ours have `pieceBytes`. */
export const joiningPiecesMax = 16_384;

export interface Piece {
  readonly piece: Uint8Array;
  readonly more: boolean;
}

export function piecesOf(record: Uint8Array): readonly Piece[] {
  if (record.length <= pieceBytes) return [{ piece: record, more: false }];
  const pieces: Piece[] = [];
  for (let start = 0; start < record.length; start += pieceBytes) {
    pieces.push({ piece: record.subarray(start, start + pieceBytes), more: start + pieceBytes < record.length });
  }
  return pieces;
}

export interface Joiner {
  /**
   * The whole record with its last piece, undefined before. Beyond `joiningBytesMax`, `joiningRecordsMax`
   * and `joiningPiecesMax` pieces are dropped: the record then fails its checksum.
   */
  add(id: number, piece: Uint8Array, more: boolean): Uint8Array | undefined;
}

export function createJoiner(): Joiner {
  const begun = new Map<number, Uint8Array[]>();
  let bytes = 0;
  let count = 0;
  return {
    add(id, piece, more) {
      const pieces = begun.get(id);
      if (pieces === undefined && !more) return piece;
      if (pieces === undefined && begun.size >= joiningRecordsMax) return undefined;
      const all = pieces ?? [];
      if (piece.length > 0 && bytes + piece.length <= joiningBytesMax && count < joiningPiecesMax) {
        all.push(piece);
        bytes += piece.length;
        count++;
      }
      if (more) {
        begun.set(id, all);
        return undefined;
      }
      begun.delete(id);
      bytes -= all.reduce((sum, { length }) => sum + length, 0);
      count -= all.length;
      return Buffer.concat(all);
    },
  };
}
