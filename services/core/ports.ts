/**
 * The ports: everything that the system asks of the world outside it, one narrow interface each.
 * Each has a real implementation (services/platform) and a simulated one (test/sim), and where the two
 * could disagree, one contract suite that both pass (test/contract).
 */

/** Time. The monotonic clock measures; the wall clock is only ever shown to people, or stored for them. */
export interface Clock {
  /** Milliseconds, monotonic, with a fraction; the origin means nothing. */
  now(): number;
  /** Milliseconds since 1970. Decides nothing but what has expired, and which write was last where the last writer wins. */
  wallNow(): number;
  /** Calls `run` once, about `ms` from now. Returns a function that cancels it. Not for single operations: see Deadlines. */
  after(ms: number, run: () => void): () => void;
  /** Calls `run` once when the work at hand (everything that arrived in this turn) is done. */
  endOfTurn(run: () => void): void;
}

export interface Random {
  /** A uniform 64-bit number, fit for an identity. */
  u64(): bigint;
  /** A uniform integer in 0..bound-1. */
  below(bound: number): number;
}

/** 64 bits of hash over `bytes`; XXH64 everywhere in Cartwheel, so that clients in any language agree. */
export type Hash64 = (bytes: Uint8Array, seed?: bigint) => bigint;

/** 32-bit CRC (IEEE) over `bytes`, going on from `seed`. */
export type Checksum32 = (bytes: Uint8Array, seed?: number) => number;

/** The spaces of an engine, each with keys of its own, in the order of their numbers in packed-write.ts. */
export const SPACES = ['records', 'meta', 'hints', 'requests', 'losers'] as const;

/**
 * `records` holds the records under their storage keys, `meta` the node's own small values, `hints` an index of
 * the records that are owed to other nodes, `requests` the request ids that were seen, `losers` values that were
 * beaten where the last writer wins.
 */
export type Space = (typeof SPACES)[number];

/** Write `prefix` (none where it is not given) and `value` as one, or remove the key where `value` is undefined. */
export interface Mutation {
  readonly space: Space;
  readonly key: Uint8Array;
  readonly prefix?: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
}

export interface ScanPage {
  /** In key order. */
  readonly entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  /** The first key not looked at; undefined when the range is done. */
  readonly next: Uint8Array | undefined;
}

export interface EngineStats {
  /** Roughly, and for people. */
  readonly keysEstimated: number;
  readonly diskBytes: number;
  /** That it may still write. */
  readonly freeBytes: number;
}

/**
 * An ordered map of bytes on one disk.
 *
 * I1 A `write` is atomic: all of its mutations are there afterwards, or none.
 * I2 Writes take effect in the order of the calls; when a synced one is on disk, so is every earlier one.
 * I3 After a failed `write` every later one fails: what a failed sync left on the disk is unknown, so the
 *    owner must stop acknowledging.
 * I4 `getMany` and `scan` see every write whose promise has resolved. They may see one that is under way.
 * I5 Where the disk gives back other bytes than were written, and the engine can tell, they reject with DamagedData; other
 *    keys can be read all the same.
 * I6 From the call of `close` on everything is refused with Failure DRAINING.
 */
export interface StorageEngine {
  /**
   * Names this directory's unbroken history. Drawn anew (64 random bits) whenever the last run did not
   * end in `close()` or the directory was touched since: then writes that somebody else has seen may be
   * missing here (the birth rule, core/versioning/birth.ts).
   */
  readonly lineage: bigint;
  /**
   * Ends the lineage and begins a new one, for good: somebody else has seen writes of this directory that are
   * missing here, which only its owner can know.
   */
  renewLineage(): void;
  /**
   * Its files were damaged, and it went on with what of them could be read: what is absent may have been written. Stays
   * so, over restarts, until `complete`.
   */
  readonly isIncomplete: boolean;
  /** Damage was met since it was opened. Opened anew it is rebuilt from what can be read, and may then be incomplete. */
  readonly isDamaged: boolean;
  /** Its owner has put back what was missing, synced. */
  complete(): Promise<void>;
  /** The values in the order of the keys; undefined where there is none. */
  getMany(space: Space, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /** Resolves when the mutations are written; with `sync`, when they are on disk. */
  write(mutations: readonly Mutation[], sync: boolean): Promise<void>;
  /** One page of [start, end) (end undefined: to the last key), of at most `limit` entries. */
  scan(space: Space, start: Uint8Array, end: Uint8Array | undefined, limit: number): Promise<ScanPage>;
  stats(): EngineStats;
  /** Waits for writes under way, syncs, leaves the mark of a clean stop. */
  close(): Promise<void>;
}

/** Metric handles are asked for once, at start; nothing is looked up by label while operations run. */
export interface Metrics {
  /** Values in milliseconds, exported in seconds. */
  histogram(name: string, help: string, labels?: Readonly<Record<string, string>>): HistogramHandle;
  /** Whole numbers (of things, or bytes), exported as they are. */
  sizes(name: string, help: string, labels?: Readonly<Record<string, string>>): HistogramHandle;
  counter(name: string, help: string, labels?: Readonly<Record<string, string>>): CounterHandle;
  /** `read` is called at each scrape. */
  gauge(name: string, help: string, read: () => number, labels?: Readonly<Record<string, string>>): void;
  /** Gauges that come and go: `read` gives, at each scrape, those there are then, by the value of their one label. */
  gauges(name: string, help: string, label: string, read: () => ReadonlyMap<string, number>): void;
}

export interface HistogramHandle {
  observe(value: number): void;
}

export interface CounterHandle {
  add(n: number): void;
}

/**
 * Parts of operations, as traces show them. Where nothing is traced there is no Tracing, and no operation has a
 * traceparent. A traceparent is the W3C Trace Context of a part, in text: it travels.
 */
export interface Tracing {
  /** A part of what `parent` names; undefined where that is not traced. */
  begin(part: PartOfOperation, parent: string | undefined): Span | undefined;
  /** The same, or, where `parent` names nothing, the first part of a new trace: for some of those that ask. */
  beginTrace(part: PartOfOperation, parent: string | undefined): Span | undefined;
}

export interface PartOfOperation {
  readonly name: string;
  /** SERVER: another process asked for it; CLIENT: this one asks another. */
  readonly kind: 'SERVER' | 'CLIENT' | 'INTERNAL';
  /** On the monotonic clock; now where it is not given. */
  readonly startedAt?: number | undefined;
  readonly attributes?: Readonly<Record<string, string | number>>;
}

export interface Span {
  readonly traceparent: string;
  set(attribute: string, value: string | number): void;
  /** `error`: what was thrown. */
  end(error?: unknown): void;
}

/** Structured logs; the pino signature, so that pino itself fits. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
