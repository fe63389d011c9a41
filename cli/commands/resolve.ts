import { createInterface } from 'node:readline/promises';
import { type Command, Option } from 'commander';
import type { GetAnswer, Sibling } from '../../client/index.ts';
import { withWriter } from '../connection.ts';
import { addKey, keyOf } from '../key.ts';
import { count, note, plural, printable, textOf } from '../output.ts';
import { Problem, usageProblem } from '../problem.ts';
import { mergeInEditor } from '../resolve/editor.ts';
import { type Json, parseJson, printJson } from '../resolve/lossless-json.ts';
import { UnionImpossible, union } from '../resolve/union.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { argumentBytes, integerBetween } from '../values.ts';
import { allSiblings, notFound, siblingLines } from './get.ts';
import { writeAnswer } from './put.ts';

interface ResolveOptions {
  pick?: number;
  value?: string;
  merge?: 'union';
  editor?: boolean;
  keyBase64?: boolean;
}

export function addResolve(program: Command): void {
  addKey(program.command('resolve'))
    .description('make one value of the siblings of a key')
    .option('--pick <n>', 'keep the n-th sibling, as get numbers them', integerBetween(1, 1_000_000))
    .option('--value <text>', 'write this value in their place')
    .addOption(
      new Option('--merge <how>', 'union: every element of JSON arrays, every member of objects').choices(['union']),
    )
    .option('--editor', 'make the value in $VISUAL or $EDITOR')
    .addHelpText(
      'after',
      `
Without one of these it asks, on a terminal. What is written carries the context of what was shown: a value that
somebody writes meanwhile stays as a sibling.

Examples:
  cartwheel resolve cart-1
  cartwheel resolve cart-1 --pick 2
  cartwheel resolve cart-1 --merge union`,
    )
    .action(async (key: string, options: ResolveOptions, command: Command) => {
      const settings = settingsOf(command);
      const keyBytes = keyOf(key, options);
      const own =
        options.value === undefined
          ? undefined
          : argumentBytes(options.value, '--value', 'put it with --file and the context of a get');
      const ways = [options.pick, options.value, options.merge, options.editor].filter((way) => way !== undefined);
      if (ways.length > 1)
        throw usageProblem('more than one of --pick, --value, --merge, --editor is given', 'give one');
      await withWriter(settings, async (client) => {
        const seen = await allSiblings(client, keyBytes, key, operationOptions(settings));
        if (seen.siblings.length === 0) throw notFound(key, seen);
        if (seen.siblings.length === 1 && options.value === undefined) {
          note(`${printable(key)} has one value: nothing to resolve`);
          return;
        }
        const value = await chosen(seen, own, options);
        if (value === undefined) {
          note('nothing was written');
          return;
        }
        const answer = await client.put(keyBytes, value, { ...operationOptions(settings), context: seen.context });
        await writeAnswer(keyBytes, answer, settings.output, 'resolved');
        if (answer.siblings > 1) {
          note(`somebody wrote meanwhile: it has ${count(answer.siblings)} siblings again; run this again`);
        }
      });
    });
}

async function chosen(
  seen: GetAnswer,
  own: Uint8Array | undefined,
  options: ResolveOptions,
): Promise<Uint8Array | undefined> {
  if (own !== undefined) return own;
  const { siblings } = seen;
  if (options.pick !== undefined) {
    const picked = siblings[options.pick - 1];
    if (picked === undefined) {
      throw new Problem(
        `--pick ${options.pick}: there ${siblings.length === 1 ? 'is' : 'are'} ${plural(siblings.length, 'sibling')}`,
        'cartwheel get shows them',
      );
    }
    return picked.value;
  }
  if (options.merge === 'union') return unionOf(siblings);
  if (options.editor === true) return mergeInEditor(siblings);
  return ask(siblings);
}

function unionOf(siblings: readonly Sibling[]): Buffer {
  const values = siblings.map(({ value, dot }) => {
    try {
      return parseJson(textOf(value) ?? '');
    } catch (error) {
      if (error instanceof RangeError) throw nestedTooDeep();
      throw new Problem(`--merge union: sibling ${printable(dot)} is not JSON`, 'use --pick, --value or --editor');
    }
  });
  try {
    return Buffer.from(printJson(union(values as [Json, ...Json[]])), 'utf8');
  } catch (error) {
    if (error instanceof RangeError) throw nestedTooDeep();
    if (!(error instanceof UnionImpossible)) throw error;
    throw new Problem(`--merge union: ${printable(error.message)}`, 'use --pick, --value or --editor');
  }
}

/** What reads and writes JSON recurses. */
function nestedTooDeep(): Problem {
  return new Problem('--merge union: the siblings are nested too deep', 'use --pick, --value or --editor');
}

/** Undefined when the person wants none of it. */
async function ask(siblings: readonly Sibling[]): Promise<Uint8Array | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    note(siblingLines(siblings).join('\n'));
    throw usageProblem('there is no terminal to ask on', 'say --pick N, --value TEXT, --merge union or --editor');
  }
  note(siblingLines(siblings).join('\n'));
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    for (;;) {
      const answer = (
        await terminal.question(`keep 1–${siblings.length}, u for the union, e to edit, q to leave it: `)
      ).trim();
      const picked = /^\d{1,6}$/.test(answer) ? siblings[Number(answer) - 1] : undefined;
      if (picked !== undefined) return picked.value;
      if (answer === 'q' || answer === '') return undefined;
      if (answer === 'e') {
        terminal.pause();
        return mergeInEditor(siblings);
      }
      if (answer === 'u') {
        try {
          return unionOf(siblings);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          note(error.message);
        }
      }
    }
  } finally {
    terminal.close();
  }
}
