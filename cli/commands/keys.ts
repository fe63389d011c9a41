import type { Command } from 'commander';
import { problemOf, withClient } from '../connection.ts';
import { bytesField, count, json, preview, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';
import { argumentBytes, integerBetween } from '../values.ts';

interface KeysOptions {
  prefix?: string;
  count?: boolean;
  limit?: number;
}

/** Keys are gathered into writes of about this many characters. */
const chunkCharacters = 64 * 1024;
/** A key is at most 4,096 bytes; as hexadecimal that is twice as many characters. */
const shownCharacters = 8194;

export function addKeys(program: Command): void {
  program
    .command('keys')
    .description('list the keys, in the order of their hashes; not a snapshot')
    .option('--prefix <text>', 'only keys that begin so')
    .option('--limit <n>', 'not more than so many', integerBetween(1, Number.MAX_SAFE_INTEGER))
    .option('--count', 'print how many there are, and nothing else')
    .addHelpText(
      'after',
      `
With -o json one object a line: {"key":"…"}, or {"keyBase64":"…"} for a key that is not text.

Examples:
  cartwheel keys --count
  cartwheel keys --prefix CH/ --limit 10
  cartwheel keys -o json | jq -r .key`,
    )
    .action(async (options: KeysOptions, command: Command) => {
      const settings = settingsOf(command);
      const prefix =
        options.prefix === undefined
          ? undefined
          : argumentBytes(options.prefix, '--prefix', 'list the keys that begin with the text before it');
      const limit = options.limit ?? Number.POSITIVE_INFINITY;
      await withClient(settings, async (client) => {
        const keys = client.keys({
          ...(settings.namespace === undefined ? {} : { namespace: settings.namespace }),
          ...(prefix === undefined ? {} : { prefix }),
        });
        let seen = 0;
        let chunk = '';
        try {
          for await (const { key } of keys) {
            seen++;
            if (options.count !== true) {
              chunk += settings.output === 'json' ? json(bytesField('key', key)) : `${preview(key, shownCharacters)}\n`;
              if (chunk.length >= chunkCharacters) {
                await write(chunk);
                chunk = '';
              }
            }
            if (seen >= limit) break;
          }
        } catch (error) {
          if (seen === 0) throw error;
          await write(chunk);
          const problem = problemOf(error);
          if (!(problem instanceof Problem)) throw error;
          throw new Problem(`not all keys were listed, but ${count(seen)}: ${problem.message}`, problem.hint);
        }
        await write(options.count === true ? `${seen}\n` : chunk);
      });
    });
}
