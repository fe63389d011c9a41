/** Where clients come in: routers, and storage nodes that clients go straight to. */
import type { Dashboard } from '../grafana.ts';
import { each, gauge, of, quantile, rate, rates, ratio } from '../queries.ts';

export const routers: Dashboard = {
  name: 'routers',
  title: 'Routers and sessions',
  rows: [
    {
      title: 'Where clients come in',
      panels: [
        {
          title: 'Operations, p99.9',
          what: 'Of the process that the client is connected to: a router, or a storage node where clients go there.',
          unit: 's',
          limit: 0.3,
          queries: [{ expr: quantile(0.999, 'cartwheel_operation_seconds', 'pod, instance'), legend: each }],
        },
        { title: 'Operations', unit: 'ops', queries: rates(['cartwheel_operation_seconds_count', 'all']) },
        {
          title: 'Waiting for room, p99.9',
          unit: 's',
          queries: [{ expr: quantile(0.999, 'cartwheel_operation_wait_seconds', 'pod, instance'), legend: each }],
        },
      ],
    },
    {
      title: 'Keys that are asked for often',
      panels: [
        {
          title: 'Share of the hottest keys',
          what: 'Of the operations of the last half minute, by rank. `cartwheel hot` names them.',
          unit: 'percentunit',
          queries: [{ expr: `max by (rank) (cartwheel_hot_key_share{${of}})`, legend: '{{rank}}' }],
        },
        { title: 'Waiting for others of their key', unit: 'short', queries: gauge('cartwheel_waiting_for_key') },
        {
          title: 'Answered with others, and refused',
          what: 'Reads that waited and shared the answer of one; operations refused because too many waited.',
          unit: 'ops',
          queries: [
            { expr: rate('cartwheel_shared_reads_total', 'release'), legend: 'shared reads' },
            { expr: rate('cartwheel_hot_key_refusals_total', 'release'), legend: 'refused' },
          ],
        },
      ],
    },
    {
      title: 'Sessions',
      panels: [
        { title: 'Sessions', unit: 'short', queries: gauge('cartwheel_sessions') },
        { title: 'Operations in flight', unit: 'short', queries: gauge('cartwheel_session_operations_in_flight') },
        {
          title: 'Operations per message',
          what: 'How well messages of sessions fill.',
          unit: 'short',
          queries: [
            {
              expr: ratio('cartwheel_session_operations_total', 'cartwheel_session_frames_total', 'direction'),
              legend: '{{direction}}',
            },
          ],
        },
        { title: 'Bytes of operations running', unit: 'bytes', queries: gauge('cartwheel_operations_running_bytes') },
        { title: 'Bytes of answers unread', unit: 'bytes', queries: gauge('cartwheel_session_unread_bytes') },
        { title: 'Connections', unit: 'short', queries: gauge('cartwheel_grpc_connections') },
      ],
    },
  ],
};
