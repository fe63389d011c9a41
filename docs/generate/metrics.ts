/**
 * docs/metrics.md, from what real processes say of themselves: a small cluster is started, used and asked.
 *
 * I1 It is the same each time: no values are in it, and every metric has its series from the start, or from the first
 *    call of the kinds made here; but for those that come and go, whose labels are said here.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { type Cluster, type ClusterProcess, startCluster } from '../../test/e2e/cluster.ts';
import { settled, withClient } from '../../test/e2e/support.ts';

export interface DescribedMetric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** The kinds of process that have it. */
  readonly processes: readonly string[];
}

/** Of gauges that have no series where all is well. */
const labelsOfVarying = new Map([['cartwheel_partition_lag_seconds', ['partition']]]);

type Described = Omit<DescribedMetric, 'processes'>;

export async function describeMetrics(): Promise<readonly DescribedMetric[]> {
  const traces = ['--trace-endpoint', 'http://127.0.0.1:9', '--trace-ratio', '0'];
  const cluster = await startCluster({ nodes: 1, flags: { router: traces, node: traces } });
  try {
    await settled(cluster);
    await use(cluster);
    const { router, membership, nodes } = cluster;
    const kinds: readonly (readonly [string, ClusterProcess])[] = [
      ['router', router],
      ['storage-node', nodes[0] as ClusterProcess],
      ['membership', membership],
    ];
    const found = new Map<string, DescribedMetric>();
    for (const [kind, { admin }] of kinds) {
      for (const metric of familiesOf(await (await fetch(`http://${admin}/metrics`)).text())) {
        const processes = [...(found.get(metric.name)?.processes ?? []), kind];
        found.set(metric.name, { ...metric, processes });
      }
    }
    return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  } finally {
    await cluster.stop();
  }
}

/** Calls of every kind are counted from the first one on. */
async function use({ router, nodes }: Cluster): Promise<void> {
  for (const { address } of [router, ...nodes]) {
    await withClient({ endpoints: [address] }, async (client) => {
      await client.put('key', 'value');
      await client.get('key');
    });
  }
}

function familiesOf(text: string): Described[] {
  const ofNode = nodeLabels();
  const families: Described[] = [];
  for (const block of text.split(/^# HELP /m).slice(1)) {
    const [, name = '', help = '', type = ''] = /^(\S+) (.*)\n# TYPE \S+ (\S+)/.exec(block) ?? [];
    const [, labels = ''] = /^\w+\{(.*)\} /m.exec(block) ?? [];
    const names = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label).filter((label) => label !== 'le');
    families.push({
      name,
      help: help.replace(/\.$/, ''),
      type,
      labels: labelsOfVarying.get(name) ?? ofNode.get(name) ?? names,
    });
  }
  return families;
}

/** Some of Node's own have no series until something has happened. */
function nodeLabels(): Map<string, readonly string[]> {
  const register = new Registry();
  collectDefaultMetrics({ register });
  const metrics = register.getMetricsAsArray() as unknown as { name: string; labelNames: string[] }[];
  return new Map(metrics.map(({ name, labelNames }) => [name, [...labelNames]]));
}

export function metricsPage(metrics: readonly DescribedMetric[]): string {
  const isOurs = ({ name }: DescribedMetric) => name.startsWith('cartwheel_');
  return `<!-- Written by \`npm run docs:metrics\`. -->
# Metrics

What each process shows at \`/metrics\` of its HTTP port, in Prometheus' text format. Histograms of times have buckets from
0.03 ms to 65.5 s in steps of at most 1.25 between 1 and 512 ms, and one bound at 300 ms; those of sizes have the powers
of two. No label has more values than the methods, codes or reasons that there are; a metric has at most 1,000 series, and
what would be more is counted in one whose labels are all \`other\`. \`cartwheel_partition_lag_seconds\` alone has series that
come and go: at most ten of each node, and none where all is well.

An operation of a client is counted once in a cluster: \`cartwheel_operation_seconds\` or
\`cartwheel_failed_operations_total\` of the process that its client sent it to. What storage nodes run, whoever sent it,
is \`cartwheel_coordination_seconds\`. What is made of all this: [slo.md](slo.md).

## Cartwheel

${table(metrics.filter(isOurs))}

## Node.js and the process

From [prom-client](https://github.com/siimon/prom-client); those of the process as Linux has them.

${table(metrics.filter((metric) => !isOurs(metric)))}
`;
}

function table(metrics: readonly DescribedMetric[]): string {
  const rows = metrics.map(({ name, type, labels, processes, help }) => {
    const labelText = labels.map((label) => `\`${label}\``).join(', ');
    const where = processes.length === 3 ? 'all' : processes.join(', ');
    return `| \`${name}\` | ${type} | ${labelText} | ${unitOf(name)} | ${where} | ${help.replaceAll('|', '\\|')} |`;
  });
  return ['| name | type | labels | unit | process | what |', '|---|---|---|---|---|---|', ...rows].join('\n');
}

function unitOf(name: string): string {
  if (/_bytes_per_second$/.test(name)) return 'bytes/s';
  return /_(seconds|bytes)(_total)?$/.exec(name)?.[1] ?? '';
}
