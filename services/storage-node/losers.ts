/**
 * The ledger of values that lost where the last writer wins (core/versioning/last-writer.ts): acknowledged, and then
 * beaten by a write that had not seen them. Kept by each replica for as long as the namespace says, for people to look at.
 *
 * I1 A loss is written in the same batch as the record in which both met (record-store.ts).
 * I2 The ledger has at most `bytesMax` bytes. What comes beyond is counted, and not kept: no write is refused for it.
 */
import type { ListLosersRequest, ListLosersResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Malformed } from '../core/codec/bytes.ts';
import { decodeLoser, encodeLoser, loserKey, losersOf, parseLoserKey } from '../core/codec/loser.ts';
import { Failure } from '../core/failure.ts';
import type { Namespace } from '../core/namespaces/namespace.ts';
import type { Clock, Hash64, Log, Metrics, Mutation, ScanPage, StorageEngine } from '../core/ports.ts';
import { namespaceOf } from '../core/requests/validate.ts';
import { partitionOfStorageKey } from '../core/ring/partition.ts';
import { parseStorageKey, storageKey as storageKeyOf } from '../core/ring/storage-key.ts';
import { printDot } from '../core/versioning/causal-context.ts';
import { newlyBeaten } from '../core/versioning/last-writer.ts';
import type { KeyRecord } from '../core/versioning/record.ts';
import { type StorageNode, wallMs } from './node.ts';

const sweepEveryMs = 10_000;
const pageLosers = 256;
const pageBytesMax = 1024 * 1024;
/** That one answer looks through: the ledger is not in the order of partitions. */
const listedPagesMax = 16;
const noBytes = new Uint8Array(0);
const nothing: readonly Mutation[] = Object.freeze([]);

export interface LoserLedger {
  /** Counts what the last run left. */
  open(): Promise<void>;
  /** What a change of the key's record makes lose; counted as kept, and to be written with it (record-store.ts, besideChange). */
  note(storageKey: Uint8Array, before: KeyRecord, after: KeyRecord): readonly Mutation[];
  /** A page of what is kept of the partitions (of `partitions`), in the order of time, from the `next` of the page before. */
  list(of: ReadonlySet<number>, partitions: number, from: Uint8Array | undefined): Promise<LossPage>;
  /** Keeps what another replica has kept, synced, but for dots that `known` has; adds them to it. Throws Malformed. */
  learn(losses: readonly Loss[], known: Set<string>): Promise<number>;
  stop(): void;
}

