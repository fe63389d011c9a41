import { createReadStream } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DurabilityName, PutAnswer } from '../../client/index.ts';
import { withWriter } from '../connection.ts';
import { addKey, commandAbout, keyOf } from '../key.ts';
import { base64, bytesField, count, json, note, plural, write } from '../output.ts';
import { messageOf, Problem, systemCodeOf, usageProblem } from '../problem.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { argumentBytes, base64Bytes, integerBetween, longDurationMs } from '../values.ts';

interface PutOptions {
  file?: string;
  context?: Buffer;
  w?: number;
  durability?: DurabilityName;
  ttl?: number;
  requestId?: Buffer;
  keyBase64?: boolean;
}

export function addPut(program: Command): void {
  addKey(program.command('put'))
    .description('write a value')
    .argument('[value]', "the value; '-' reads it from standard input")
    .option('--file <path>', 'take the value from a file')
    .option('--context <base64>', 'the context of a get: replaces the values that were there then', base64Bytes)
    .option('--w <n>', 'replicas that must have it before the answer', integerBetween(1, 255))
    .addOption(durabilityOption())
    .option('--ttl <duration>', "how long it is to be seen, such as 30m or 7d; else the namespace's", longDurationMs)
    .option(
      '--request-id <text>',
      'up to 32 bytes that name this write: given again with the same value, it is no second write',
      requestIdBytes,
    )
    .addHelpText(
      'after',
      `
Without --context the write is blind: it is kept beside the values that are there, as a sibling.

A put that fails may have been made all the same, which is said. To be able to give it again name it with --request-id: the
nodes are then asked first what they know of that write (so it costs a round trip more).

Examples:
  cartwheel put cart-1 '{"items":["apple"]}'
  cartwheel put cart-1 '{"items":["pear"]}' --context "$(cartwheel get cart-1 -o json | jq -r .context)"
  cartwheel put photo-7 --file photo.jpg
  cartwheel put session-1 token --ttl 30m
  cartwheel put order-7 paid --request-id payment-4711
  date | cartwheel put now -`,
    )
    .action(async (key: string, value: string | undefined, options: PutOptions, command: Command) => {
      const settings = settingsOf(command);
      const keyBytes = keyOf(key, options);
      const valueBytes = await valueArgument(value, options.file);
      const answer = await withWriter(
        settings,
        (client) =>
          client.put(keyBytes, valueBytes, {
            ...operationOptions(settings),
            w: options.w,
            durability: options.durability,
            ttlMs: options.ttl,
            // Whether it was given before is not known here: as a second attempt it is looked for.
            ...(options.requestId === undefined ? {} : { requestId: options.requestId, attempt: 1 }),
            ...(options.context === undefined ? {} : { context: options.context }),
          }),
        options.requestId === undefined ? undefined : 'it may have been written; given again it is the same write',
      );
      await writeAnswer(keyBytes, answer, settings.output, 'written');
      if (answer.siblings > 1 && settings.output === 'table') {
        note(`this key has ${count(answer.siblings)} siblings now: ${commandAbout('resolve', keyBytes, settings)}`);
      }
    });
}

function requestIdBytes(text: string): Buffer {
  const id = argumentBytes(text, '--request-id', 'give it in other characters');
  if (id.length > 0) return id;
  throw new InvalidArgumentError('Wanted 1 to 32 bytes, such as payment-4711.');
}

/** Of put and delete: what each replica has to do before it acknowledges. */
export function durabilityOption(): Option {
  return new Option(
    '--durability <mode>',
    "sync (DURABLE), sync one of them (ONE_DURABLE), or nothing yet (BUFFERED); else the namespace's",
  ).choices(['DURABLE', 'ONE_DURABLE', 'BUFFERED']);
}

/** What a write came to, for put, delete and resolve. */
export async function writeAnswer(
  key: Uint8Array,
  answer: PutAnswer,
  output: 'table' | 'json',
  verb: string,
): Promise<void> {
  if (output === 'json') {
    const { context, siblings, receipt } = answer;
    await write(json({ ...bytesField('key', key), context: base64(context), siblings, receipt }));
    return;
  }
  const acks = answer.receipt.acks;
  const durable = acks.filter((ack) => ack.durable).length;
  const fallbacks = acks.filter((ack) => ack.hintedFor !== '').length;
  const standIns = fallbacks === 0 ? '' : `, ${fallbacks} of them standing in for a home that is away`;
  await write(
    `${verb} as ${answer.receipt.dot}: on ${plural(acks.length, 'replica')}, ${durable} durable${standIns}\n`,
  );
}

async function valueArgument(argument: string | undefined, file: string | undefined): Promise<Uint8Array> {
  if (argument !== undefined && file !== undefined) throw usageProblem('both VALUE and --file are given', 'give one');
  if (file !== undefined) {
    try {
      return await allOf(createReadStream(file));
    } catch (error) {
      throw error instanceof Problem ? error : fileProblem(file, error);
    }
  }
  if (argument === undefined) {
    throw usageProblem("missing required argument 'value'", "give VALUE, '-' for standard input, or --file PATH");
  }
  return argument === '-' ? await allOf(process.stdin) : argumentBytes(argument, 'value', valueFromElsewhere);
}

const valueFromElsewhere = "give it with --file PATH, or '-' for standard input";

export function fileProblem(path: string, error: unknown): Problem {
  const code = systemCodeOf(error);
  if (code === 'ENOENT') return new Problem(`${path}: no such file`, 'check the path');
  if (code === 'EISDIR') return new Problem(`${path} is a directory`, 'name a file in it');
  if (code === 'EACCES') return new Problem(`${path} cannot be read: permission denied`, 'check its permissions');
  return new Problem(`${path} cannot be read: ${messageOf(error)}`);
}

/** Beyond what any message takes: what is more than this is not read into memory to be refused then. */
const readBytesMax = 64 * 1024 * 1024;

async function allOf(input: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > readBytesMax) {
      throw usageProblem(
        `VALUE_TOO_LARGE: the value has more than ${readBytesMax} bytes`,
        'a value has at most 1 MiB by default: split it, or store a reference to it',
      );
    }
  }
  return Buffer.concat(chunks);
}
