import type { Command } from 'commander';
import type { RepairStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { nameOfNode } from '../../services/core/ring/ring.ts';
import { withClient } from '../connection.ts';
import { everyNode } from '../every-node.ts';
import { count, duration, json, plural, table, write } from '../output.ts';
import { Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';

const columns = [
  { title: 'NODE' },
  { title: 'DIGESTS' },
  { title: 'PAIRS', align: 'right' },
  { title: 'COMPARED', align: 'right' },
  { title: 'LONGEST AGO', align: 'right' },
  { title: 'DIFFERING', align: 'right' },
  { title: 'LAG', align: 'right' },
  { title: 'TO LET GO', align: 'right' },
  { title: 'OLDEST', align: 'right' },
  { title: 'WAITS FOR' },
] as const;

const lagColumns = [
  { title: 'PARTITION', align: 'right' },
  { title: 'LAG', align: 'right' },
  { title: 'KNOWN TO' },
  { title: 'DIFFERS FROM' },
  { title: 'WAITS FOR' },
] as const;

/** What a person looks at. */
const lagsShown = 20;

interface Row {
  readonly address: string;
  readonly repair: RepairStatus;
  /** Of what `repair` says lags: addresses of the other homes, in the same order. */
  readonly others: readonly string[];
}

export function addRepair(program: Command): void {
  const repair = program
    .command('repair')
    .description('how replicas are kept equal (anti-entropy), and what is let go');
  repair
    .command('status')
    .description('show how far each node has compared its replicas with the others, and what waits to be let go')
    .addHelpText(
      'after',
      `
A pair is a partition of the node and another home of it; each is compared about once in --exchange-every of the storage
node, and at once when a node is back. LAG is the age of the oldest difference that is known. While the DIGESTS of a node
are built, after a crash, it compares nothing.

Where partitions are known to differ they are listed, those that have been so for longest first, each with the node that
knows it, the home that it differs from, and what mending it waits for. What homes are owed by hints is not among them:
\`cartwheel hints\` shows it. At most ${lagsShown} are shown; in JSON the 64 oldest of each node are.

TO LET GO are records of which something may go once nothing is left anywhere that it keeps away: tombstones, what has
expired, and entries of long clocks. A node looks for them about once in its --collect-after, and lets go what it has found
twice. OLDEST is since the first of them was found, and WAITS FOR what stood against it when that was tried last: nodes that
are away, a ring that changes, records that are kept for others.

Asks every storage node of the ring. Exits with 1 when one cannot be asked.

Examples:
  cartwheel repair status
  cartwheel repair status -o json | jq '.nodes[] | select(.differing > 0)'
  cartwheel repair status -o json | jq '[.nodes[].lagging[]] | max_by(.lagMs)'
  cartwheel repair status -o json | jq -r '.nodes[] | select(.collectionWaitsFor != "") | .collectionWaitsFor'`,
    )
    .action(async (_: object, command: Command) => {
      const settings = settingsOf(command);
      await withClient(settings, async (client) => {
        const { answers, unreachable } = await everyNode(client, (address) => client.status(address));
        const ring = await client.ring();
        const rows = answers.flatMap(({ address, answer: { repair } }): Row[] =>
          repair === undefined
            ? []
            : [{ address, repair, others: repair.lagging.map(({ nodeId }) => nameOfNode(ring, nodeId)) }],
        );
        if (settings.output === 'json') await write(json({ nodes: rows.map(asJson), unreachable }));
        else await write(table(columns, rows.map(cells)) + lagText(rows));
        if (unreachable.length > 0)
          throw new Problem(`cannot reach ${unreachable.join(', ')}`, 'what those say is not shown');
      });
    });
}

function asJson({ address, repair, others }: Row): object {
  const lagging = repair.lagging.map((lag, i) => ({ ...lag, differsFrom: others[i] }));
  return { address, ...repair, lagging };
}

/** The oldest first, over all nodes; empty where none lags. */
function lagText(rows: readonly Row[]): string {
  const lags = rows.flatMap(({ address, repair, others }) =>
    repair.lagging.map((lag, i) => ({ ...lag, address, other: others[i] ?? lag.nodeId })),
  );
  if (lags.length === 0) return '';
  lags.sort((a, b) => Number(b.lagMs - a.lagMs));
  const shown = lags.slice(0, lagsShown).map(({ partition, lagMs, address, other, waitsFor }) => {
    const why = waitsFor || 'nothing: it is being mended';
    return [String(partition), duration(Number(lagMs) / 1_000), address, other, why];
  });
  const more = rows.reduce((sum, { repair }) => sum + repair.differing, 0) - shown.length;
  return `\n${table(lagColumns, shown)}${more > 0 ? `and ${plural(more, 'more', 'more')}, of less lag\n` : ''}`;
}

function cells({ address, repair: status }: Row): string[] {
  const { digestsBuilt, pairs, compared, oldestMs, differing, lagMs, collectable, collectableOldestMs } = status;
  return [
    address,
    digestsBuilt === 1 ? 'complete' : `${Math.floor(digestsBuilt * 100)}% built`,
    count(pairs),
    count(compared),
    oldestMs === undefined ? '-' : duration(Number(oldestMs) / 1_000),
    count(differing),
    differing === 0 ? '-' : duration(Number(lagMs) / 1_000),
    count(collectable),
    collectableOldestMs === undefined ? '-' : duration(Number(collectableOldestMs) / 1_000),
    status.collectionWaitsFor || '-',
  ];
}
