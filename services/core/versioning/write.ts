/**
 * What a coordinator does to its own copy of a record when it runs a put or a delete: the one place where
 * dots are minted. Pure; the coordinator writes what comes out, and sends it to the other replicas.
 */
import { Failure } from '../failure.ts';
import { type Birth, mint } from './birth.ts';
import { type CausalContext, type Dot, join, sameDot } from './causal-context.ts';
import { timeAfter } from './last-writer.ts';
import { cut, type KeyRecord, merge, put, remove, type Sibling, sameBytes, siblingOfRequest } from './record.ts';

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

export interface Write {
  readonly context: CausalContext;
  readonly requestId: Uint8Array;
  /** By the wall clock. */
  readonly writtenAtMs: number;
  /** See last-writer.ts. */
  readonly lastWriterWins: boolean;
}

export interface PutWrite extends Write {
  readonly value: Uint8Array;
  /** 0: for good. */
  readonly ttlMs: number;
}

/** Throws Failure REQUEST_ID_REUSED where a living sibling has the request id and another value. */
export function applyPut(copy: Copy, write: PutWrite, minting: Minting): Written {
  const { requestId, value, ttlMs, lastWriterWins } = write;
  const known = siblingOfRequest(copy.record, requestId);
  if (known !== undefined) {
    if (sameBytes(known.value, value) && known.contends !== 'delete') return unchanged(copy, known);
    throw idReused(`another value (${known.value.length} bytes then, ${value.length} now)`);
  }
  const { writtenAtMs } = write;
  const expiry = ttlMs > 0 && { expiresAtMs: writtenAtMs + ttlMs };
  return add(
    copy,
    write,
    { requestId, writtenAtMs, ...expiry, ...(lastWriterWins && { contends: 'value' }), value },
    minting,
  );
}

export function applyDelete(copy: Copy, write: Write, minting: Minting): Written {
  const { requestId, writtenAtMs, lastWriterWins } = write;
  if (!lastWriterWins) {
    const { dot, birth } = mint(copy.birth, copy.record.clock, minting.lineage, minting.newActor);
    return written(copy, birth, remove(copy.record, write.context, dot), dot);
  }
  const known = siblingOfRequest(copy.record, requestId);
  if (known !== undefined) {
    if (known.contends === 'delete') return unchanged(copy, known);
    throw idReused('a put');
  }
  return add(copy, write, { requestId, writtenAtMs, contends: 'delete', value: noValue }, minting);
}

const noValue = new Uint8Array(0);

function add(copy: Copy, { context, lastWriterWins }: Write, value: Omit<Sibling, 'dot'>, minting: Minting): Written {
  const { record } = copy;
  const { dot, birth } = mint(copy.birth, record.clock, minting.lineage, minting.newActor);
  if (!lastWriterWins) return written(copy, birth, put(record, context, { ...value, dot }), dot);
  const sibling = { ...value, dot, writtenAtMs: timeAfter(record, value.writtenAtMs) };
  return written(copy, birth, put(record, join(context, record.clock), sibling), dot);
}

function written(before: Copy, birth: Birth, after: KeyRecord, dot: Dot): Written {
  const { record, entriesCut } = cut(before.record, after, birth.actor);
  return { copy: { birth, record }, dot, fresh: true, entriesCut };
}

function unchanged(copy: Copy, { dot }: Sibling): Written {
  return { copy, dot, fresh: false, entriesCut: 0 };
}

function idReused(what: string): Failure {
  return new Failure('REQUEST_ID_REUSED', `request_id was used on this key for ${what}`, { field: 'request_id' });
}

/** A write that other attempts have made already. */
export interface KnownWrite {
  /** The least, where attempts that met two coordinators got two. */
  readonly dot: Dot;
  readonly others: readonly Dot[];
  /** The write is in it, or what replaced it. */
  readonly record: KeyRecord;
}

/**
 * Nothing is minted, what the write left is taken over. `value`: of a put. Throws Failure REQUEST_ID_REUSED where what
 * lives of it is something else.
 */
export function applyKnown(copy: Copy, { dot, record: known }: KnownWrite, value?: Uint8Array): Written {
  const record = merge(copy.record, known);
  const left = record.siblings.find((sibling) => sameDot(sibling.dot, dot));
  if (left !== undefined && !isLeftBy(left, value)) throw idReused('another value, or another kind of write');
  return { copy: { birth: copy.birth, record }, dot, fresh: record !== copy.record, entriesCut: 0 };
}

function isLeftBy({ contends, value: left }: Sibling, value: Uint8Array | undefined): boolean {
  return value === undefined ? contends === 'delete' : contends !== 'delete' && sameBytes(left, value);
}
