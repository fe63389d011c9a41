/**
 * The requests this node has seen, with the dots of their writes (P5): a second attempt that meets another
 * coordinator, or comes after the value was replaced, is then one write all the same.
 *
 * Two generations are kept, each of half of what is remembered; with a new one the oldest goes, two for each that comes: half a
 * million at once would keep a node busy for seconds, and all replicas at the same time.
 *
 * I1 A request is remembered in the same batch as the record that its write made (record-store.ts): one that is
 *    known here has its record here, or something that came after it.
 * I2 What is remembered are at least `requestsMax / 2` of the newest requests, at most `requestsMax`, and what of
 *    the oldest generation is not removed yet. One counts as often as it is remembered, and only with a write that is not
 *    refused any more: its batch is committed, or the process stops.
 */
import {
  decodeRemembered,
  encodeRemembered,
  generationOf,
  parseRequestKey,
  type Remembered,
  requestKey,
  requestsOfKey,
  startOfGeneration,
} from '../core/codec/request.ts';
import type { Metrics, Mutation, ScanPage, StorageEngine } from '../core/ports.ts';
import type { RememberedRequest } from '../core/quorum/peers.ts';
import type { StorageRange } from '../core/ring/partition.ts';
import { type CausalContext, contains, type Dot } from '../core/versioning/causal-context.ts';

export const pageRequests = 1_024;
/** The oldest are removed after so many new ones (or more, while a removal is under way), twice as many at once. */
const removeEvery = 128;
const noBytes = new Uint8Array(0);

export interface RequestTable {
  /** Finds the generation that the last run was at. Before it resolves nothing may be changed. */
  open(): Promise<void>;
  /**
   * To be written with the record; `isSettled`: whether there is one or not. It is counted: to be called for what is going to
   * be written only.
   */
  remember(key: Uint8Array, request: RememberedRequest, isSettled?: boolean): Mutation;
  /** Forgets the requests of the key with such dots: to be written with what comes into the place of its record. */
  forget(key: Uint8Array, isGone: (dot: Dot) => boolean): Promise<readonly Mutation[]>;
  /** Remembers of these dots that they are settled: to be written when the record of the key is let go (let-go.ts). */
  settle(key: Uint8Array, dots: CausalContext): Promise<readonly Mutation[]>;
  /** Sees what is committed. */
  find(key: Uint8Array, requestId: Uint8Array): Promise<Remembered | undefined>;
  /** Of each whether it is remembered, by one look for all; the same otherwise. */
  areKnown(requests: readonly Pick<ListedRequest, 'hash' | 'id'>[]): Promise<boolean[]>;
  /** A page of those of keys in the range, the older ones first, from the `next` of the page before. Sees what is committed. */
  list(range: StorageRange, from: Uint8Array | undefined): Promise<RequestPage>;
  /** All owners of their partition know these: they need not be told again. */
  noteGiven(requests: readonly KeptRequest[]): Promise<void>;
}

export interface ListedRequest {
  /** Of the key: the table does not know more. */
  readonly hash: bigint;
  readonly id: Uint8Array;
  readonly dot: Dot;
  readonly isSettled: boolean;
}

export interface KeptRequest extends ListedRequest {
  readonly isGiven: boolean;
  /** Where it is in the table. */
  readonly at: Uint8Array;
}

export interface RequestPage {
  readonly requests: readonly KeptRequest[];
  /** Undefined: that was all. */
  readonly next: Uint8Array | undefined;
}

/** What the storage keys with the hash begin with. */
export function prefixOfHash(hash: bigint): Uint8Array {
  const prefix = Buffer.allocUnsafe(8);
  prefix.writeBigUInt64BE(hash);
  return prefix;
}

