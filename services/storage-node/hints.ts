/**
 * What this node owes to homes that missed a write: how much to whom, and how much it may become.
 *
 * The hints themselves are part of the records they speak of (record-store.ts keeps their index); here they are
 * counted. Who delivers them: handoff.ts.
 *
 * I1 A node is owed at most `hintsMax` records. Beyond that its partition is marked for exchange: the record
 *    stays all the same, and no write is refused for it.
 * I2 A mark speaks of a partition of the ring that is known now. Where the ring has another number of them, each mark
 *    becomes marks of all that share keys with it, under new numbers: whoever has the old number in hand unmarks nothing.
 *    The disk follows in one batch, and names the number of partitions; what it still has of before is taken in likewise.
 */
import { decodeHintNote, encodeHintNote, hintKey, hintsOf, parseHintKey } from '../core/codec/hint.ts';
import type { Metrics, Mutation, ScanPage, StorageEngine } from '../core/ports.ts';
import { partitionOfStorageKey, partitionsSharing } from '../core/ring/partition.ts';
import { beside, type Held, type Next, type RecordStore } from './record-store.ts';

const pageHints = 2_048;
/** A summary looks at no more of each node's hints. */
const summaryHintsMax = 10_240;
const markPrefix = Buffer.from('marked for exchange\0');
const noBytes = new Uint8Array(0);

export interface HintSummary {
  readonly nodeId: string;
  readonly hints: number;
  /** Estimated from some of them where there are many. */
  readonly bytes: number;
  /** When the oldest one looked at came to be owed, milliseconds since 1970. */
  readonly oldestMs: number | undefined;
  readonly markedPartitions: number;
}

export interface MarkedPartition {
  readonly home: string;
  readonly partition: number;
  /** Q. */
  readonly partitions: number;
  readonly mark: number;
}

export interface HintBook {
  /** Counts what the last run left. */
  open(): Promise<void>;
  /** The ring has so many partitions from now on. */
  follow(partitions: number): void;
  /** What a change of `own` leaves, owed to `home` from now on. */
  owe(own: Held, next: Next, home: string, storageKey: Uint8Array): Next;
  /** The record store has written an index entry, or removed one. */
  changed(nodeId: string, by: 1 | -1): void;
  count(nodeId: string): number;
  /** Counts anew what the index has for the node; what is changed meanwhile leaves the count as it is. */
  recount(nodeId: string): Promise<void>;
  /** Nodes that something is owed to. */
  nodes(): readonly string[];
  /** Whether the partition of the key is marked for another home than this. */
  isMarked(storageKey: Uint8Array, besides: string): boolean;
  /** As `isMarked`; and what it is marked for has to be done once more. */
  markAgain(storageKey: Uint8Array, besides: string): boolean;
  /** Names the last time that the partition, of so many, was marked for the home; undefined: it is not. */
  markOf(home: string, partition: number, partitions: number): number | undefined;
  marks(): readonly MarkedPartition[];
  /** The number of the newest. */
  lastMark(): number;
  /** What it was marked for has been done, unless it has been marked again since. */
  unmark(home: string, partition: number, mark: number): Promise<void>;
  onAdded(listener: () => void): void;
  summary(): Promise<readonly HintSummary[]>;
}

