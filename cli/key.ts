import type { Command } from 'commander';
import { base64, printable, shellWord, textOf } from './output.ts';
import { usageProblem } from './problem.ts';
import type { Settings } from './settings.ts';
import { argumentBytes, base64Bytes } from './values.ts';

const keyBase64 = ['--key-base64', 'KEY is given in base64, for keys that are not text'] as const;

/** Adds KEY and --key-base64, by which keys that are not text can be named too. */
export function addKey(command: Command): Command {
  return command.argument('<key>', 'the key').option(...keyBase64);
}

/** The same where KEY may be left out; `about` says what it is for. */
export function addOptionalKey(command: Command, about: string): Command {
  return command.argument('[key]', about).option(...keyBase64);
}

export function keyOf(argument: string, options: { keyBase64?: boolean }): Buffer {
  if (options.keyBase64 !== true) return argumentBytes(argument, 'key', 'give it in base64 with --key-base64');
  try {
    return base64Bytes(argument);
  } catch {
    throw usageProblem(`--key-base64: '${argument}' is not base64`, 'cartwheel keys -o json prints such keys so');
  }
}

/** What to type next about a key: it names the same key at the same place, whatever bytes it has. */
export function commandAbout(command: string, key: Uint8Array, { whereGiven }: Settings): string {
  const text = textOf(key);
  const isSafe = text !== undefined && printable(text) === text && !text.startsWith('-');
  const words = isSafe ? [text] : ['--key-base64', base64(key)];
  return ['cartwheel', command, ...words, ...whereGiven].map(shellWord).join(' ');
}
