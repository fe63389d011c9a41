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

/**
 * Bloom filter: the binding's default, 10 bits a key, about 1% false positives: a put reads its record
 * first, and for a new key the filter answers that without touching the disk. Filters and indexes stay
 * out of the block cache, so that a scan cannot evict them; they cost about 1.5 bytes a key.
 *
 * Memtables: a quarter of the budget each (32 MiB), flushed two at a time. RocksDB holds at most
 * 4 × 6 × 32 MiB of write-ahead log on that setting, which bounds what an opening has to read again.
 *
 * Compression: none in levels 0 and 1, where most of the rewriting is; ZSTD below, where most of the bytes
 * are. The block cache holds uncompressed blocks: 64 MiB for the hot part of the records.
 */
export const COLUMNS: Readonly<Record<(typeof COLUMN_OF_SPACE)[Space], ColumnOptions>> = {
  default: { compaction: 'level', memtableMemoryBudget: 128 * MIB, cacheSize: 64 * MIB, compression: true },
  meta: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: true },
  hints: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: true },
  requests: { compaction: 'level', memtableMemoryBudget: 32 * MIB, cacheSize: 4 * MIB, compression: true },
  losers: { compaction: 'level', memtableMemoryBudget: 16 * MIB, cacheSize: 4 * MIB, compression: true },
};
