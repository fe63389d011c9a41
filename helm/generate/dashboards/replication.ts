/** Coordination, hints, convergence and damage. */
import type { Dashboard } from '../grafana.ts';
import { gauge, of, quantile, quantiles, rate, rates } from '../queries.ts';

export const replication: Dashboard = {
  name: 'replication',
  title: 'Replication and repair',
  rows: [
    {
      title: 'Coordination',
      panels: [
        { title: 'Operations run', unit: 's', queries: quantiles('cartwheel_coordination_seconds', 'operation') },
        {
          title: 'Stages, p99.9',
          what: 'The own record, waiting for W or R replicas, making the answer of a get.',
          unit: 's',
          queries: [{ expr: quantile(0.999, 'cartwheel_coordination_stage_seconds', 'stage'), legend: '{{stage}}' }],
        },
        {
          title: 'Failures of replicas',
          unit: 'ops',
          queries: [{ expr: rate('cartwheel_replica_failures_total', 'what'), legend: '{{what}}' }],
        },
        {
          title: 'Sent on, hedged, done by fallbacks',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_forwarded_operations_total', 'release'), legend: 'sent on' },
            { expr: rate('cartwheel_hedged_reads_total', 'release'), legend: 'hedged reads' },
            { expr: rate('cartwheel_stand_ins_total', 'release'), legend: 'stand-ins' },
            { expr: rate('cartwheel_coordinated_by_fallback_total', 'release'), legend: 'coordinated by a fallback' },
          ],
        },
        {
          title: 'Siblings of a key',
          unit: 'short',
          queries: [0.5, 0.99].map((q) => ({ expr: quantile(q, 'cartwheel_siblings', ''), legend: `p${q * 100}` })),
        },
        {
          title: 'Entries of a clock',
          unit: 'short',
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, 'cartwheel_clock_entries', ''),
            legend: `p${q * 100}`,
          })),
        },
      ],
    },
    {
      title: 'Hints',
      panels: [
        { title: 'Records owed', unit: 'short', queries: gauge('cartwheel_hints') },
        { title: 'Of them to homes in reach', unit: 'short', queries: gauge('cartwheel_hints_deliverable') },
        {
          title: 'Hints added and delivered',
          unit: 'ops',
          queries: rates(['cartwheel_hints_added_total', 'added'], ['cartwheel_hints_delivered_total', 'delivered']),
        },
        {
          title: 'Not kept as hints',
          what: 'More is owed to one node than it may have hints: the partition is marked, and compared as a whole.',
          unit: 'ops',
          queries: rates(['cartwheel_hints_beyond_limit_total', 'beyond the limit']),
        },
        { title: 'Partitions marked', unit: 'short', queries: gauge('cartwheel_partitions_marked') },
        {
          title: 'Partitions without another home in reach',
          what: 'This node has the only copy that can be read now.',
          unit: 'short',
          limit: 1,
          queries: gauge('cartwheel_partitions_alone'),
        },
      ],
    },
    {
      title: 'Convergence',
      panels: [
        {
          title: 'Oldest difference known',
          unit: 's',
          limit: 900,
          queries: gauge('cartwheel_convergence_lag_seconds'),
        },
        { title: 'Partitions known to differ', unit: 'short', queries: gauge('cartwheel_exchange_pairs_differing') },
        { title: 'Comparison that waited longest', unit: 's', queries: gauge('cartwheel_exchange_age_seconds') },
        {
          title: 'Comparisons',
          unit: 'ops',
          queries: [{ expr: rate('cartwheel_exchanges_total', 'result'), legend: '{{result}}' }],
        },
        {
          title: 'Records mended',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_exchanged_records_total', 'direction'), legend: '{{direction}} by exchanges' },
            { expr: rate('cartwheel_read_repairs_total', 'release'), legend: 'after reads' },
            { expr: rate('cartwheel_handed_over_records_total', 'release'), legend: 'handed over' },
          ],
        },
        { title: 'Digests built', unit: 'percentunit', queries: gauge('cartwheel_digests_built') },
      ],
    },
    {
      title: 'Whether what is kept is whole',
      panels: [
        { title: 'Verification', unit: 'percentunit', queries: gauge('cartwheel_verification_progress') },
        {
          title: 'Not whole, or wrong',
          unit: 'short',
          limit: 1,
          queries: [
            { expr: `sum by (release) (cartwheel_corrupt_records_total{${of}})`, legend: 'records read' },
            { expr: `sum by (release) (cartwheel_digests_corrupt_total{${of}})`, legend: 'records in digests' },
            { expr: `sum by (release) (cartwheel_digests_wrong_total{${of}})`, legend: 'leaves of digests' },
          ],
        },
        {
          title: 'Made whole, or lost',
          what: 'From other replicas; lost are those of which no other node had anything.',
          unit: 'short',
          queries: [
            { expr: `sum by (release) (cartwheel_corrupt_records_repaired_total{${of}})`, legend: 'made whole' },
            { expr: `sum by (release) (cartwheel_corrupt_records_lost_total{${of}})`, legend: 'lost' },
          ],
        },
      ],
    },
  ],
};
