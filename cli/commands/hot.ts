import type { Command } from 'commander';
import type { HotKey } from '../../client/index.ts';
import { withClient } from '../connection.ts';
import { everyNode } from '../every-node.ts';
import { bytesField, json, preview, table, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

const columns = [
  { title: 'KEY' },
  { title: 'NAMESPACE' },
  { title: 'READS/S', align: 'right' },
  { title: 'WRITES/S', align: 'right' },
  { title: 'SHARE', align: 'right' },
] as const;
const columnsOfNodes = [{ title: 'NODE' }, ...columns] as const;
const shownCharacters = 40;

interface HotOptions {
  limit: number;
  nodes?: boolean;
}

export function addHot(program: Command): void {
  program
    .command('hot')
    .description('list the keys that are asked for most')
    .option('--limit <n>', 'not more than so many of a process', integerBetween(1, 256), 10)
    .option('--nodes', 'of every storage node of the ring, not of the endpoint')
    .addHelpText(
      'after',
      `
Rates of the last half minute or so. A router tells what its clients ask for, a storage node (--nodes) which operations
it runs: reads that a router answers together count there as one, and clients that go straight to a node are counted
there only. Every key with more than 1/256 of the operations of a process is found; a rate may be too low, and a share too
high, by the error that JSON tells (errorPerSecond): where no key is hot, shares of 0.4% with rates near 0 mean nothing.

With --nodes exits with 1 when a storage node cannot be asked.

Examples:
  cartwheel hot
  cartwheel hot --nodes --limit 3
  cartwheel hot -o json | jq -r .key`,
    )
    .action(async ({ limit, nodes = false }: HotOptions, command: Command) => {
      const settings = settingsOf(command);
      await withClient(settings, async (client) => {
        const { answers, unreachable } = nodes
          ? await everyNode(client, (address) => client.hotKeys({ address, limit }))
          : { answers: [{ address: '', answer: await client.hotKeys({ limit }) }], unreachable: [] };
        const rows = answers.flatMap(({ address, answer }) => answer.map((hot) => ({ address, hot })));
        if (settings.output === 'json') await write(rows.map(({ address, hot }) => asJson(address, hot)).join(''));
        else if (rows.length === 0) await write('nothing was asked for\n');
        else if (nodes) {
          await write(
            table(
              columnsOfNodes,
              rows.map(({ address, hot }) => [address, ...cells(hot)]),
            ),
          );
        } else {
          await write(
            table(
              columns,
              rows.map(({ hot }) => cells(hot)),
            ),
          );
        }
        if (unreachable.length > 0)
          throw new Problem(`cannot reach ${unreachable.join(', ')}`, 'what those are asked for is not shown');
      });
    });
}

function cells({ namespace, key, readsPerSecond, writesPerSecond, share }: HotKey): string[] {
  const percent = `${(100 * share).toFixed(1)}%`;
  return [preview(key, shownCharacters), namespace, readsPerSecond.toFixed(1), writesPerSecond.toFixed(1), percent];
}

function asJson(address: string, { key, ...hot }: HotKey): string {
  return json({ ...(address !== '' && { node: address }), ...bytesField('key', key), ...hot });
}
