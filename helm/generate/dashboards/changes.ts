/** Changes of the ring, and the work behind clients’ backs. */
import type { Dashboard } from '../grafana.ts';
import { gauge, of, rate, rates } from '../queries.ts';

const known = (metric: string): string => {
  return `max by (task) (${metric}{${of}} >= 0 or 0 * cartwheel_background_tasks{${of}})`;
};

export const changes: Dashboard = {
  name: 'changes',
  title: 'Ring changes and background work',
  rows: [
    {
      title: 'Ring changes',
      panels: [
        {
          title: 'Partitions left of the change',
          what: 'Not yet as the goal wants them, as the claimant says. 0: no change is under way.',
          unit: 'short',
          queries: gauge('cartwheel_ring_change_partitions_left'),
        },
        {
          title: 'Rings behind the newest',
          what: 'Of the process that is furthest behind. A change makes many rings; it falls to 0 within seconds after each.',
          unit: 'short',
          queries: [
            {
              expr: `max by (release) (cartwheel_ring_sequence{${of}}) - min by (release) (cartwheel_ring_sequence{${of}} > 0)`,
              legend: '{{release}}',
            },
          ],
        },
        {
          title: 'Claimants',
          what: 'One: without it no ring can change, with two of them an alert is due.',
          unit: 'short',
          queries: [{ expr: `sum by (release) (cartwheel_claimant_active{${of}})`, legend: '{{release}}' }],
        },
        {
          title: 'New rings',
          unit: 'ops',
          queries: [
            {
              expr: `max by (release) (rate(cartwheel_ring_sequence{${of}}[$__rate_interval]))`,
              legend: '{{release}}',
            },
          ],
        },
        { title: 'Partitions owned', unit: 'short', queries: gauge('cartwheel_partitions_owned') },
        {
          title: 'Rings refused',
          what: 'Older ones are ignored; one of the version known with other content is an alarm.',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_gossip_rings_older_total', 'release'), legend: 'older' },
            { expr: rate('cartwheel_gossip_ring_conflicts_total', 'release'), legend: 'other content' },
          ],
        },
      ],
    },
    {
      title: 'Transfers',
      panels: [
        { title: 'Partitions to be pulled', unit: 'short', queries: gauge('cartwheel_transfer_partitions_waiting') },
        {
          title: 'Records pulled from former owners',
          unit: 'ops',
          queries: rates(['cartwheel_transfer_records_total', 'pulled']),
        },
        {
          title: 'Bytes pulled from former owners',
          unit: 'Bps',
          queries: rates(['cartwheel_transfer_bytes_total', 'pulled']),
        },
        {
          title: 'Partitions of others left here',
          what: 'Given up, and not yet emptied: after an exchange with whoever has them now.',
          unit: 'short',
          queries: gauge('cartwheel_leftover_partitions'),
        },
        {
          title: 'Records given back',
          unit: 'ops',
          queries: rates(['cartwheel_handed_back_records_total', 'dropped']),
        },
        {
          title: 'Time left, by kind of task',
          what: 'By their pace, of the last one to end; 0 where none is under way, or none knows.',
          unit: 's',
          queries: [{ expr: known('cartwheel_background_eta_seconds'), legend: '{{task}}' }],
        },
      ],
    },
    {
      title: 'Governor of the background',
      panels: [
        {
          title: 'Share of the ceiling',
          what: 'Halved while clients are slow or the disk stands still; never below a floor.',
          unit: 'percentunit',
          queries: gauge('cartwheel_background_share'),
        },
        {
          title: 'Operations',
          unit: 'ops',
          queries: [{ expr: rate('cartwheel_background_operations_total', 'task'), legend: '{{task}}' }],
        },
        {
          title: 'Bytes',
          unit: 'Bps',
          queries: [{ expr: rate('cartwheel_background_bytes_total', 'task'), legend: '{{task}}' }],
        },
        {
          title: 'Tasks under way',
          unit: 'short',
          queries: [{ expr: `sum by (task) (cartwheel_background_tasks{${of}})`, legend: '{{task}}' }],
        },
        {
          title: 'Waiting, part of the time',
          what: 'Of all tasks together: more than 1 where several wait at once.',
          unit: 'percentunit',
          queries: [
            { expr: rate('cartwheel_background_waited_seconds_total', 'task, reason'), legend: '{{task}}: {{reason}}' },
          ],
        },
        {
          title: 'How far, by kind of task',
          what: 'The one that has come least far; 0 where none is under way, or none knows.',
          unit: 'percentunit',
          queries: [{ expr: known('cartwheel_background_progress'), legend: '{{task}}' }],
        },
      ],
    },
  ],
};
