import type { Command } from 'commander';
import type { TaskStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { withClient } from '../connection.ts';
import { everyNode } from '../every-node.ts';
import { bytes, count, duration, json, table, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';

const columns = [
  { title: 'NODE' },
  { title: 'TASK' },
  { title: 'RUNNING', align: 'right' },
  { title: 'OPERATIONS', align: 'right' },
  { title: 'BYTES', align: 'right' },
  { title: 'PER SECOND', align: 'right' },
  { title: 'WAITS FOR' },
] as const;

export function addTasks(program: Command): void {
  program
    .command('tasks')
    .description('show what nodes do in the background')
    .addHelpText(
      'after',
      `
Exchanges and hand-overs go on as fast as the governor of their node lets them: less while the node's own clients wait
longer than --background-target, never more than --background-mib.

Asks every storage node of the ring. Exits with 1 when one cannot be asked.`,
    )
    .action(async (_: object, command: Command) => {
      const settings = settingsOf(command);
      await withClient(settings, async (client) => {
        const { answers, unreachable } = await everyNode(client, (address) => client.status(address));
        const rows = answers.flatMap(({ address, answer }) => answer.tasks.map((task) => ({ address, task })));
        if (settings.output === 'json') {
          await write(json({ tasks: rows.map(({ address, task }) => ({ address, ...task })), unreachable }));
        } else {
          const shown = table(
            columns,
            rows.map(({ address, task }) => cells(address, task)),
          );
          await write(rows.length === 0 ? 'nothing is done in the background\n' : shown);
        }
        if (unreachable.length > 0)
          throw new Problem(`cannot reach ${unreachable.join(', ')}`, 'what those do is not shown');
      });
    });
}

function cells(address: string, { name, runningMs, operations, bytes: moved, waitsFor }: TaskStatus): string[] {
  const perSecond = runningMs === 0n ? 0 : (Number(operations) * 1_000) / Number(runningMs);
  return [
    address,
    name,
    duration(Number(runningMs) / 1_000),
    count(operations),
    bytes(Number(moved)),
    count(Math.round(perSecond)),
    waitsFor || '-',
  ];
}
