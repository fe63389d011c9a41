/** What clients get, and whether the objectives are met. */
import type { Dashboard, Panel, Query } from '../grafana.ts';
import { gauge, of, quantiles, rate } from '../queries.ts';

const slo = (name: string, legend: string): readonly Query[] => [{ expr: `${name}{${of}}`, legend }];

const burnWindows = ['5m', '1h', '6h', '3d'];
const burn = (objective: string): Panel => ({
  title: `Burn rate: ${objective}`,
  what: 'How many times faster than allowed the budget of 30 days is used. At 14.4 for an hour somebody is called.',
  unit: 'short',
  limit: 1,
  queries: burnWindows.map((window) => {
    return { expr: `cartwheel:slo_burn:rate${window}{slo="${objective}",${of}}`, legend: window };
  }),
});
const budget = (objective: string): Panel => ({
  title: `Budget left: ${objective}`,
  what: 'Of the last 30 days; below 0 the objective is missed.',
  unit: 'percentunit',
  stat: true,
  queries: [{ expr: `cartwheel:slo_budget_left:ratio30d{slo="${objective}",${of}}`, legend: '{{release}}' }],
});

export const overview: Dashboard = {
  name: 'overview',
  title: 'Overview and objectives',
  rows: [
    {
      title: 'Objectives: 99.99 % answered, 99.9 % of gets and puts in time',
      panels: [
        budget('availability'),
        budget('latency'),
        {
          title: 'Operations of clients',
          unit: 'ops',
          stat: true,
          queries: [{ expr: `cartwheel:slo_all:rate5m{slo="availability",${of}}`, legend: '{{release}}' }],
        },
        burn('availability'),
        burn('latency'),
        {
          title: 'Bad operations',
          what: 'Failed by the service’s fault (availability), or late or failed (latency).',
          unit: 'ops',
          queries: slo('cartwheel:slo_bad:rate5m', '{{slo}}'),
        },
      ],
    },
    {
      title: 'What clients get',
      panels: [
        {
          title: 'Gets',
          unit: 's',
          limit: 0.3,
          queries: quantiles('cartwheel_operation_seconds', '', ',operation="get"'),
        },
        {
          title: 'Puts',
          unit: 's',
          limit: 0.3,
          queries: quantiles('cartwheel_operation_seconds', '', ',operation="put"'),
        },
        { title: 'Waiting for room', unit: 's', queries: quantiles('cartwheel_operation_wait_seconds', '') },
        {
          title: 'Operations',
          unit: 'ops',
          queries: [{ expr: rate('cartwheel_operation_seconds_count', 'operation'), legend: '{{operation}}' }],
        },
        {
          title: 'Failures',
          unit: 'ops',
          queries: [
            {
              expr: rate('cartwheel_failed_operations_total', 'reason, fault'),
              legend: '{{reason}} ({{fault}}’s fault)',
            },
          ],
        },
        {
          title: 'Calls by code',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_rpc_seconds_count', 'service, method, code'), legend: '{{method}} {{code}}' },
          ],
        },
      ],
    },
    {
      title: 'Ring and gossip',
      panels: [
        { title: 'Ring: sequence', unit: 'short', queries: gauge('cartwheel_ring_sequence') },
        { title: 'Ring: nodes', unit: 'short', queries: gauge('cartwheel_ring_nodes') },
        { title: 'Issuing rings', unit: 'short', queries: gauge('cartwheel_claimant_active') },
        {
          title: 'Partitions owned',
          unit: 'short',
          queries: gauge('cartwheel_partitions_owned'),
        },
        {
          title: 'Partitions with a home out of reach',
          unit: 'short',
          limit: 1,
          queries: gauge('cartwheel_partitions_degraded'),
        },
        {
          title: 'Gossip',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_gossip_rounds_total', 'release'), legend: 'rounds' },
            { expr: rate('cartwheel_gossip_failures_total', 'release'), legend: 'failures' },
          ],
        },
      ],
    },
  ],
};
