import type { Command } from 'commander';
import type { GetAnswer, Sibling } from '../../client/index.ts';
import { withClient } from '../connection.ts';
import { addKey, keyOf } from '../key.ts';
import { base64, bytesField, count, duration, json, plural, preview, printable, write } from '../output.ts';
import { Problem, usageProblem } from '../problem.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

interface GetOptions {
  raw?: boolean;
  r?: number;
  keyBase64?: boolean;
}

export function addGet(program: Command): void {
  addKey(program.command('get'))
    .description('read a key: all its siblings, and the context to write with')
    .option('--raw', "write the value's bytes and nothing else; fails unless there is exactly one")
    .option('--r <n>', 'replicas that must answer', integerBetween(1, 255))
    .addHelpText(
      'after',
      `
Exits with 1 when there is no value.

Examples:
  cartwheel get cart-1
  cartwheel get cart-1 -o json | jq .siblings
  cartwheel get photo-7 --raw > photo.jpg`,
    )
    .action(async (key: string, options: GetOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.raw === true && settings.output === 'json') {
        throw usageProblem('both --raw and -o json are given', 'give one');
      }
      const keyBytes = keyOf(key, options);
      const answer = await withClient(settings, (client) =>
        client.get(keyBytes, { ...operationOptions(settings), ...(options.r === undefined ? {} : { r: options.r }) }),
      );
      if (options.raw === true) {
        await writeRaw(key, answer);
        return;
      }
      if (settings.output === 'json') await write(json(answerJson(keyBytes, answer)));
      if (answer.siblings.length === 0) throw notFound(key, answer);
      if (settings.output === 'table') await write(answerBlock(keyBytes, answer));
    });
}

export function notFound(key: string, answer: GetAnswer): Problem {
  return answer.context.length === 0
    ? new Problem(`${printable(key)}: not found`)
    : new Problem(`${printable(key)}: not found: it was deleted`);
}

async function writeRaw(key: string, answer: GetAnswer): Promise<void> {
  const [only, ...more] = answer.siblings;
  if (only === undefined) throw notFound(key, answer);
  if (more.length > 0 || answer.omitted.length > 0) {
    const siblings = answer.siblings.length + answer.omitted.length;
    throw new Problem(`${printable(key)} has ${siblings} siblings, --raw wants one`, `cartwheel resolve ${key}`);
  }
  await write(only.value);
}

function answerJson(key: Uint8Array, answer: GetAnswer): object {
  return {
    ...bytesField('key', key),
    siblings: answer.siblings.map((sibling) => ({
      ...bytesField('value', sibling.value),
      dot: sibling.dot,
      writtenAt: sibling.writtenAt.toISOString(),
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
    ...(omitted.length === 0 ? [] : [`omitted   ${omitted.join(' ')} (too large for one answer)`]),
    `context   ${base64(answer.context)}`,
    `read      ${certificate.replicasAnswered} of ${plural(certificate.replicasAsked, 'replica')} asked answered, ` +
      `${certificate.homesAnswered} of them homes${ring}${divergent}`,
    '',
  ].join('\n');
}

/** Two lines a sibling, numbered from 1; `resolve` shows the same. */
export function siblingLines(siblings: readonly Sibling[]): string[] {
  return siblings.flatMap((sibling, i) => [
    `  ${i + 1}. ${preview(sibling.value, shownCharacters)}`,
    `     ${printable(sibling.dot)}, written ${sibling.writtenAt.toISOString()} (${ageOf(sibling.writtenAt)})`,
  ]);
}

function ageOf(time: Date): string {
  const seconds = (Date.now() - time.getTime()) / 1000;
  return seconds < 0 ? `${duration(-seconds)} ahead of this clock` : `${duration(seconds)} ago`;
}
