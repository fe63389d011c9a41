/** Which node is not like the others. */
import type { Dashboard } from '../grafana.ts';
import { each, gauge, of, quantile, rate, rates } from '../queries.ts';

/** `cartwheel_process_info` says which processes these are. */
const ofNodes = (expr: string): string =>
  `${expr} and on (pod, instance) cartwheel_process_info{${of},service="storage-node"}`;

export const nodes: Dashboard = {
  name: 'nodes',
  title: 'Storage nodes beside each other',
  rows: [
    {
      title: 'What each does',
      panels: [
        {
          title: 'Operations coordinated',
          unit: 'ops',
          queries: rates(['cartwheel_coordination_seconds_count', 'run']),
        },
        {
          title: 'Operations coordinated, p99.9',
          what: 'One line above the others: that node, or its disk, is slow.',
          unit: 's',
          limit: 0.3,
          queries: [{ expr: quantile(0.999, 'cartwheel_coordination_seconds', 'pod, instance'), legend: each }],
        },
        {
          title: 'Operations that failed',
          unit: 'ops',
          queries: rates(['cartwheel_coordination_failures_total', 'failed']),
        },
        { title: 'Partitions owned', unit: 'short', queries: gauge('cartwheel_partitions_owned') },
        { title: 'Keys, estimated', unit: 'short', queries: gauge('cartwheel_engine_keys_estimated') },
        {
          title: 'Partitions with a home out of reach',
          unit: 'short',
          limit: 1,
          queries: gauge('cartwheel_partitions_degraded'),
        },
      ],
    },
    {
      title: 'What each has left',
      panels: [
        {
          title: 'Synced writes, p99',
          unit: 's',
          limit: 0.1,
          queries: [
            { expr: quantile(0.99, 'cartwheel_engine_commit_seconds', 'pod, instance', ',sync="true"'), legend: each },
          ],
        },
        {
          title: 'Disk left',
          unit: 'percentunit',
          queries: [{ expr: `cartwheel_disk_available_bytes{${of}} / cartwheel_disk_size_bytes{${of}}`, legend: each }],
        },
        {
          title: 'Processor',
          unit: 'short',
          queries: [{ expr: ofNodes(rate('process_cpu_seconds_total', 'pod, instance')), legend: each }],
        },
        {
          title: 'Event loop, p99',
          unit: 's',
          queries: [{ expr: ofNodes(`nodejs_eventloop_lag_p99_seconds{${of}}`), legend: each }],
        },
        {
          title: 'Operations under way',
          unit: 'bytes',
          queries: [{ expr: ofNodes(`cartwheel_operations_running_bytes{${of}}`), legend: each }],
        },
        { title: 'Share left to the background', unit: 'percentunit', queries: gauge('cartwheel_background_share') },
      ],
    },
    {
      title: 'What each owes and lacks',
      panels: [
        { title: 'Records owed', unit: 'short', queries: gauge('cartwheel_hints') },
        { title: 'Partitions to be pulled', unit: 'short', queries: gauge('cartwheel_transfer_partitions_waiting') },
        {
          title: 'Oldest difference known',
          unit: 's',
          limit: 900,
          queries: gauge('cartwheel_convergence_lag_seconds'),
        },
      ],
    },
  ],
};
