/** What the dashboards show. `npm run chart:generate` writes them into the chart. */
import type { Dashboard, Panel, Query } from './grafana.ts';

/** The cluster that was chosen. */
const of = 'namespace=~"$namespace",release=~"$release"';
const each = '{{pod}} {{instance}}';

/** A second, summed over all but `by`. */
function rate(metric: string, by: string, more = ''): string {
  return `sum by (${by}) (rate(${metric}{${of}${more}}[$__rate_interval]))`;
}

function quantile(q: number, metric: string, by: string, more = ''): string {
  return `histogram_quantile(${q}, ${rate(`${metric}_bucket`, by === '' ? 'le' : `le, ${by}`, more)})`;
}

/** p50, p99 and p99.9. */
function quantiles(metric: string, by: string, more = ''): readonly Query[] {
  const label = by === '' ? '' : ` {{${by}}}`;
  return [0.5, 0.99, 0.999].map((q) => ({ expr: quantile(q, metric, by, more), legend: `p${q * 100}${label}` }));
}

function gauge(metric: string, more = ''): readonly Query[] {
  return [{ expr: `${metric}{${of}${more}}`, legend: each }];
}

function rates(...metrics: readonly (readonly [metric: string, legend: string])[]): readonly Query[] {
  return metrics.map(([metric, legend]) => ({ expr: rate(metric, 'pod, instance'), legend: `${legend} ${each}` }));
}

function ratio(over: string, under: string, by: string, more = ''): string {
  return `${rate(over, by, more)} / ${rate(under, by, more)}`;
}

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

