/**
 * What Cartwheel uses of the package `rocksdb` (@nxtedition/rocksdb 12.2.12), which ships no types. The
 * names with an underscore are the package's own fast doors: those without pass every key through the
 * encodings of abstract-level. The version is pinned exactly, and the contract suite runs all of it.
 */
declare module 'rocksdb' {
  /** A column family, as the binding names it to itself; bound to the thread that opened the database. */
  export interface Column {
    readonly __column: never;
  }

  /** Options of one column family. Sizes are in bytes. */
  export interface ColumnOptions {
    /** `level` also: memtables of a quarter of the budget, ZSTD from level 2 down, nothing above. */
    readonly compaction?: 'level' | 'universal';
    readonly memtableMemoryBudget?: number;
    /** ZSTD with a trained dictionary for each file; true unless told otherwise. `level` has ZSTD without it. */
    readonly compression?: boolean;
    /** Block cache; fits in 32 bits. */
    readonly cacheSize?: number;
    readonly cacheIndexAndFilterBlocks?: boolean;
    /** Without it: a Bloom filter of 10 bits a key. */
    readonly filterPolicy?: string;
    readonly blockSize?: number;
  }

  export interface OpenOptions {
    readonly createIfMissing?: boolean;
    /** Must name every column family there is, `default` among them; missing ones are made. */
    readonly columns?: Readonly<Record<string, ColumnOptions>>;
    /** ZSTD over the write-ahead log; true unless told otherwise. */
    readonly walCompression?: boolean;
    /** Background threads; half of the cores unless told otherwise. */
    readonly parallelism?: number;
  }

  export interface ColumnChoice {
    readonly column: Column;
  }

  /** A RocksDB write batch. It lives in memory until `_writeSync`, and can be filled again after `_clear`. */
  export interface ChainedBatch {
    _put(key: Uint8Array, value: Uint8Array, options: ColumnChoice): void;
    _del(key: Uint8Array, options: ColumnChoice): void;
    /** Writes on the calling thread, and with `sync` waits for the disk there. Throws what RocksDB says. */
    _writeSync(options: { readonly sync: boolean }): void;
    _clear(): void;
  }

  export interface Iterator {
    /** Up to `size` pairs, read in the thread pool; none when the range is done. */
    nextv(size: number): Promise<[key: Uint8Array, value: Uint8Array][]>;
    close(): Promise<void>;
  }

  export interface IteratorOptions extends ColumnChoice {
    readonly gte: Uint8Array;
    readonly lt?: Uint8Array;
    readonly keyEncoding: 'buffer';
    readonly valueEncoding: 'buffer';
    /** One `nextv` ends once it holds more bytes than this. */
    readonly highWaterMarkBytes: number;
    readonly fillCache: boolean;
  }

  export class RocksLevel {
    /** A directory, or the `handle` of a database that is open in another thread of this process. */
    constructor(locationOrHandle: string | bigint, options?: OpenOptions);
    open(): Promise<void>;
    /** Closes the database for all threads that share it: only the one that opened the directory may. */
    close(): Promise<void>;
    readonly handle: bigint;
    readonly columns: Readonly<Record<string, Column>>;
    /**
     * On the calling thread, which waits for the disk where it must. A value is undefined where there is none, null where
     * RocksDB gave up. Throws on a corrupt block, which the door to the thread pool makes an uncaught exception of the
     * process.
     */
    _getManySync(keys: readonly Uint8Array[], options: ColumnChoice): (Uint8Array | undefined | null)[];
    _chainedBatch(): ChainedBatch;
    /** Positions itself on the calling thread; only `nextv` is asynchronous. */
    iterator(options: IteratorOptions): Iterator;
    /** Of the column family `default`, or of the database; an empty string where there is none. */
    getProperty(name: string): string;
  }
}
