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
  { title: 'DONE', align: 'right' },
  { title: 'RUNNING', align: 'right' },
  { title: 'TO GO', align: 'right' },
  { title: 'OPERATIONS', align: 'right' },
  { title: 'A SECOND', align: 'right' },
  { title: 'BYTES', align: 'right' },
  { title: 'A SECOND', align: 'right' },
  { title: 'WAITS FOR' },
] as const;

export function addTasks(program: Command): void {
  program
    .command('tasks')
    .description('show what nodes do in the background')
    .addHelpText(
      'after',
      `
Exchanges, hand-overs, handoff of hints, transfers, hand-backs, verification, digests that are built anew, repair, collection,
answers to those of other nodes, and the flush of the write buffer go on as fast as the governor of their node lets them:
less while the node's own clients wait longer than --background-target, its disk stalls, or its event loop is late because
the processor is busy; never more than --background-operations and --background-mib, and never less than a tenth of that,
with which it begins. DONE is what a task has come through so far, TO GO by its pace in the last minute; - where it cannot
know. A hand-back that owners do not take yet, because they cannot be reached or too many of them are DOWN, says which ones
it waits for.

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

function cells(address: string, task: TaskStatus): string[] {
  const { name, runningMs, operations, bytes: moved, waitsFor, progress, etaMs } = task;
  const aSecond = (done: bigint) => (runningMs === 0n ? 0 : Math.round((Number(done) * 1_000) / Number(runningMs)));
  return [
    address,
    name,
    progress === undefined ? '-' : `${Math.floor(progress * 100)}%`,
    duration(Number(runningMs) / 1_000),
    etaMs === undefined ? '-' : duration(Number(etaMs) / 1_000),
    count(operations),
    count(aSecond(operations)),
    bytes(Number(moved)),
    bytes(aSecond(moved)),
    waitsFor || '-',
  ];
}
