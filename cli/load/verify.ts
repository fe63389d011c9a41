/**
 * Reads every record of a file back and compares it with its source, byte for byte. Writes nothing.
 *
 * The two sums are SHA-256 over the records in the order of the file, each as
 *
 *   length of key (u32, big-endian) ‖ key ‖ length of value (u32) ‖ value
 *
 * once with the values of the file and once with those read (all siblings, one after the other). Of records with
 * one key only the last one is looked at, as in loading; records that a load rejects (for their key, or because they
 * are nested too deep) are left out and counted.
 */
import { createHash, type Hash } from 'node:crypto';
import type { GetAnswer } from '../../client/index.ts';
import { isOperationFailed } from '../connection.ts';
import { printable } from '../output.ts';
import { messageOf } from '../problem.ts';
import { KeySet } from './key-set.ts';
import { KeyMissing } from './key-template.ts';
import { Findings, isOnly, type LoadOptions, type LoadStore, storedValue } from './loader.ts';
import type { RecordFile, SourceRecord } from './records.ts';
import { withRetries } from './retry.ts';

export class VerifyCounts {
  /** The file is read twice: first to find the keys that occur again. */
  pass: 1 | 2 = 1;
  records = 0;
  equal = 0;
  readonly different = new Findings();
  readonly missing = new Findings();
  readonly siblings = new Findings();
  /** Records that cannot be stored, and so cannot be there. */
  readonly rejected = new Findings();
  /** Records that a later one with the same key replaces. */
  replaced = 0;
  retries = 0;
  sourceSum = '';
  readSum = '';
}

export type VerifyOptions = Pick<LoadOptions, 'key' | 'concurrency' | 'retryForMs' | 'operation' | 'signal'>;

/** More keys than this that occur again are no data set with a mistake in it, but another key is meant. */
const repeatedKeysMax = 1_000_000;

interface Comparison {
  readonly number: number;
  readonly key: string;
  readonly value: Buffer;
  readonly answer: Promise<GetAnswer | { failed: unknown }>;
}

export async function verify(
  file: Pick<RecordFile, 'records'>,
  store: Pick<LoadStore, 'get'>,
  options: VerifyOptions,
  counts: VerifyCounts,
): Promise<void> {
  const lastOf = await repeatedKeys(file.records(), options);
  counts.pass = 2;
  const source = createHash('sha256');
  const read = createHash('sha256');
  const waiting: Comparison[] = [];
  const compareNext = async () => {
    const comparison = waiting.shift() as Comparison;
    const answer = await comparison.answer;
    const { number, key, value } = comparison;
    if ('failed' in answer) {
      if (!isOfTheKey(answer.failed)) throw answer.failed;
      counts.rejected.add(`${nameOf(number, key)}: ${messageOf(answer.failed)}`);
      return;
    }
    addTo(source, key, [value]);
    addTo(
      read,
      key,
      answer.siblings.map((sibling) => sibling.value),
    );
    judge(comparison, answer, counts);
  };
  for await (const record of file.records()) {
    if (options.signal.aborted) break;
    counts.records = record.number;
    const key = keyOf(record, options, counts);
    if (key === undefined) continue;
    if ((lastOf.get(key) ?? record.number) !== record.number) {
      counts.replaced++;
      continue;
    }
    const value = valueOrReason(record);
    if ('tooDeep' in value) {
      counts.rejected.add(`${nameOf(record.number, key)}: ${value.tooDeep}`);
      continue;
    }
    const answer = withRetries(() => store.get(key, options.operation), {
      ...options,
      onRetry: () => counts.retries++,
    }).catch((error: unknown) => ({ failed: error }));
    waiting.push({ number: record.number, key, value: value.bytes, answer });
    if (waiting.length >= options.concurrency) await compareNext();
  }
  while (waiting.length > 0) await compareNext();
  counts.sourceSum = source.digest('hex');
  counts.readSum = read.digest('hex');
}

function judge({ number, key, value }: Comparison, answer: GetAnswer, counts: VerifyCounts): void {
  const what = nameOf(number, key);
  if (isOnly(answer, value)) counts.equal++;
  else if (answer.siblings.length === 0) counts.missing.add(what);
  else if (answer.siblings.length + answer.omitted.length > 1) counts.siblings.add(what);
  else counts.different.add(what);
}

function nameOf(number: number, key: string): string {
  return `record ${number} (${printable(key.slice(0, 100))})`;
}

/** No such key can be stored: a load has rejected the record. */
function isOfTheKey(error: unknown): boolean {
  return isOperationFailed(error) && (error.reason === 'KEY_EMPTY' || error.reason === 'KEY_TOO_LARGE');
}

function valueOrReason(record: SourceRecord): { bytes: Buffer } | { tooDeep: string } {
  try {
    return { bytes: storedValue(record.value) };
  } catch (error) {
    if (error instanceof RangeError) return { tooDeep: messageOf(error) }; // JSON.stringify recurses
    throw error;
  }
}

function keyOf(record: SourceRecord, options: VerifyOptions, counts: VerifyCounts | undefined): string | undefined {
  try {
    return options.key.keyOf(record.value);
  } catch (error) {
    if (!(error instanceof KeyMissing)) throw error;
    counts?.rejected.add(`record ${record.number}: ${error.message}`);
    return undefined;
  }
}

/** Keys that occur more than once → the number of the last record of each. */
async function repeatedKeys(
  records: AsyncIterable<SourceRecord>,
  options: VerifyOptions,
): Promise<ReadonlyMap<string, number>> {
  const known = new KeySet();
  const lastOf = new Map<string, number>();
  for await (const record of records) {
    if (options.signal.aborted) break;
    const key = keyOf(record, options, undefined);
    if (key !== undefined && known.add(key) && (lastOf.has(key) || lastOf.size < repeatedKeysMax)) {
      lastOf.set(key, record.number);
    }
  }
  return lastOf;
}

function addTo(sum: Hash, key: string, values: readonly Buffer[]): void {
  const length = Buffer.alloc(4);
  const keyBytes = Buffer.from(key, 'utf8');
  length.writeUInt32BE(keyBytes.length);
  sum.update(length).update(keyBytes);
  length.writeUInt32BE(values.reduce((total, value) => total + value.length, 0));
  sum.update(length);
  for (const value of values) sum.update(value);
}