export function createRequestTable(engine: StorageEngine, metrics: Metrics, requestsMax: number): RequestTable {
  const perGeneration = Math.max(1, Math.floor(requestsMax / 2));
  let generation = 1;
  let inGeneration = 0;
  /** Of the generations before the last two; undefined: nothing is there. */
  let oldest: Uint8Array | undefined = noBytes;
  let sinceRemoval = 0;
  let removing = false;
  const untilRemoval = Math.min(removeEvery, Math.ceil(perGeneration / 4));
  metrics.gauge('cartwheel_requests_remembered', 'Requests remembered in the newest generation', () => inGeneration);

  async function removeOldest(from: Uint8Array, most: number): Promise<void> {
    removing = true;
    const end = generation - 1;
    try {
      const page = await engine.scan('requests', from, startOfGeneration(end), most);
      if (page.entries.length > 0) {
        const removals = page.entries.map(([key]): Mutation => ({ space: 'requests', key, value: undefined }));
        await engine.write(removals, false);
      }
      // A new generation may have begun meanwhile.
      oldest = page.next ?? (end < generation - 1 ? startOfGeneration(end) : undefined);
    } catch {
      // The engine is closed, or has failed, which its owner hears of.
    }
    removing = false;
  }

  async function* rememberedOf(key: Uint8Array): AsyncGenerator<readonly [at: Uint8Array, remembered: Remembered]> {
    for (const each of [generation, generation - 1]) {
      const { start, end } = requestsOfKey(each, key);
      for (let from: Uint8Array | undefined = start; from !== undefined; ) {
        const page: ScanPage = await engine.scan('requests', from, end, pageRequests);
        for (const [at, value] of page.entries) yield [at, decodeRemembered(value)];
        from = page.next;
      }
    }
  }

  return {
    async open() {
      for (;;) {
        const page = await engine.scan('requests', startOfGeneration(generation + 1), undefined, 1);
        const [next] = page.entries;
        if (next === undefined) break;
        generation = generationOf(next[0]);
      }
      let from: Uint8Array | undefined = startOfGeneration(generation);
      while (from !== undefined) {
        const page = await engine.scan('requests', from, undefined, pageRequests);
        inGeneration += page.entries.length;
        from = page.next;
      }
    },

    remember(key, { id, dot }, isSettled = false) {
      if (inGeneration >= perGeneration) {
        generation++;
        inGeneration = 0;
        // In the order of their keys the next to go come right behind those that went.
        oldest ??= startOfGeneration(generation - 2);
      }
      inGeneration++;
      sinceRemoval = oldest === undefined ? 0 : sinceRemoval + 1;
      if (oldest !== undefined && sinceRemoval >= untilRemoval && !removing) {
        // More where the last removal took long.
        void removeOldest(oldest, Math.min(2 * sinceRemoval, pageRequests));
        sinceRemoval = 0;
      }
      return {
        space: 'requests',
        key: requestKey(generation, key, id),
        value: encodeRemembered({ dot, isSettled, isGiven: false }),
      };
    },

    async forget(key, isGone) {
      const removals: Mutation[] = [];
      for await (const [at, { dot }] of rememberedOf(key)) {
        if (isGone(dot)) removals.push({ space: 'requests', key: at, value: undefined });
      }
      return removals;
    },

    async settle(key, dots) {
      const settled: Mutation[] = [];
      for await (const [at, remembered] of rememberedOf(key)) {
        if (remembered.isSettled || !contains(dots, remembered.dot)) continue;
        settled.push({ space: 'requests', key: at, value: encodeRemembered({ ...remembered, isSettled: true }) });
      }
      return settled;
    },

    async list({ start, end }, from) {
      for (const each of [generation - 1, generation]) {
        const first = requestKey(each, start, noBytes);
        const last = end === undefined ? startOfGeneration(each + 1) : requestKey(each, end, noBytes);
        if (from !== undefined && Buffer.compare(from, last) >= 0) continue;
        const at = from === undefined || Buffer.compare(from, first) < 0 ? first : from;
        const page = await engine.scan('requests', at, last, pageRequests);
        if (page.entries.length === 0 && page.next === undefined) continue;
        const requests = page.entries.map(([key, value]) => {
          return { ...parseRequestKey(key), ...decodeRemembered(value), at: key };
        });
        return { requests, next: page.next ?? (each < generation ? last : undefined) };
      }
      return { requests: [], next: undefined };
    },

    async noteGiven(requests) {
      // What has become one of the oldest since it was listed is removed, or will be: written behind `oldest`, it would stay.
      const kept = requests.filter(({ at }) => generationOf(at) >= generation - 1);
      const given = kept.map((one): Mutation => {
        return { space: 'requests', key: one.at, value: encodeRemembered({ ...one, isGiven: true }) };
      });
      if (given.length > 0) await engine.write(given, false);
    },

    async find(key, requestId) {
      const generations = [generation, generation - 1];
      const found = await engine.getMany(
        'requests',
        generations.map((of) => requestKey(of, key, requestId)),
      );
      const known = found.find((value) => value !== undefined);
      return known && decodeRemembered(known);
    },

    async areKnown(requests) {
      const prefixes = requests.map(({ hash }) => prefixOfHash(hash));
      const known = requests.map(() => false);
      for (const each of [generation, generation - 1]) {
        const asked = [...known.keys()].filter((i) => !known[i]);
        const keys = asked.map((i) => requestKey(each, prefixes[i] as Uint8Array, (requests[i] as ListedRequest).id));
        for (const [n, value] of (await engine.getMany('requests', keys)).entries())
          if (value !== undefined) known[asked[n] as number] = true;
      }
      return known;
    },
  };
}