/** An entry of the ledger. */
export interface Loss {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface LossPage {
  readonly losses: readonly Loss[];
  /** Undefined: that was all. */
  readonly next: Uint8Array | undefined;
}

export interface LoserLedgerOptions {
  readonly engine: StorageEngine;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly hash: Hash64;
  readonly bytesMax: number;
  namespace(name: string): Namespace | undefined;
}

export function createLoserLedger({
  engine,
  clock,
  log,
  metrics,
  hash,
  bytesMax,
  namespace,
}: LoserLedgerOptions): LoserLedger {
  let bytes = 0;
  let stopped = false;
  let cancelSweep: (() => void) | undefined;
  const noted = metrics.counter('cartwheel_losers_total', 'Values beaten by one that had not seen them');
  const dropped = metrics.counter(
    'cartwheel_losers_dropped_total',
    'Values beaten and not kept, because the ledger was full',
  );
  metrics.gauge('cartwheel_losers_bytes', 'Bytes of values that lost and are kept', () => bytes);

  function sweepLater(): void {
    if (stopped || bytes === 0 || cancelSweep !== undefined) return;
    cancelSweep = clock.after(sweepEveryMs, () => void sweep());
  }

  /** Removes what is older than its namespace keeps it. */
  async function sweep(): Promise<void> {
    try {
      let [oldest] = (await engine.scan('losers', noBytes, undefined, 1)).entries;
      while (oldest !== undefined && !stopped) {
        const { namespace: name } = parseLoserKey(oldest[0]);
        const { start, end } = losersOf(name);
        const keptMs = namespace(name)?.losersKeptMs;
        if (keptMs !== undefined) await removeBefore(name, start, wallMs(clock) - keptMs);
        [oldest] = (await engine.scan('losers', end, undefined, 1)).entries;
      }
    } catch (error) {
      if (!stopped) log.warn({ err: error }, 'values that lost could not be removed; it is tried again');
    }
    cancelSweep = undefined;
    sweepLater();
  }

  async function removeBefore(name: string, start: Uint8Array, lostAtMs: number): Promise<void> {
    const end = loserKey({
      namespace: name,
      lostAtMs: Math.max(0, lostAtMs),
      dot: { actor: 0n, counter: 0 },
      key: noBytes,
    });
    for (let from: Uint8Array | undefined = start; from !== undefined && !stopped; ) {
      const page: ScanPage = await engine.scan('losers', from, end, pageLosers);
      if (page.entries.length > 0) {
        const removals = page.entries.map(([key]): Mutation => ({ space: 'losers', key, value: undefined }));
        await engine.write(removals, false);
        for (const [key, value] of page.entries) bytes -= key.length + value.length;
      }
      from = page.next;
    }
  }

  return {
    async open() {
      for (let from: Uint8Array | undefined = noBytes; from !== undefined; ) {
        const page: ScanPage = await engine.scan('losers', from, undefined, pageLosers);
        for (const [key, value] of page.entries) bytes += key.length + value.length;
        from = page.next;
      }
      sweepLater();
    },

    note(storageKey, before, after) {
      const beaten = newlyBeaten(before, after);
      if (beaten.length === 0) return nothing;
      const { namespace: name, key } = parseStorageKey(storageKey);
      noted.add(beaten.length);
      if (namespace(name)?.losersKeptMs === 0) return nothing;
      const mutations: Mutation[] = [];
      for (const { loser, winner } of beaten) {
        const { dot, writtenAtMs, value } = loser;
        const mutation = {
          space: 'losers' as const,
          key: loserKey({ namespace: name, lostAtMs: wallMs(clock), dot, key }),
          value: encodeLoser({ writtenAtMs, lostTo: winner.dot, value }),
        };
        const size = mutation.key.length + mutation.value.length;
        if (bytes + size > bytesMax) {
          dropped.add(1);
          continue;
        }
        bytes += size;
        mutations.push(mutation);
      }
      sweepLater();
      return mutations;
    },

    async list(of, partitions, from) {
      let at: Uint8Array | undefined = from ?? noBytes;
      const losses: Loss[] = [];
      let size = 0;
      for (let pages = 0; pages < listedPagesMax && at !== undefined && size < pageBytesMax; pages++) {
        const page: ScanPage = await engine.scan('losers', at, undefined, pageLosers);
        for (const [key, value] of page.entries) {
          const lost = parseLoserKey(key);
          if (!of.has(partitionOfStorageKey(storageKeyOf(lost.namespace, lost.key, hash), partitions))) continue;
          losses.push({ key, value });
          size += key.length + value.length;
        }
        at = page.next;
      }
      return { losses, next: at };
    },

    async learn(losses, known) {
      const mutations: Mutation[] = [];
      for (const { key, value } of losses) {
        const dot = lostDot({ key, value });
        if (known.has(dot)) continue;
        known.add(dot);
        const size = key.length + value.length;
        if (bytes + size > bytesMax) {
          dropped.add(1);
          continue;
        }
        bytes += size;
        mutations.push({ space: 'losers', key, value });
      }
      if (mutations.length > 0) await engine.write(mutations, true);
      sweepLater();
      return mutations.length;
    },

    stop() {
      stopped = true;
      cancelSweep?.();
    },
  };
}

/** Of the value that lost, printed. Throws Malformed. */
export function lostDot({ key, value }: Loss): string {
  decodeLoser(value);
  return printDot(parseLoserKey(key).dot);
}

/** One page of this node's ledger. */
export async function listLosers(
  { engine, validation }: Pick<StorageNode, 'engine' | 'validation'>,
  request: ListLosersRequest,
): Promise<ListLosersResponse> {
  const { name } = namespaceOf(request.namespace, validation);
  const { start, end } = losersOf(name);
  const page = await engine.scan('losers', startOf(request.pageToken, name) ?? start, end, pageLosers);
  const losers: ListLosersResponse['losers'] = [];
  let { next } = page;
  let bytes = 0;
  for (const [at, stored] of page.entries) {
    if (bytes > pageBytesMax) {
      next = at;
      break;
    }
    const { key, dot, lostAtMs } = parseLoserKey(at);
    if (request.key.length > 0 && Buffer.compare(key, request.key) !== 0) continue;
    const { writtenAtMs, lostTo, value } = decodeLoser(stored);
    bytes += at.length + value.length;
    losers.push({
      key: key as Buffer,
      value: value as Buffer,
      dot: printDot(dot),
      writtenAtMs: BigInt(writtenAtMs),
      lostTo: printDot(lostTo),
      lostAtMs: BigInt(lostAtMs),
    });
  }
  return { losers, pageToken: Buffer.from(next ?? noBytes) };
}

/** Undefined for the beginning. A token is a key of the ledger. */
function startOf(pageToken: Uint8Array, namespace: string): Uint8Array | undefined {
  if (pageToken.length === 0) return undefined;
  try {
    if (parseLoserKey(pageToken).namespace === namespace) return pageToken;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  throw new Failure('PAGE_TOKEN_INVALID', 'page_token is none of this listing', { field: 'page_token' });
}
