import { availableParallelism } from 'node:os';
import type { ColumnOptions } from 'rocksdb';
import type { Space } from '../../core/ports.ts';

const MIB = 1024 * 1024;

/**
 * The column family of each space. `records` lives in the one that RocksDB calls `default`: it must exist in any
 * case, and this binding's getProperty (sizes, estimated keys) answers for it alone.
 *
 * All spaces share one write-ahead log: one sync covers them, and a batch over several is atomic (I1).
 */
export const COLUMN_OF_SPACE = {
  records: 'default',
  meta: 'meta',
  hints: 'hints',
  requests: 'requests',
  losers: 'losers',
} as const satisfies Record<Space, string>;

/** What of the engine is chosen by measurement: `npm run bench:engine` changes one at a time. */
export interface EngineSettings {
  readonly columns: Readonly<Record<(typeof COLUMN_OF_SPACE)[Space], ColumnOptions>>;
  /** ZSTD over the write-ahead log. */
  readonly walCompression: boolean;
  /** Threads that flush and compact. */
  readonly backgroundThreads: number;
  /** A batch ends here though more is waiting, so that its first write is not held up by too many others. */
  readonly groupBytesMax: number;
}

/**
 * Bloom filter: the binding's default, 10 bits a key, about 1% false positives: a put reads its record
 * first, and for a new key the filter answers that without touching the disk. Filters and indexes stay
 * out of the block cache, so that a scan cannot evict them; they cost about 1.5 bytes a key.
 *
 * Memtables: a quarter of the budget each (32 MiB), flushed two at a time. RocksDB holds at most
 * 4 × 6 × 32 MiB of write-ahead log on that setting, which bounds what an opening has to read again.
 *
 * Compression: none in levels 0 and 1, where most of the rewriting is; ZSTD below, where most of the bytes
 * are. (`compression` is a trained dictionary for each file, on top of that: without it.) The block cache holds
 * uncompressed blocks: 64 MiB for the hot part of the records.
 */
const COLUMNS: EngineSettings['columns'] = {
  default: { compaction: 'level', memtableMemoryBudget: 128 * MIB, cacheSize: 64 * MIB, compression: false },
  meta: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: false },
  hints: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: false },
  requests: { compaction: 'level', memtableMemoryBudget: 32 * MIB, cacheSize: 4 * MIB, compression: false },
  losers: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: false },
};

export const ENGINE_SETTINGS: EngineSettings = {
  columns: COLUMNS,
  // The committer thread would pay for it before each sync, and records of 1 KB gain little.
  walCompression: false,
  backgroundThreads: Math.max(1, Math.floor(availableParallelism() / 2)),
  groupBytesMax: 4 * MIB,
};
