/**
 * Writes the records of a file to a store. Knows no files, terminals or journals: records come in, counts go out.
 *
 * I1 At most `concurrency` records are under way, and at most `aheadMax` are past the watermark.
 * I2 Of records with one key the last one counts: it waits for the one before it, reads the key and replaces
 *    all that is there.
 * I3 All attempts to write a record in one load carry one request id, those of a resumption too; two loads never
 *    share one. A store that still knows the id of a value that was deleted since would acknowledge it and write
 *    nothing.
 * I4 A load that did not begin on an empty namespace reads each key first, and leaves alone one that has the value
 *    already: loading a file again makes no second siblings.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { CartwheelClient, GetAnswer, OperationOptions } from '../../client/index.ts';
import { messageOf } from '../problem.ts';
import { Watermark } from './journal.ts';
import { KeySet } from './key-set.ts';
import { KeyMissing, type KeyTemplate } from './key-template.ts';
import type { SourceRecord } from './records.ts';
import { isLasting, withRetries } from './retry.ts';

/** What a load asks of a store. */
export type LoadStore = Pick<CartwheelClient, 'get' | 'put'>;

export interface LoadOptions {
  readonly key: KeyTemplate;
  readonly concurrency: number;
  /** Records up to this one are done already. */
  readonly startAfter: number;
  /** Read each key first and replace what is there. */
  readonly replace: boolean;
  /** See I4. */
  readonly readFirst: boolean;
  /** Random, of this load and its resumptions. */
  readonly nonce: Uint8Array;
  readonly retryForMs: number;
  readonly operation: OperationOptions;
  readonly signal: AbortSignal;
}

/** Counts that grow while the load runs. */
export class LoadCounts {
  /** Records read, those done before included. */
  records = 0;
  written = 0;
  /** Had the value already. */
  unchanged = 0;
  retries = 0;
  /** Keys that have more than one value with that of their record. */
  withSiblings = 0;
  readonly duplicates = new Findings();
  readonly rejected = new Findings();
  /** Whether later keys were not checked for duplicates any more. */
  duplicatesUnchecked = false;
  readonly watermark: Watermark;
  /** Why the load stopped before the end; undefined when it did not. */
  stoppedBy: unknown;

  /** `rejected`: of the records done before. They make this load fail too; why is known to the run that met them. */
  constructor(startAfter: number, rejected = 0) {
    this.watermark = new Watermark(startAfter, rejected);
    this.rejected.count = rejected;
  }
}

/** How many of a kind, and the first few in words. */
export class Findings {
  count = 0;
  readonly first: string[] = [];

  add(text: string): void {
    this.count++;
    if (this.first.length < 5) this.first.push(text);
  }
}

const aheadMax = 65_536;

export async function load(
  records: AsyncIterable<SourceRecord>,
  store: LoadStore,
  options: LoadOptions,
  counts: LoadCounts,
): Promise<void> {
  const underWay = new Map<string, Promise<void>>();
  const known = new KeySet();
  const { watermark } = counts;
  let running = 0;
  let wake = () => {};
  const stopped = () => options.signal.aborted || counts.stoppedBy !== undefined;

  const run = async (record: SourceRecord, key: string, replace: boolean, before: Promise<void> | undefined) => {
    await before;
    if (stopped()) return;
    try {
      await writeRecord(record, key, replace, store, options, counts);
      watermark.done(record.number);
    } catch (error) {
      const isTooDeep = error instanceof RangeError; // JSON.stringify recurses
      if (isTooDeep || (isLasting(error) && typeof (error as { code?: unknown }).code === 'number')) {
        counts.rejected.add(`record ${record.number} (${key.slice(0, 100)}): ${messageOf(error)}`);
        watermark.reject(record.number);
      } else if (!options.signal.aborted) counts.stoppedBy ??= error;
    }
  };

  for await (const record of records) {
    if (stopped()) break;
    counts.records = record.number;
    const key = keyOrReason(record, options.key);
    const seen = 'key' in key && known.add(key.key);
    if (record.number <= options.startAfter) continue;
    if ('missing' in key) {
      counts.rejected.add(`record ${record.number}: ${key.missing}`);
      watermark.reject(record.number);
      continue;
    }
    if (seen) counts.duplicates.add(`record ${record.number} (${key.key.slice(0, 100)})`);
    running++;
    const task = run(record, key.key, seen || options.replace, underWay.get(key.key)).finally(() => {
      running--;
      if (underWay.get(key.key) === task) underWay.delete(key.key);
      wake();
    });
    underWay.set(key.key, task);
    while (running >= options.concurrency || record.number - watermark.value >= aheadMax) {
      if (stopped()) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  counts.duplicatesUnchecked = known.full;
  await Promise.all(underWay.values());
}

function keyOrReason(record: SourceRecord, template: KeyTemplate): { key: string } | { missing: string } {
  try {
    return { key: template.keyOf(record.value) };
  } catch (error) {
    if (error instanceof KeyMissing) return { missing: error.message };
    throw error;
  }
}

async function writeRecord(
  record: SourceRecord,
  key: string,
  replace: boolean,
  store: LoadStore,
  options: LoadOptions,
  counts: LoadCounts,
): Promise<void> {
  const value = storedValue(record.value);
  const retrying = { ...options, onRetry: () => counts.retries++ };
  const get = (dots: readonly string[]) => withRetries(() => store.get(key, { ...options.operation, dots }), retrying);
  const seen = replace || options.readFirst ? await get([]) : undefined;
  if (seen !== undefined && (replace ? isOnly(seen, value) : await has(seen, value, get))) {
    counts.unchanged++;
    if (seen.siblings.length + seen.omitted.length > 1) counts.withSiblings++;
    return;
  }
  const replaced = replace ? seen : undefined;
  const requestId = replaced === undefined ? requestIdOf(options.nonce, key, value) : randomBytes(16);
  const context = replaced === undefined || replaced.context.length === 0 ? {} : { context: replaced.context };
  const answer = await withRetries(
    (attempt) => store.put(key, value, { ...options.operation, ...context, requestId, attempt }),
    retrying,
  );
  counts.written++;
  if (answer.siblings > 1) counts.withSiblings++;
}

/** What is stored for a record: its compact JSON in UTF-8. */
export function storedValue(record: unknown): Buffer {
  return Buffer.from(JSON.stringify(record), 'utf8');
}

export function isOnly(answer: GetAnswer, value: Buffer): boolean {
  return (
    answer.siblings.length === 1 && answer.omitted.length === 0 && value.equals(answer.siblings[0]?.value as Buffer)
  );
}

/** Whether it is one of the values, those that did not fit into the answer too. */
async function has(
  seen: GetAnswer,
  value: Buffer,
  get: (dots: readonly string[]) => Promise<GetAnswer>,
): Promise<boolean> {
  const among = ({ siblings }: GetAnswer) => siblings.some((sibling) => value.equals(sibling.value));
  if (among(seen)) return true;
  for (const dot of seen.omitted) if (among(await get([dot]))) return true;
  return false;
}

/** The first 16 bytes of SHA-256(nonce, key, 0x00, value). */
export function requestIdOf(nonce: Uint8Array, key: string, value: Uint8Array): Buffer {
  return createHash('sha256').update(nonce).update(`${key}\0`).update(value).digest().subarray(0, 16);
}
