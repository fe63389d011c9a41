import type { Metrics } from '../../core/ports.ts';
import type { DiskSpace } from './disk-space.ts';

/** What RocksDB says of itself, read at each scrape, and what is left of the disk. */

/** Of the records' column family; the binding answers for no other. */
const PROPERTIES: readonly (readonly [name: string, help: string, property: string])[] = [
  ['keys_estimated', 'Keys of records, as RocksDB estimates them.', 'estimate-num-keys'],
  ['memtable_bytes', 'Bytes of memtables, those being flushed among them.', 'size-all-mem-tables'],
  ['block_cache_bytes', 'Bytes of blocks in the cache.', 'block-cache-usage'],
  ['compactions_running', 'Compactions under way.', 'num-running-compactions'],
  [
    'compaction_pending_bytes',
    'Bytes that compactions have to rewrite, estimated.',
    'estimate-pending-compaction-bytes',
  ],
  ['delayed_write_bytes_per_second', 'What RocksDB slows writes to; 0: it does not.', 'actual-delayed-write-rate'],
  ['writes_stopped', '1 while RocksDB takes no writes: compactions are too far behind.', 'is-write-stopped'],
  ['background_errors', 'Errors of flushes and compactions.', 'background-errors'],
];
const LEVELS = 7;

export interface EngineState {
  /** 0 once the database is closed. */
  property(name: string): number;
  diskBytes(): number;
  readonly space: DiskSpace;
}

export function exposeEngine(metrics: Metrics, state: EngineState): void {
  for (const [name, help, property] of PROPERTIES) {
    metrics.gauge(`cartwheel_engine_${name}`, help, () => state.property(property));
  }
  for (let level = 0; level < LEVELS; level++) {
    const read = () => state.property(`num-files-at-level${level}`);
    metrics.gauge('cartwheel_engine_level_files', 'Table files of each level.', read, { level: String(level) });
  }
  metrics.gauge('cartwheel_engine_disk_bytes', 'Bytes of table files and memtables.', () => state.diskBytes());

  metrics.gauge('cartwheel_disk_available_bytes', 'What is left of the file system of the data directory.', () => {
    return state.space.available();
  });
  metrics.gauge('cartwheel_disk_size_bytes', 'Size of the file system of the data directory.', () => {
    return state.space.size();
  });
}