export function createHintBook(engine: StorageEngine, metrics: Metrics, hintsMax: number): HintBook {
  const counts = new Map<string, number>();
  /** By node: its partitions, each with the number of its last mark. */
  const marks = new Map<string, Map<number, number>>();
  /** Of an earlier run, until a ring is known (I2). */
  let kept: KeptMark[] = [];
  /** Q; 0: no ring is known. */
  let partitions = 0;
  let lastMark = 0;
  /** Of the counts. */
  let changes = 0;
  let onAdded = () => {};
  const added = metrics.counter('cartwheel_hints_added_total', 'Records that came to be owed to a home');
  const marked = metrics.counter('cartwheel_hints_beyond_limit_total', 'Hints not kept: the partition was marked');
  metrics.gauge('cartwheel_hints', 'Records owed to homes that missed them', () => {
    return [...counts.values()].reduce((sum, count) => sum + count, 0);
  });
  metrics.gauge('cartwheel_partitions_marked', 'Partitions of homes that are owed more than hints say', () => {
    return [...marks.values()].reduce((sum, { size }) => sum + size, 0);
  });

  function setCount(nodeId: string, count: number): void {
    if (count > 0) counts.set(nodeId, count);
    else counts.delete(nodeId);
  }

  function mark(home: string, partition: number): Mutation {
    const ofHome = marks.get(home) ?? new Map<number, number>();
    ofHome.set(partition, ++lastMark);
    marks.set(home, ofHome);
    return { space: 'meta', key: markKey(home, partition, partitions), value: noBytes };
  }

  /** I2. A disk that keeps them as they were loses nothing: they are taken in again at the next start. */
  function takeIn(old: readonly KeptMark[]): void {
    const mutations = old.flatMap((one): Mutation[] => [
      { space: 'meta', key: one.key, value: undefined },
      ...partitionsSharing(one.partition, one.partitions || partitions, partitions).map((now) => mark(one.home, now)),
    ]);
    if (old.some((one) => one.partitions !== partitions)) engine.write(mutations, false).catch(() => {});
  }

  function allMarks(): MarkedPartition[] {
    return [...marks].flatMap(([home, ofHome]) =>
      [...ofHome].map(([partition, mark]) => ({ home, partition, partitions, mark })),
    );
  }

  async function* pages(space: 'hints' | 'meta', start: Uint8Array, end: Uint8Array | undefined) {
    for (let from: Uint8Array | undefined = start; from !== undefined; ) {
      const page = await engine.scan(space, from, end, pageHints);
      yield page.entries;
      from = page.next;
    }
  }

  return {
    async open() {
      for await (const entries of pages('hints', noBytes, undefined)) {
        for (const [key] of entries) {
          const { nodeId } = parseHintKey(key);
          counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
        }
      }
      const end = Buffer.concat([markPrefix.subarray(0, -1), Buffer.of(1)]);
      for await (const entries of pages('meta', markPrefix, end)) {
        for (const [key] of entries) kept.push(parseMarkKey(key));
      }
      marked.add(kept.length);
      if (partitions > 0) takeIn(kept.splice(0));
    },

    follow(now) {
      if (now === partitions) return;
      const old = [
        ...kept,
        ...allMarks().map((one) => ({ ...one, key: markKey(one.home, one.partition, partitions) })),
      ];
      kept = [];
      marks.clear();
      partitions = now;
      if (old.length > 0) takeIn(old);
    },

    owe(own, next, home, key) {
      const { copy = own } = next;
      if (copy.owed.includes(home)) return next;
      if ((counts.get(home) ?? 0) >= hintsMax) {
        marked.add(1);
        return beside(next, mark(home, partitionOfStorageKey(key, partitions)));
      }
      added.add(1);
      return { ...next, copy: { ...copy, owed: [...copy.owed, home].sort() } };
    },

    changed(nodeId, by) {
      changes++;
      setCount(nodeId, (counts.get(nodeId) ?? 0) + by);
      if (by > 0) onAdded();
    },
    async recount(nodeId) {
      const before = changes;
      let count = 0;
      const { start, end } = hintsOf(nodeId);
      for await (const entries of pages('hints', start, end)) count += entries.length;
      if (changes === before) setCount(nodeId, count);
    },
    onAdded(listener) {
      onAdded = listener;
    },

    count: (nodeId) => counts.get(nodeId) ?? 0,
    nodes: () => [...counts.keys()],
    isMarked(key, besides) {
      const partition = partitionOfStorageKey(key, partitions);
      for (const [home, ofHome] of marks) if (home !== besides && ofHome.has(partition)) return true;
      return false;
    },
    markAgain(key, besides) {
      const partition = partitionOfStorageKey(key, partitions);
      let isMarked = false;
      for (const [home, ofHome] of marks) {
        if (home === besides || !ofHome.has(partition)) continue;
        lastMark++;
        ofHome.set(partition, lastMark);
        isMarked = true;
      }
      return isMarked;
    },
    markOf: (home, partition, of) => (of === partitions ? marks.get(home)?.get(partition) : undefined),
    lastMark: () => lastMark,
    marks: allMarks,
    async unmark(home, partition, mark) {
      const ofHome = marks.get(home);
      if (ofHome?.get(partition) !== mark) return;
      ofHome.delete(partition);
      if (ofHome.size === 0) marks.delete(home);
      await engine.write([{ space: 'meta', key: markKey(home, partition, partitions), value: undefined }], false);
    },

    async summary() {
      const summaries: HintSummary[] = [];
      for (const nodeId of new Set([...counts.keys(), ...marks.keys()])) {
        const { start, end } = hintsOf(nodeId);
        let seen = 0;
        let bytes = 0;
        let oldestMs: number | undefined;
        for await (const entries of pages('hints', start, end)) {
          for (const [, note] of entries) {
            const { sinceMs, recordBytes } = decodeHintNote(note);
            bytes += recordBytes;
            oldestMs = Math.min(oldestMs ?? sinceMs, sinceMs);
          }
          seen += entries.length;
          if (seen >= summaryHintsMax) break;
        }
        const hints = counts.get(nodeId) ?? 0;
        const markedPartitions = marks.get(nodeId)?.size ?? 0;
        summaries.push({
          nodeId,
          hints,
          bytes: seen === 0 ? 0 : Math.round((bytes / seen) * hints),
          oldestMs,
          markedPartitions,
        });
      }
      return summaries;
    },
  };
}

/**
 * Of a directory that was damaged (StorageEngine.isIncomplete): puts back into the index what it has lost. Whom a record is
 * owed to is kept with it. Before anything is changed.
 */
export async function indexAgain(
  engine: StorageEngine,
  store: Pick<RecordStore, 'open'>,
  sinceMs: number,
): Promise<void> {
  for (let from: Uint8Array | undefined = noBytes; from !== undefined; ) {
    const page: ScanPage = await engine.scan('records', from, undefined, pageHints);
    const hints = page.entries.flatMap(([key, stored]) => {
      const record = store.open(key, stored);
      const value = encodeHintNote({ sinceMs, recordBytes: record?.bytes.length ?? 0 });
      return (record?.owed ?? []).map((home) => ({ space: 'hints' as const, key: hintKey(home, key), value }));
    });
    const found = await engine.getMany(
      'hints',
      hints.map(({ key }) => key),
    );
    const lost = hints.filter((_, i) => found[i] === undefined);
    if (lost.length > 0) await engine.write(lost, true);
    from = page.next;
  }
}

interface KeptMark extends Omit<MarkedPartition, 'mark'> {
  readonly key: Uint8Array;
}

function markKey(home: string, partition: number, partitions: number): Uint8Array {
  return Buffer.concat([markPrefix, Buffer.from(`${home}\0${partition}\0${partitions}`)]);
}

/** Of 0 partitions where it does not say: it was kept when their number could not change. */
function parseMarkKey(key: Uint8Array): KeptMark {
  const [, home = '', partition, partitions = 0] = Buffer.from(key).toString().split('\0');
  return { key, home, partition: Number(partition), partitions: Number(partitions) };
}
