import type { Command } from 'commander';
import type { CartwheelClient, Loser } from '../../client/index.ts';
import { withClient } from '../connection.ts';
import { everyNode } from '../every-node.ts';
import { addOptionalKey, keyOf } from '../key.ts';
import { bytesField, json, plural, preview, table, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { type Settings, settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

const columns = [
  { title: 'LOST AT' },
  { title: 'KEY' },
  { title: 'VALUE' },
  { title: 'DOT' },
  { title: 'LOST TO' },
] as const;
const shownCharacters = 40;

interface LosersOptions {
  limit: number;
  keyBase64?: boolean;
}

export function addLosers(program: Command): void {
  addOptionalKey(program.command('losers'), 'only of this key')
    .description('list values that lost in a namespace where the last writer wins')
    .option('--limit <n>', 'not more than so many, the oldest first', integerBetween(1, 100_000), 1_000)
    .addHelpText(
      'after',
      `
Where the last writer wins (namespace create NAME --resolution LAST_WRITER_WINS) two writes that did not know of each
other leave one value, the later. The other was acknowledged all the same: it is kept for as long as the namespace says
(--losers-kept), and listed here. A value that was replaced by a write after it has not lost.

Asks every storage node of the ring. Exits with 1 when one cannot be asked.

Examples:
  cartwheel losers --namespace profiles
  cartwheel losers user-7 --namespace profiles -o json | jq -r .value`,
    )
    .action(async (key: string | undefined, options: LosersOptions, command: Command) => {
      const settings = settingsOf(command);
      const { limit } = options;
      const keyBytes = key === undefined ? undefined : keyOf(key, options);
      await withClient(settings, async (client) => {
        const { losers, unreachable } = await ask(client, settings, keyBytes, limit);
        if (settings.output === 'json') await write(losers.map(asJson).join(''));
        else await write(losers.length === 0 ? 'nothing has lost\n' : table(columns, losers.map(cells)));
        if (unreachable.length > 0)
          throw new Problem(`cannot reach ${unreachable.join(', ')}`, 'what only those keep is not shown');
        if (losers.length === limit && settings.output === 'table')
          await write(`the first ${plural(limit, 'loss', 'losses')}; --limit shows more\n`);
      });
    });
}

/** One loss a key and dot, as the node tells it that learned of it first. */
async function ask(client: CartwheelClient, { namespace }: Settings, key: Buffer | undefined, limit: number) {
  const losers = new Map<string, Loser>();
  const { unreachable } = await everyNode(client, async (address) => {
    let left = limit;
    for await (const loser of client.losers(address, { namespace, key })) {
      const name = `${loser.key.toString('latin1')} ${loser.dot}`;
      const known = losers.get(name);
      if (known === undefined || loser.lostAt < known.lostAt) losers.set(name, loser);
      if (--left === 0) break;
    }
  });
  const sorted = [...losers.values()].sort((a, b) => a.lostAt.getTime() - b.lostAt.getTime());
  return { losers: sorted.slice(0, limit), unreachable };
}

function cells({ lostAt, key, value, dot, lostTo }: Loser): string[] {
  return [lostAt.toISOString(), preview(key, shownCharacters), preview(value, shownCharacters), dot, lostTo];
}

function asJson({ key, value, dot, writtenAt, lostTo, lostAt }: Loser): string {
  return json({ ...bytesField('key', key), ...bytesField('value', value), dot, writtenAt, lostTo, lostAt });
}
