/** The disk, the engine, and the streams between replicas. */
import type { Dashboard } from '../grafana.ts';
import { each, gauge, of, quantile, quantiles, rate, ratio } from '../queries.ts';

export const storage: Dashboard = {
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
