import { writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { Kubernetes } from '../../services/platform/kubernetes/api.ts';
import { withClient } from '../connection.ts';
import { note } from '../output.ts';
import { messageOf, Problem, problemText } from '../problem.ts';
import { settingsOf } from '../settings.ts';
import { durationMs, integerBetween } from '../values.ts';

const answerWithinMs = 15_000;

interface ZoneOptions {
  node: string;
  label: string;
  file: string;
}

interface DrainOptions {
  statefulSet: string;
  to: number;
  storageAddress: string;
  scaleAccount: string;
  stalledAfter: number;
  messageFile?: string;
}

export function addKubernetes(program: Command): void {
  const kubernetes = program
    .command('kubernetes')
    .description('what the chart runs in its own pods, with the rights of their service accounts');

  kubernetes
    .command('zone')
    .description("write the zone of a Kubernetes node to a file: its label, or the node's name where it has none")
    .requiredOption('--node <name>', 'the Kubernetes node')
    .requiredOption('--file <path>', 'where the zone goes')
    .option('--label <label>', 'that names the zone', 'topology.kubernetes.io/zone')
    .action(async ({ node, label, file }: ZoneOptions) => {
      const labels = await asked((api) => api.nodeLabels(node));
      await writeFile(file, `${labels[label] ?? node}\n`);
      note(`node ${node}: zone ${labels[label] ?? `${node}, for it has no label ${label}`}`);
    });

  kubernetes
    .command('drain')
    .description('have the nodes whose pods are to go leave the ring, where a StatefulSet is to have fewer')
    .requiredOption('--stateful-set <name>', 'of the storage nodes')
    .requiredOption('--to <pods>', 'as many stay', integerBetween(1, 100_000))
    .requiredOption('--storage-address <pattern>', 'addresses of its pods, with {} for the number of each')
    .requiredOption(
      '--scale-account <name>',
      'the ServiceAccount that notes how many pods are wanted, and how few there may be',
    )
    .addOption(
      new Option('--stalled-after <duration>', 'give up where it comes no further for so long')
        .argParser(durationMs)
        .default(1_800_000, '30m'),
    )
    .option('--message-file <path>', 'where it says too why it failed, such as /dev/termination-log')
    .action(async ({ statefulSet, to, messageFile, ...options }: DrainOptions, command: Command) => {
      const replicas = await asked((api) => api.statefulSetReplicas(statefulSet));
      if (replicas === undefined || replicas <= to) {
        return note(`${statefulSet} has ${replicas ?? 'no'} pods, and ${to} are wanted: nobody has to leave`);
      }
      // Loaded here and not above: it brings gRPC.
      const { drain } = await import('../kubernetes/drain.ts');
      const { storageAddress: pattern, scaleAccount, stalledAfter: stalledAfterMs } = options;
      try {
        await withClient(settingsOf(command), (client) =>
          asked((api) => drain(client, api, { to, pattern, scaleAccount, stalledAfterMs, answerWithinMs })),
        );
      } catch (error) {
        if (messageFile !== undefined) await writeFile(messageFile, problemText(error));
        throw error;
      }
    });
}

/** What Kubernetes refuses is a Problem. */
async function asked<T>(ask: (api: Kubernetes) => Promise<T>): Promise<T> {
  const { connectKubernetes, KubernetesRefused } = await import('../../services/platform/kubernetes/api.ts');
  try {
    return await ask(await connectKubernetes());
  } catch (error) {
    if (!(error instanceof KubernetesRefused)) throw error;
    throw new Problem(messageOf(error), error.code === 403 ? "the pod's service account lacks this right" : undefined);
  }
}
