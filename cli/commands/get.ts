import type { Command } from 'commander';
import { getAll } from '../../client/all-siblings.ts';
import type { CartwheelClient, GetAnswer, GetOptions, Key, Sibling } from '../../client/index.ts';
import { withClient } from '../connection.ts';
import { addKey, commandAbout, keyOf } from '../key.ts';
import { base64, bytesField, count, duration, json, note, plural, preview, printable, write } from '../output.ts';
import { Problem, usageProblem } from '../problem.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

interface GetCommandOptions {
  raw?: boolean;
  r?: number;
  dot?: string[];
  maxBytes?: number;
  keyBase64?: boolean;
}

export function addGet(program: Command): void {
  addKey(program.command('get'))
    .description('read a key: all its siblings, and the context to write with')
    .option('--raw', "write the value's bytes and nothing else; fails unless there is exactly one")
    .option('--r <n>', 'replicas that must answer', integerBetween(1, 255))
    .option('--dot <dot>', 'only this sibling; may be given again', (dot: string, more: string[] = []) => [
      ...more,
      dot,
    ])
    .option('--max-bytes <n>', 'no more value bytes than this, at least one sibling', integerBetween(1, 2 ** 32 - 1))
    .addHelpText(
      'after',
      `
Exits with 1 when there is no value. A put with the context replaces every sibling that is there. So all of them are
shown, unless --max-bytes leaves some out, which is said; with --dot there is no context.

Examples:
  cartwheel get cart-1
  cartwheel get cart-1 -o json | jq .siblings
  cartwheel get photo-7 --raw > photo.jpg
  cartwheel get photo-7 --dot 84e7a14eec10bd01:1 --raw > photo-1.jpg`,
    )
    .action(async (key: string, options: GetCommandOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.raw === true && settings.output === 'json') {
        throw usageProblem('both --raw and -o json are given', 'give one');
      }
      const keyBytes = keyOf(key, options);
      const { dot: dots, maxBytes } = options;
      const read = { ...operationOptions(settings), r: options.r, dots };
      const found = await withClient(settings, (client) =>
        maxBytes === undefined ? allSiblings(client, keyBytes, key, read) : client.get(keyBytes, { ...read, maxBytes }),
      );
      const answer = dots === undefined ? found : { ...found, context: noContext };
      if (options.raw === true) {
        await writeRaw(key, answer, commandAbout('resolve', keyBytes, settings));
        return;
      }
      if (settings.output === 'json') await write(json(answerJson(keyBytes, answer)));
      if (answer.siblings.length === 0) throw dots === undefined ? notFound(key, answer) : noSuchSibling(key, dots);
      if (settings.output === 'table') await write(answerBlock(keyBytes, answer));
      if (answer.omitted.length > 0 && dots === undefined) {
        note(
          `WARNING: the context covers ${plural(answer.omitted.length, 'sibling')} that --max-bytes left out: ` +
            'a put or delete with it destroys values that were not shown',
        );
      }
    });
}

/** A context given out with chosen siblings would cover all the others, unseen. */
const noContext = Buffer.alloc(0);

/** What get shows and resolve decides on: every value that the context covers. */
export async function allSiblings(
  client: Pick<CartwheelClient, 'get'>,
  key: Key,
  shown: string,
  options: GetOptions,
): Promise<GetAnswer> {
  const answer = await getAll(client, key, options);
  if (answer !== undefined) return answer;
  throw new Problem(
    `${printable(shown)}: its siblings changed each time while they were read`,
    'try again; get --max-bytes shows a part of them',
  );
}

function noSuchSibling(key: string, dots: readonly string[]): Problem {
  return new Problem(
    `${printable(key)} has no sibling ${printable(dots.join(' '))}`,
    'get without --dot shows what there is',
  );
}

export function notFound(key: string, answer: GetAnswer): Problem {
  const { homesAnswered, replicasAnswered } = answer.certificate;
  if (homesAnswered < replicasAnswered) {
    return new Problem(
      `${printable(key)}: not found, by ${plural(replicasAnswered, 'replica')} of which ${count(homesAnswered)} ` +
        `${homesAnswered === 1 ? 'is a home' : 'are homes'} of it: it may be on one that is away`,
      'cartwheel explain shows its homes',
    );
  }
  return answer.context.length === 0
    ? new Problem(`${printable(key)}: not found`)
    : new Problem(`${printable(key)}: not found: it was deleted, or has expired`);
}

async function writeRaw(key: string, answer: GetAnswer, resolveCommand: string): Promise<void> {
  const [only, ...more] = answer.siblings;
  if (only === undefined) throw notFound(key, answer);
  if (more.length > 0 || answer.omitted.length > 0) {
    const siblings = answer.siblings.length + answer.omitted.length;
    throw new Problem(`${printable(key)} has ${siblings} siblings, --raw wants one`, resolveCommand);
  }
  await write(only.value);
}

/** What get prints with -o json; delete does too of a key that has no value. */
export function answerJson(key: Uint8Array, answer: GetAnswer): object {
  return {
    ...bytesField('key', key),
    siblings: answer.siblings.map((sibling) => ({
      ...bytesField('value', sibling.value),
      dot: sibling.dot,
      writtenAt: sibling.writtenAt.toISOString(),
      ...(sibling.ttlLeftMs === undefined ? {} : { ttlLeftMs: sibling.ttlLeftMs }),
    })),
    omitted: answer.omitted,
    context: base64(answer.context),
    certificate: answer.certificate,
  };
}

/** Characters of a value in a block; the whole value is one `--raw` or `-o json` away. */
const shownCharacters = 2000;

function answerBlock(key: Uint8Array, answer: GetAnswer): string {
  const { certificate, siblings, omitted } = answer;
  const ring = certificate.ring === undefined ? '' : `, ring ${certificate.ring.term}.${certificate.ring.sequence}`;
  const divergent = certificate.divergent ? '; they differed, repair is under way' : '';
  return [
    `key       ${preview(key, shownCharacters)}`,
    `siblings  ${count(siblings.length + omitted.length)}`,
    ...siblingLines(siblings),
    ...(omitted.length === 0 ? [] : [`omitted   ${omitted.join(' ')} (left out for their size)`]),
    ...(answer.context.length === 0 ? [] : [`context   ${base64(answer.context)}`]),
    `read      ${certificate.replicasAnswered} of ${plural(certificate.replicasAsked, 'replica')} asked answered, ` +
      `${certificate.homesAnswered} of them homes${ring}${divergent}`,
    '',
  ].join('\n');
}

/** Two lines a sibling, numbered from 1; `resolve` shows the same. */
export function siblingLines(siblings: readonly Sibling[]): string[] {
  return siblings.flatMap((sibling, i) => [
    `  ${i + 1}. ${preview(sibling.value, shownCharacters)}`,
    `     ${printable(sibling.dot)}, written ${sibling.writtenAt.toISOString()} (${ageOf(sibling.writtenAt)})${expiryOf(sibling)}`,
  ]);
}

function expiryOf({ ttlLeftMs }: Sibling): string {
  return ttlLeftMs === undefined ? '' : `, expires in ${duration(ttlLeftMs / 1000)}`;
}

function ageOf(time: Date): string {
  const seconds = (Date.now() - time.getTime()) / 1000;
  return seconds < 0 ? `${duration(-seconds)} ahead of this clock` : `${duration(seconds)} ago`;
}
