import type { Command } from 'commander';
import type { DurabilityName } from '../../client/index.ts';
import { withWriter } from '../connection.ts';
import { addKey, keyOf } from '../key.ts';
import { count, json, note, write } from '../output.ts';
import { usageProblem } from '../problem.ts';
import { operationOptions, settingsOf } from '../settings.ts';
import { base64Bytes, integerBetween } from '../values.ts';
import { answerJson, notFound } from './get.ts';
import { durabilityOption, writeAnswer } from './put.ts';

interface DeleteOptions {
  context?: Buffer;
  r?: number;
  w?: number;
  durability?: DurabilityName;
  keyBase64?: boolean;
}

export function addDelete(program: Command): void {
  addKey(program.command('delete'))
    .description('remove the values of a key')
    .option('--context <base64>', 'remove exactly what this context covers; without it, what is there now', base64Bytes)
    .option('--r <n>', 'replicas that must answer when it looks what is there now', integerBetween(1, 255))
    .option('--w <n>', 'replicas that must know before the answer', integerBetween(1, 255))
    .addOption(durabilityOption())
    .addHelpText(
      'after',
      `
Examples:
  cartwheel delete cart-1
  cartwheel delete cart-1 --context "$(cartwheel get cart-1 -o json | jq -r .context)"`,
    )
    .action(async (key: string, options: DeleteOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.context !== undefined && options.r !== undefined) {
        throw usageProblem('both --context and --r are given', 'with --context nothing is read');
      }
      const keyBytes = keyOf(key, options);
      const answer = await withWriter(settings, async (client) => {
        let context: Uint8Array | undefined = options.context;
        if (context === undefined) {
          const seen = await client.get(keyBytes, { ...operationOptions(settings), r: options.r });
          if (seen.siblings.length === 0) {
            if (settings.output === 'json') await write(json(answerJson(keyBytes, seen)));
            throw notFound(key, seen);
          }
          context = seen.context;
        }
        return client.delete(keyBytes, context, {
          ...operationOptions(settings),
          w: options.w,
          durability: options.durability,
        });
      });
      await writeAnswer(keyBytes, answer, settings.output, 'deleted');
      if (answer.siblings > 0 && settings.output === 'table') {
        note(`${count(answer.siblings)} of its values were not covered by the context and are still there`);
      }
    });
}
