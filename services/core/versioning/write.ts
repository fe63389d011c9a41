/**
 * What a coordinator does to its own copy of a record when it runs a put or a delete: the one place where
 * dots are minted. Pure; the coordinator writes what comes out, and sends it to the other replicas.
 */
import { Failure } from '../failure.ts';
import { type Birth, mint } from './birth.ts';
import type { CausalContext, Dot } from './causal-context.ts';
import { cut, type KeyRecord, merge, put, remove, sameBytes, siblingOfRequest } from './record.ts';

/** What the coordinator keeps of the key. */
export interface Copy {
  readonly birth: Birth | undefined;
  readonly record: KeyRecord;
}

/** Who may mint here: see birth.ts. */
export interface Minting {
  readonly lineage: bigint;
  newActor(): bigint;
}

export interface Written {
  readonly copy: Copy;
  /** The identity of the write. */
  readonly dot: Dot;
  /** False where this put is known already by its request id: nothing was changed. */
  readonly fresh: boolean;
  /** Clock entries and detached dots that had to go; each may show an old sibling again. */
  readonly entriesCut: number;
}

export interface PutWrite {
  readonly context: CausalContext;
  readonly value: Uint8Array;
  readonly requestId: Uint8Array;
  readonly writtenAtMs: number;
  /** 0 or absent: for good. */
  readonly ttlMs?: number;
}

/** Throws Failure REQUEST_ID_REUSED where a living sibling has the request id and another value. */
export function applyPut(copy: Copy, write: PutWrite, minting: Minting): Written {
  const known = siblingOfRequest(copy.record, write.requestId);
  if (known !== undefined) {
    if (sameBytes(known.value, write.value)) return { copy, dot: known.dot, fresh: false, entriesCut: 0 };
    throw new Failure(
      'REQUEST_ID_REUSED',
      `request_id was used on this key for another value (${known.value.length} bytes then, ${write.value.length} now)`,
      { field: 'request_id' },
    );
  }
  const { dot, birth } = mint(copy.birth, copy.record.clock, minting.lineage, minting.newActor);
  const { value, requestId, writtenAtMs, ttlMs = 0 } = write;
  const expiry = ttlMs > 0 && { expiresAtMs: writtenAtMs + ttlMs };
  const next = put(copy.record, write.context, { dot, requestId, writtenAtMs, ...expiry, value });
  const { record, entriesCut } = cut(copy.record, next, birth.actor);
  return { copy: { birth, record }, dot, fresh: true, entriesCut };
}

/** A write that another attempt has made already: nothing is minted, what it left is taken over. */
export function applyKnown(copy: Copy, { dot, record: known }: { dot: Dot; record: KeyRecord }): Written {
  const record = merge(copy.record, known);
  return { copy: { birth: copy.birth, record }, dot, fresh: record !== copy.record, entriesCut: 0 };
}

export function applyDelete(copy: Copy, context: CausalContext, minting: Minting): Written {
  const { dot, birth } = mint(copy.birth, copy.record.clock, minting.lineage, minting.newActor);
  const { record, entriesCut } = cut(copy.record, remove(copy.record, context, dot), birth.actor);
  return { copy: { birth, record }, dot, fresh: true, entriesCut };
}
