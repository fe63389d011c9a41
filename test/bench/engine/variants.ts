/** What of the engine's settings is measured: one change each. */
import { COLUMN_OF_SPACE, ENGINE_SETTINGS, type EngineSettings } from '../../../services/platform/rocksdb/settings.ts';

const MIB = 1024 * 1024;

type ColumnChange = Partial<EngineSettings['columns']['default']>;

export const asItIs = 'as it is';

/** By what they are called in the table. */
export const variants: Readonly<Record<string, EngineSettings>> = {
  [asItIs]: ENGINE_SETTINGS,
  'records: memtables of 64 MiB': withRecords({ memtableMemoryBudget: 256 * MIB }),
  'records: memtables of 16 MiB': withRecords({ memtableMemoryBudget: 64 * MIB }),
  'records: memtables of 8 MiB': withRecords({ memtableMemoryBudget: 32 * MIB }),
  'others: memtables of 8 MiB': withOthers({ memtableMemoryBudget: 32 * MIB }),
  'others: memtables of 1 MiB': withOthers({ memtableMemoryBudget: 4 * MIB }),
  'universal compaction': withRecords({ compaction: 'universal' }),
  'dictionaries for compression': withRecords({ compression: true }),
  'log compressed': { ...ENGINE_SETTINGS, walCompression: true },
  'block cache of 8 MiB': withRecords({ cacheSize: 8 * MIB }),
  'block cache of 256 MiB': withRecords({ cacheSize: 256 * MIB }),
  'blocks of 16 KiB': withRecords({ blockSize: 16 * 1024 }),
  'filters of 5 bits a key': withRecords({ filterPolicy: 'bloomfilter:5:false' }),
  'filters of 20 bits a key': withRecords({ filterPolicy: 'bloomfilter:20:false' }),
  'filters in the block cache': withRecords({ cacheIndexAndFilterBlocks: true }),
  'twice the background threads': { ...ENGINE_SETTINGS, backgroundThreads: 2 * ENGINE_SETTINGS.backgroundThreads },
  'groups of 1 write': { ...ENGINE_SETTINGS, groupBytesMax: 1 },
  'groups of 16 KiB': { ...ENGINE_SETTINGS, groupBytesMax: 16 * 1024 },
  'groups of 256 KiB': { ...ENGINE_SETTINGS, groupBytesMax: 256 * 1024 },
};

function withRecords(change: ColumnChange): EngineSettings {
  return withColumns((name) => (name === COLUMN_OF_SPACE.records ? change : {}));
}

function withOthers(change: ColumnChange): EngineSettings {
  return withColumns((name) => (name === COLUMN_OF_SPACE.records ? {} : change));
}

function withColumns(changeOf: (column: string) => ColumnChange): EngineSettings {
  const columns = Object.fromEntries(
    Object.entries(ENGINE_SETTINGS.columns).map(([name, options]) => [name, { ...options, ...changeOf(name) }]),
  ) as EngineSettings['columns'];
  return { ...ENGINE_SETTINGS, columns };
}
