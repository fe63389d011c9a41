/**
 * The bytes of a causal context's entries, as records and client contexts share them:
 *
 *   varint  number of entries
 *   each:   u64     actor, big-endian, ascending
 *           varint  upTo
 *           varint  height                (records only)
 *           varint  number of detached dots
 *           varint  each: gap to the one before (the first: to upTo), at least 2 for the first and 1 after
 */
import { type CausalContext, type ContextEntry, counterMax, emptyContext } from '../versioning/causal-context.ts';
import { type ByteReader, type ByteWriter, Malformed, varintSize } from './bytes.ts';

export function entriesSize(context: CausalContext, heights: boolean): number {
  let size = varintSize(context.length);
  for (const entry of context) {
    size += 8 + varintSize(entry.upTo) + varintSize(entry.detached.length);
    if (heights) size += varintSize(entry.height);
    let before = entry.upTo;
    for (const counter of entry.detached) {
      size += varintSize(counter - before);
      before = counter;
    }
  }
  return size;
}

export function writeEntries(writer: ByteWriter, context: CausalContext, heights: boolean): void {
  writer.varint(context.length);
  for (const entry of context) {
    writer.u64(entry.actor);
    writer.varint(entry.upTo);
    if (heights) writer.varint(entry.height);
    writer.varint(entry.detached.length);
    let before = entry.upTo;
    for (const counter of entry.detached) {
      writer.varint(counter - before);
      before = counter;
    }
  }
}

/** Refuses whatever `writeEntries` would not have written, so that equal contexts have equal bytes. */
export function readEntries(reader: ByteReader, heights: boolean): CausalContext {
  const count = reader.varint();
  if (count === 0) return emptyContext;
  const entries: ContextEntry[] = [];
  let lastActor = -1n;
  for (let i = 0; i < count; i++) {
    const actor = reader.u64();
    if (actor <= lastActor) throw new Malformed(`actors are not ascending at entry ${i}`);
    lastActor = actor;
    const upTo = reader.varint();
    const height = heights ? reader.varint() : 0;
    const dots = reader.varint();
    const detached: number[] = [];
    let counter = upTo;
    for (let d = 0; d < dots; d++) {
      const gap = reader.varint();
      if (gap < (d === 0 ? 2 : 1)) throw new Malformed(`detached dot ${d} of entry ${i} belongs into the vector`);
      counter += gap;
      detached.push(counter);
    }
    if (counter === 0) throw new Malformed(`entry ${i} is empty`);
    if (counter > counterMax) throw new Malformed(`counter ${counter} of entry ${i} is above ${counterMax}`);
    entries.push({ actor, upTo, detached, height });
  }
  return entries;
}
