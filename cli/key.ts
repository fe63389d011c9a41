import type { Command } from 'commander';
import { usageProblem } from './problem.ts';
import { argumentBytes, base64Bytes } from './values.ts';

/** Adds KEY and --key-base64, by which keys that are not text can be named too. */
export function addKey(command: Command): Command {
  return command
    .argument('<key>', 'the key')
    .option('--key-base64', 'KEY is given in base64, for keys that are not text');
}

export function keyOf(argument: string, options: { keyBase64?: boolean }): Buffer {
  if (options.keyBase64 !== true) return argumentBytes(argument, 'key', 'give it in base64 with --key-base64');
  try {
    return base64Bytes(argument);
  } catch {
    throw usageProblem(`--key-base64: '${argument}' is not base64`, 'cartwheel keys -o json prints such keys so');
  }
}
