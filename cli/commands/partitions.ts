import type { Command } from 'commander';
import type { DoubledNode, PlanDoublingResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { bytes, count, json, plural, table, write } from '../output.ts';
import { usageProblem } from '../problem.ts';
import { changeWatched, withClaimant } from '../ring-change.ts';

const about = `
The keys of a cluster are in Q partitions, which its nodes share. Q is chosen when the first ring is formed, and can only be
doubled. Loads are even within one replica of a partition: with a hundred of them at each node, within a hundredth. More
than that only cost: a change of the ring takes more steps, and exchanges have more to compare.

Nothing moves, and nobody waits: partition p becomes 2p and 2p+1, with the owners that it had. Every node, router and client
goes over to the new ring when it hears of it. It cannot be undone, and is refused while another change of the ring is under
way. It is done by the claimant, one of the membership processes: name it with --endpoint. In a cluster of \`cartwheel dev\`
it is found beside the router.

Examples:
  cartwheel partitions double --plan
  cartwheel partitions double --commit 8c4f0a9d2b6e1357      as planned, if the ring is still the same
  cartwheel partitions double --commit                       whatever the ring is now`;

const columns = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'OWNS', align: 'right' },
  { title: 'AFTERWARDS', align: 'right' },
  { title: 'COMPARES', align: 'right' },
  { title: 'AFTERWARDS', align: 'right' },
] as const;

/** Measured with 12 nodes (docs/ring-changes.md). */
const plannedInTimeMax = 16_384;

export function addPartitions(program: Command): void {
  const partitions = program
    .command('partitions')
    .description('double the number of partitions while the cluster serves')
    .addHelpText('after', about);

  partitions
    .command('double')
    .description('make two of each partition; no data moves')
    .option('--plan', 'show what it would change; nothing is begun')
    .option('--commit [plan]', 'do it, and return when it is done; with the id of a plan exactly as that showed it')
    .addHelpText('after', about)
    .action(async (options: { plan?: true; commit?: string | true }, command: Command) => {
      const { plan: isPlan = false, commit } = options;
      if (isPlan === (commit !== undefined)) {
        const problem = isPlan ? 'both --plan and --commit' : 'neither --plan nor --commit';
        throw usageProblem(problem, '--plan shows what doubling would change, --commit does it');
      }
      await withClaimant(command, async (client, { output }) => {
        const plan = typeof commit === 'string' ? undefined : await client.changes.planDoubling();
        if (isPlan && plan !== undefined) return write(output === 'json' ? json(plan) : planText(plan));
        const planId = plan?.planId ?? String(commit);
        await client.changes.commit(planId);
        await changeWatched(client, planId);
        const { partitions: now, ring } = await client.changes.status();
        if (output === 'json') return write(json({ planId, partitions: now, ring, done: true }));
        return write(`done: ${plural(now, 'partition')}, ring ${ring?.term}.${ring?.sequence}\n`);
      });
    });
}

function planText(plan: PlanDoublingResponse): string {
  const partitionBytes = Number(plan.partitionBytes);
  return [
    `plan        ${plan.planId}`,
    `ring        ${plan.ring?.term}.${plan.ring?.sequence}`,
    `partitions  ${count(plan.partitionsBefore)} now, ${count(plan.partitionsAfter)} afterwards, ${count(plan.partitionsMax)} at most`,
    `replicas    of about ${bytes(partitionBytes)} now, ${bytes(partitionBytes / 2)} afterwards`,
    `moves       ${bytes(Number(plan.bytesMoved))}: each partition becomes two, with the owners that it has`,
    `trees       ${bytes(Number(plan.digestTreeBytes))} of memory at each node, now and afterwards: one tree for all its partitions`,
    `ring's size ${bytes(plan.ringBytesBefore)} now, ${bytes(plan.ringBytesAfter)} afterwards, as it is sent and kept`,
    ...(plan.partitionsAfter > plannedInTimeMax
      ? [
          `BEWARE      with more than ${count(plannedInTimeMax)} partitions \`cartwheel ring plan\` may take longer than it waits`,
        ]
      : []),
    '',
    table(columns, plan.nodes.map(nodeCells)),
    `carry it out: cartwheel partitions double --commit ${plan.planId}`,
    '',
  ].join('\n');
}

/** What a node compares: a partition of it, with another home. */
function nodeCells(node: DoubledNode): string[] {
  const { id, address, partitionsBefore, partitionsAfter, pairsBefore, pairsAfter } = node;
  return [id, address, ...[partitionsBefore, partitionsAfter, pairsBefore, pairsAfter].map(count)];
}
