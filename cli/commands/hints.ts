import type { Command } from 'commander';
import type { HintStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { nameOfNode } from '../../services/core/ring/ring.ts';
import { withClient } from '../connection.ts';
import { everyNode } from '../every-node.ts';
import { bytes, count, duration, json, table, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';

const columns = [
  { title: 'KEPT BY' },
  { title: 'OWED TO' },
  { title: 'HINTS', align: 'right' },
  { title: 'BYTES', align: 'right' },
  { title: 'OLDEST', align: 'right' },
  { title: 'MARKED', align: 'right' },
  { title: 'STATE' },
  { title: 'PER SECOND', align: 'right' },
  { title: 'LEFT', align: 'right' },
] as const;

interface Row {
  readonly address: string;
  /** Of the node that it is owed to. */
  readonly home: string;
  readonly hint: HintStatus;
}

export function addHints(program: Command): void {
  program
    .command('hints')
    .description('show what nodes keep for homes that missed writes')
    .addHelpText(
      'after',
      `
Asks every storage node of the ring. HINTS are delivered when their home answers again; MARKED are partitions of
which more was missed than hints are kept for. Nodes are named by their addresses, in JSON by their ids too. Exits with 1 when a node cannot be asked.

Examples:
  cartwheel hints
  cartwheel hints -o json`,
    )
    .action(async (_: object, command: Command) => {
      const settings = settingsOf(command);
      await withClient(settings, async (client) => {
        const { answers, unreachable } = await everyNode(client, (address) => client.status(address));
        const ring = await client.ring();
        const rows = answers.flatMap(({ address, answer }) =>
          answer.hints.map((hint) => ({ address, home: nameOfNode(ring, hint.nodeId), hint })),
        );
        if (settings.output === 'json') await write(json({ hints: rows.map(asJson), unreachable }));
        else await write(rows.length === 0 ? 'nothing is owed to any node\n' : table(columns, rows.map(cells)));
        if (unreachable.length > 0)
          throw new Problem(`cannot reach ${unreachable.join(', ')}`, 'what those keep is not shown');
      });
    });
}

/** Undefined while nothing is delivered. */
function rateOf({ delivering, delivered, deliveringMs }: HintStatus): number | undefined {
  return delivering && deliveringMs > 0n ? (Number(delivered) * 1000) / Number(deliveringMs) : undefined;
}

function secondsLeft(hint: HintStatus): number | undefined {
  const rate = rateOf(hint);
  return rate === undefined || rate === 0 ? undefined : Number(hint.hints) / rate;
}

function cells({ address, home, hint }: Row): string[] {
  const rate = rateOf(hint);
  const left = secondsLeft(hint);
  return [
    address,
    home,
    count(hint.hints),
    bytes(Number(hint.bytes)),
    hint.hints === 0n ? '-' : duration(Number(hint.oldestMs) / 1000),
    String(hint.markedPartitions),
    hint.delivering ? 'delivering' : 'waiting',
    rate === undefined ? '-' : count(Math.round(rate)),
    left === undefined ? '-' : duration(left),
  ];
}

function asJson({ address, home, hint }: Row): object {
  const left = secondsLeft(hint);
  return {
    keptBy: address,
    owedTo: home,
    owedToId: hint.nodeId,
    hints: hint.hints,
    bytes: hint.bytes,
    oldestSeconds: Number(hint.oldestMs) / 1000,
    markedPartitions: hint.markedPartitions,
    delivering: hint.delivering,
    ...(hint.delivering ? { delivered: hint.delivered, perSecond: rateOf(hint) ?? 0 } : {}),
    ...(left === undefined ? {} : { secondsLeft: left }),
  };
}
