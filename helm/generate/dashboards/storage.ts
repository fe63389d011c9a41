/** The disk, the engine, and the streams between replicas. */
import { BytesIEC, BytesPerSecondIEC, PercentUnit, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, graph, heatMap, latency, perNode, rateByLabel } from '../panels.ts';
import { named, quantileBy, rateOfEach, ratioBy, ratioOfEach, series } from '../queries.ts';
import { diskLeft, keys, ofEachNode, syncedWrites } from './shared.ts';

const ofNodes = (expr: string) => named(expr, 'service="storage-node"');

export const storage: DashboardPlan = {
  name: 'storage',
  what: 'When a disk is slow or fills: the volume, RocksDB, its caches, and the streams that carry writes to other replicas.',
  rows: [
    {
      title: 'Disk',
      panels: [
        ofEachNode(diskLeft),
        perNode(
          {
            title: 'Database',
            what: 'Bytes of table files and memtables.',
            bad: 'one node grows alone: it keeps hints of a home that is away, or something else fills its volume.',
            unit: BytesIEC,
            runbook: 'CartwheelDiskFills',
            see: 'convergence',
          },
          series('cartwheel_engine_disk_bytes'),
        ),
        ofEachNode(keys),
      ],
    },
    {
      title: 'Writes',
      panels: [
        ofEachNode(syncedWrites),
        heatMap(
          {
            title: 'Synced writes',
            what: 'How many take how long.',
            bad: 'a second hump far above the first: a disk that stands still now and then.',
            runbook: 'CartwheelDiskSlow',
          },
          'cartwheel_engine_commit_seconds',
          'sync="true"',
        ),
        graph(
          {
            title: 'Slowed and stopped by compactions',
            what: '1 while RocksDB slows writes, or takes none.',
            bad: 'writes come faster than compactions follow: less load, or a better disk.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelDiskSlow',
          },
          [
            { expr: ofNodes(series('cartwheel_engine_writes_stopped')), legend: 'stopped: {{node}}' },
            {
              expr: ofNodes(`(${series('cartwheel_engine_delayed_write_bytes_per_second')} > bool 0)`),
              legend: 'slowed: {{node}}',
            },
          ],
        ),
        perNode(
          {
            title: 'Writes per batch',
            what: 'Of RocksDB (group commit): they share one sync.',
            bad: 'it rises with the load, as it should; at 1 under load every write pays for its own sync.',
            unit: Short,
          },
          ratioOfEach('cartwheel_engine_writes_total', 'cartwheel_engine_batches_total'),
        ),
        perNode(
          {
            title: 'Records per commit',
            what: 'In the batches that the node hands to the engine.',
            unit: Short,
          },
          ratioOfEach('cartwheel_commit_records_total', 'cartwheel_commit_batches_total'),
        ),
        perNode(
          {
            title: 'Writes waiting',
            what: 'Not yet in RocksDB.',
            bad: 'it grows: the disk does not follow.',
            unit: Short,
            runbook: 'CartwheelDiskSlow',
          },
          series('cartwheel_engine_writes_waiting'),
        ),
        perNode(
          {
            title: 'Records not on disk yet',
            what: 'Acknowledged from memory (`BUFFERED`): what a crash of this node alone would lose of them.',
            bad: 'at `--buffer-records` such writes wait for the disk like all others.',
            unit: Short,
            runbook: 'CartwheelDiskSlow',
          },
          series('cartwheel_unsynced_records'),
        ),
        perNode(
          {
            title: 'Age of the oldest of them',
            what: 'How long it has waited for the disk.',
            bad: 'seconds: the disk does not sync.',
            unit: Seconds,
            runbook: 'CartwheelDiskSlow',
          },
          series('cartwheel_unsynced_age_seconds'),
        ),
        perNode(
          {
            title: 'Bytes being changed',
            what: 'Of records with a write under way.',
            bad: 'it grows with writes waiting.',
            unit: BytesIEC,
          },
          series('cartwheel_overlay_bytes'),
        ),
        perNode(
          {
            title: 'Bytes to compact',
            what: 'That compactions have to rewrite, estimated. It takes room twice meanwhile.',
            bad: 'it grows for hours: the disk is too slow for these writes, and RocksDB will slow them.',
            unit: BytesIEC,
            runbook: 'CartwheelDiskSlow',
          },
          series('cartwheel_engine_compaction_pending_bytes'),
        ),
        perNode(
          {
            title: 'Compactions under way',
            what: 'They share the disk with reads and syncs.',
            unit: Short,
          },
          series('cartwheel_engine_compactions_running'),
        ),
        graph(
          {
            title: 'Errors of the engine',
            what: 'Of flushes and compactions; 1 where a write has failed and nothing is written any more.',
            bad: 'any: the node ends itself, and its log names the error. Its disk is full or fails.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelDiskSlow',
          },
          [
            { expr: ofNodes(series('cartwheel_engine_failed')), legend: 'failed: {{node}}' },
            { expr: ofNodes(series('cartwheel_engine_background_errors')), legend: 'in the background: {{node}}' },
          ],
        ),
      ],
    },
    {
      title: 'Reads and memory',
      panels: [
        latency(
          {
            title: 'Reads of the engine',
            what: 'One getMany, of records that are not in the cache.',
            bad: 'p99 above some milliseconds: the disk is read, because the block cache is too small for what is asked.',
            runbook: 'CartwheelLatency',
          },
          'cartwheel_engine_read_seconds',
        ),
        perNode(
          {
            title: 'Records found in the cache',
            what: 'Of those that were read and not being changed.',
            bad: 'it falls and latency rises: `--cache-mib` is too small for the keys that are asked for.',
            unit: PercentUnit,
          },
          `${rateOfEach('cartwheel_record_reads_total', 'cache="hit"')} / ${rateOfEach('cartwheel_record_reads_total')}`,
        ),
        graph(
          {
            title: 'Table files of each level',
            what: 'Of all nodes.',
            bad: 'many in level 0: compactions do not follow, and each read looks into all of them.',
            unit: Short,
            runbook: 'CartwheelDiskSlow',
          },
          [{ expr: `sum by (level) (${series('cartwheel_engine_level_files')})`, legend: 'level {{level}}' }],
        ),
        perNode(
          { title: 'Block cache', what: 'Bytes of blocks of RocksDB.', unit: BytesIEC },
          series('cartwheel_engine_block_cache_bytes'),
        ),
        perNode(
          { title: 'Record cache', what: 'Bytes of records, up to `--cache-mib`.', unit: BytesIEC },
          series('cartwheel_record_cache_bytes'),
        ),
        perNode(
          {
            title: 'Memtables',
            what: 'Those being flushed among them.',
            bad: 'they grow: flushes do not follow, the disk is slow.',
            unit: BytesIEC,
            runbook: 'CartwheelDiskSlow',
          },
          series('cartwheel_engine_memtable_bytes'),
        ),
      ],
    },
    {
      title: 'Streams between replicas',
      panels: [
        graph(
          {
            title: 'There and back, p99.9',
            what: 'Operations on other replicas, from here and back, by what they are.',
            bad: 'far above the synced writes of all nodes: the network, or an event loop.',
            unit: Seconds,
            runbook: 'CartwheelLatency',
            see: 'runtime',
          },
          [{ expr: quantileBy('what', 0.999, 'cartwheel_replication_seconds'), legend: '{{what}}' }],
        ),
        graph(
          {
            title: 'Operations per frame',
            what: 'How well frames fill: more of them in one cost less each.',
            unit: Short,
          },
          [
            {
              expr: ratioBy(
                'direction',
                'cartwheel_replication_operations_total',
                'cartwheel_replication_frames_total',
              ),
              legend: '{{direction}}',
            },
          ],
        ),
        rateByLabel(
          {
            title: 'Bytes between replicas',
            what: 'Of keys and records, to others (out) and in their answers (in).',
            unit: BytesPerSecondIEC,
          },
          'cartwheel_replication_bytes_total',
          'direction',
        ),
        perNode(
          {
            title: 'Replica operations in flight',
            what: 'Without an answer.',
            bad: 'one node above the others: its peers answer it late.',
            unit: Short,
            runbook: 'CartwheelLatency',
          },
          series('cartwheel_peer_operations_in_flight'),
        ),
        perNode(
          {
            title: 'Bytes waiting for a frame',
            what: 'Of operations for another replica.',
            bad: 'it grows: that replica, or the network, takes less than is sent.',
            unit: BytesIEC,
            runbook: 'CartwheelLatency',
          },
          series('cartwheel_peer_queue_bytes'),
        ),
        perNode(
          {
            title: 'Peers out of reach',
            what: 'Other storage nodes of the ring whose stream is not up.',
            bad: 'one node misses many: it is cut off. All miss one: that one is away.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelRedundancyLost',
          },
          `(${series('cartwheel_peers')} - ${series('cartwheel_peers_reachable')})`,
        ),
      ],
    },
  ],
};