const overview: Dashboard = {
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
      title: 'Routers and sessions',
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

const storage: Dashboard = {
  name: 'storage',
  title: 'Storage engine and streams',
  rows: [
    {
      title: 'Disk',
      panels: [
        {
          title: 'Disk left',
          unit: 'percentunit',
          queries: [{ expr: `cartwheel_disk_available_bytes{${of}} / cartwheel_disk_size_bytes{${of}}`, legend: each }],
        },
        { title: 'Database', unit: 'bytes', queries: gauge('cartwheel_engine_disk_bytes') },
        { title: 'Keys, estimated', unit: 'short', queries: gauge('cartwheel_engine_keys_estimated') },
      ],
    },
    {
      title: 'Writes',
      panels: [
        {
          title: 'Synced writes, p99',
          what: 'From the call of the engine until it is on disk.',
          unit: 's',
          limit: 0.1,
          queries: [
            { expr: quantile(0.99, 'cartwheel_engine_commit_seconds', 'pod, instance', ',sync="true"'), legend: each },
          ],
        },
        {
          title: 'Writes per batch',
          unit: 'short',
          queries: [
            {
              expr: ratio('cartwheel_engine_writes_total', 'cartwheel_engine_batches_total', 'pod, instance'),
              legend: each,
            },
          ],
        },
        {
          title: 'Records per commit',
          unit: 'short',
          queries: [
            {
              expr: ratio('cartwheel_commit_records_total', 'cartwheel_commit_batches_total', 'pod, instance'),
              legend: each,
            },
          ],
        },
        { title: 'Writes waiting', unit: 'short', queries: gauge('cartwheel_engine_writes_waiting') },
        { title: 'Records not on disk yet', unit: 'short', queries: gauge('cartwheel_unsynced_records') },
        { title: 'Age of the oldest of them', unit: 's', queries: gauge('cartwheel_unsynced_age_seconds') },
        { title: 'Bytes being changed', unit: 'bytes', queries: gauge('cartwheel_overlay_bytes') },
        {
          title: 'Slowed and stopped by compactions',
          unit: 'short',
          queries: [
            { expr: `cartwheel_engine_writes_stopped{${of}}`, legend: `stopped ${each}` },
            { expr: `cartwheel_engine_delayed_write_bytes_per_second{${of}} > bool 0`, legend: `slowed ${each}` },
          ],
        },
        { title: 'Bytes to compact', unit: 'bytes', queries: gauge('cartwheel_engine_compaction_pending_bytes') },
      ],
    },
    {
      title: 'Reads and memory',
      panels: [
        { title: 'Reads of the engine', unit: 's', queries: quantiles('cartwheel_engine_read_seconds', '') },
        {
          title: 'Records found in the cache',
          unit: 'percentunit',
          queries: [
            {
              expr: `${rate('cartwheel_record_reads_total', 'pod, instance', ',cache="hit"')} / ${rate('cartwheel_record_reads_total', 'pod, instance')}`,
              legend: each,
            },
          ],
        },
        {
          title: 'Files of levels',
          unit: 'short',
          queries: [{ expr: `sum by (level) (cartwheel_engine_level_files{${of}})`, legend: 'level {{level}}' }],
        },
        { title: 'Block cache', unit: 'bytes', queries: gauge('cartwheel_engine_block_cache_bytes') },
        { title: 'Record cache', unit: 'bytes', queries: gauge('cartwheel_record_cache_bytes') },
        { title: 'Memtables', unit: 'bytes', queries: gauge('cartwheel_engine_memtable_bytes') },
      ],
    },
    {
      title: 'Streams between replicas',
      panels: [
        { title: 'There and back', unit: 's', queries: quantiles('cartwheel_replication_seconds', 'what') },
        {
          title: 'Operations per frame',
          unit: 'short',
          queries: [
            {
              expr: ratio('cartwheel_replication_operations_total', 'cartwheel_replication_frames_total', 'direction'),
              legend: '{{direction}}',
            },
          ],
        },
        {
          title: 'Bytes',
          unit: 'Bps',
          queries: [{ expr: rate('cartwheel_replication_bytes_total', 'direction'), legend: '{{direction}}' }],
        },
        { title: 'Operations in flight', unit: 'short', queries: gauge('cartwheel_peer_operations_in_flight') },
        { title: 'Bytes waiting for a frame', unit: 'bytes', queries: gauge('cartwheel_peer_queue_bytes') },
        { title: 'Peers in reach', unit: 'short', queries: gauge('cartwheel_peers_reachable') },
      ],
    },
  ],
};

const replication: Dashboard = {
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

const known = (metric: string): string => {
  return `max by (task) (${metric}{${of}} >= 0 or 0 * cartwheel_background_tasks{${of}})`;
};

const changes: Dashboard = {
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

const runtime: Dashboard = {
  name: 'runtime',
  title: 'Processes and runtime',
  rows: [
    {
      title: 'Event loop',
      panels: [
        { title: 'Delay, p99', unit: 's', queries: gauge('nodejs_eventloop_lag_p99_seconds') },
        { title: 'Delay, longest', unit: 's', queries: gauge('nodejs_eventloop_lag_max_seconds') },
        {
          title: 'Processor',
          unit: 'short',
          queries: [{ expr: rate('process_cpu_seconds_total', 'pod, instance'), legend: each }],
        },
      ],
    },
    {
      title: 'Memory',
      panels: [
        { title: 'Resident', unit: 'bytes', queries: gauge('process_resident_memory_bytes') },
        { title: 'Heap used', unit: 'bytes', queries: gauge('nodejs_heap_size_used_bytes') },
        { title: 'Outside of the heap', unit: 'bytes', queries: gauge('nodejs_external_memory_bytes') },
        {
          title: 'Garbage collection, part of the time',
          unit: 'percentunit',
          queries: [{ expr: rate('nodejs_gc_duration_seconds_sum', 'kind'), legend: '{{kind}}' }],
        },
        { title: 'Open files', unit: 'short', queries: gauge('process_open_fds') },
        {
          title: 'Up since',
          unit: 's',
          queries: [{ expr: `time() - process_start_time_seconds{${of}}`, legend: each }],
        },
      ],
    },
  ],
};

export const dashboards: readonly Dashboard[] = [overview, storage, replication, changes, runtime];
