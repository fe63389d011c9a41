import { type Mutation, type Random, type ScanPage, SPACES, type Space, type StorageEngine } from '../core/ports.ts';
import { engineClosed } from './engine-closed.ts';

/**
 * The StorageEngine in memory (the port's I1 to I4, and I6): for tests, and the disk of the simulation.
 * Owns a MemoryDisk, which outlives the engines opened on it, and so can crash. Knows no time: whoever
 * opens the engine says when reads and writes happen.
 *
 *     synced ──────────── what a crash leaves
 *       + unsynced log    writes since, oldest first: a crash leaves the first so many of them
 *       = live            what reads see
 *       + under way       handed over, not done, or failed: may be on the disk after a crash, though nobody was told
 *
 * I1 A crash leaves a prefix of the writes in the order of the calls, each whole or not at all, as the
 *    write-ahead log of a real engine does.
 */

/** `read`: a getMany or a scan. `write`: an unsynced write. `sync`: a synced one. */
export type DiskAction = 'read' | 'write' | 'sync';

/** Calls `run` once, whenever it likes; the engine keeps writes in order whatever the order of these calls. */
export type DiskSchedule = (action: DiskAction, run: () => void) => void;

export interface MemoryDisk {
  /** Writes that a crash now may or may not leave: unsynced ones, those under way, those that failed. */
  readonly uncertainWrites: number;
  /** Of the engine that has it open, or the next one. */
  readonly isIncomplete: boolean;
  /**
   * Power loss. Of the uncertain writes the oldest `survivors` are on the disk. The engine that was open
   * is dead: none of its promises settles any more. The next one gets a new lineage.
   */
  crash(survivors?: number): void;
  /**
   * Every write under way and to come fails with this, for the engine that is open; a disk opened anew
   * works again. What was under way may be on the disk all the same, see `crash`.
   */
  failWrites(error: Error): void;
  /** As if a file had been changed while no engine was open: the next one gets a new lineage. */
  touch(): void;
  /**
   * As after damage to its files: these records are gone, and all requests, and all that is in these spaces; the engine that
   * is opened next is incomplete.
   */
  lose(keys: readonly Uint8Array[], lost?: readonly Space[]): void;
  /** What it has under the key; undefined too while writes of the key are uncertain. */
  settled(space: Space, key: Uint8Array): Uint8Array | undefined;
  /** A bit of such a value turns: counted from the first, and round from the last. */
  flipBit(space: Space, key: Uint8Array, bit: number): void;
}

export interface MemoryEngineOptions {
  readonly random: Random;
  /** Without it everything happens in a microtask. */
  readonly schedule?: DiskSchedule;
}

interface PendingWrite {
  readonly mutations: readonly Mutation[];
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  ready: boolean;
}

/** The engine that has the disk open. */
interface Session {
  readonly pending: PendingWrite[];
  failure: Error | undefined;
}

interface DiskState {
  synced: SortedSpaces;
  live: SortedSpaces;
  unsynced: (readonly Mutation[])[];
  cleanLineage: bigint | undefined;
  incomplete: boolean;
  session: Session | undefined;
}

const states = new WeakMap<MemoryDisk, DiskState>();

export function createMemoryDisk(): MemoryDisk {
  const state: DiskState = {
    synced: new SortedSpaces(),
    live: new SortedSpaces(),
    unsynced: [],
    cleanLineage: undefined,
    incomplete: false,
    session: undefined,
  };
  const uncertain = () => [...state.unsynced, ...(state.session?.pending.map((write) => write.mutations) ?? [])];
  const disk: MemoryDisk = {
    get uncertainWrites() {
      return uncertain().length;
    },
    get isIncomplete() {
      return state.incomplete;
    },
    crash(survivors = 0) {
      const writes = uncertain();
      if (survivors < 0 || survivors > writes.length) {
        throw new RangeError(`${survivors} writes to survive the crash, there are ${writes.length}`);
      }
      for (const mutations of writes.slice(0, survivors)) {
        state.synced.apply(mutations);
      }
      state.unsynced = [];
      state.live = state.synced.clone();
      state.session = undefined;
      state.cleanLineage = undefined;
    },
    failWrites(error) {
      if (state.session === undefined) {
        throw new Error('no engine has the disk open');
      }
      state.session.failure = error;
      settleReady(state, state.session);
    },
    touch() {
      state.cleanLineage = undefined;
    },
    lose(keys, lost = []) {
      const mutations = keys.map((key): Mutation => ({ space: 'records', key, value: undefined }));
      for (const spaces of [state.synced, state.live]) {
        spaces.apply(mutations);
        for (const space of ['requests', ...lost] as const) spaces.clear(space);
      }
      state.cleanLineage = undefined;
      state.incomplete = true;
    },
    settled(space, key) {
      const isOfKey = (one: Mutation) => one.space === space && Buffer.compare(one.key, key) === 0;
      return uncertain().some((mutations) => mutations.some(isOfKey)) ? undefined : state.synced.get(space, key);
    },
    flipBit(space, key, bit) {
      const value = disk.settled(space, key);
      if (value === undefined || value.length === 0) return;
      const byte = (bit >>> 3) % value.length;
      value[byte] = (value[byte] as number) ^ (1 << (bit & 7));
      const mutations: Mutation[] = [{ space, key, value }];
      for (const spaces of [state.synced, state.live]) spaces.apply(mutations);
    },
  };
  states.set(disk, state);
  return disk;
}

/** Throws when another engine has the disk open: close it, or crash the disk, first. */
export function openMemoryEngine(disk: MemoryDisk, { random, schedule }: MemoryEngineOptions): StorageEngine {
  const state = stateOf(disk);
  if (state.session !== undefined) {
    throw new Error('the disk is in use by another engine');
  }
  const session: Session = { pending: [], failure: undefined };
  state.session = session;
  let lineage = state.cleanLineage ?? random.u64();
  state.cleanLineage = undefined;
  const at: DiskSchedule = schedule ?? ((_action, run) => queueMicrotask(run));
  let closing: Promise<void> | undefined;

  /** `work` runs when the schedule says, unless the disk has crashed by then. */
  function read<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (closing !== undefined) {
        reject(engineClosed());
        return;
      }
      at('read', () => {
        if (state.session === session) {
          resolve(work());
        }
      });
    });
  }

  function write(mutations: readonly Mutation[], sync: boolean): Promise<void> {
    // Copied, as every engine must: the bytes are often views into buffers that are used again.
    const owned = mutations.map(({ space, key, prefix, value }) => {
      return { space, key: copy(key), value: value && joined(prefix, value) };
    });
    return new Promise((resolve, reject) => {
      if (session.failure !== undefined) {
        reject(session.failure);
        return;
      }
      const pending: PendingWrite = { mutations: owned, sync, resolve, reject, ready: false };
      session.pending.push(pending);
      at(sync ? 'sync' : 'write', () => {
        pending.ready = true;
        settleReady(state, session);
      });
    });
  }

  return {
    get lineage() {
      return lineage;
    },

    renewLineage() {
      lineage = random.u64();
    },

    get isIncomplete() {
      return state.incomplete;
    },

    // Its disk loses what is damaged while nobody has it open (`lose`).
    isDamaged: false,

    async complete() {
      state.incomplete = false;
    },

    getMany(space, keys) {
      return read(() => keys.map((key) => state.live.get(space, key)));
    },
    write(mutations, sync) {
      return closing === undefined ? write(mutations, sync) : Promise.reject(engineClosed());
    },
    scan(space, start, end, limit) {
      return limit < 1
        ? Promise.reject(new RangeError(`a page of ${limit} entries was asked for, at least 1 is wanted`))
        : read(() => state.live.scan(space, start, end, limit));
    },
    stats() {
      const freeBytes = Number.POSITIVE_INFINITY;
      return { keysEstimated: state.live.count('records'), diskBytes: state.live.bytes(), freeBytes };
    },
    close() {
      if (closing === undefined) {
        const synced = write([], true);
        closing = synced.then(
          () => {
            if (state.session === session) {
              state.cleanLineage = lineage;
              state.session = undefined;
            }
          },
          () => {
            if (state.session === session) {
              state.session = undefined;
            }
          },
        );
      }
      return closing;
    },
  };
}

/** Carries out the writes at the head of the queue that are ready; one that is not holds up those behind it. */
function settleReady(state: DiskState, session: Session): void {
  if (state.session !== session) {
    return;
  }
  if (session.failure !== undefined) {
    // They stay in the queue: what a failed write left on the disk is for the crash to say.
    for (const write of session.pending) {
      write.reject(session.failure);
    }
    return;
  }
  while (session.pending[0]?.ready === true) {
    const write = session.pending.shift();
    if (write === undefined) {
      return;
    }
    state.live.apply(write.mutations);
    state.unsynced.push(write.mutations);
    if (write.sync) {
      for (const mutations of state.unsynced.splice(0)) {
        state.synced.apply(mutations);
      }
    }
    write.resolve();
  }
}

function stateOf(disk: MemoryDisk): DiskState {
  const state = states.get(disk);
  if (state === undefined) {
    throw new Error('not a disk made by createMemoryDisk');
  }
  return state;
}

function copy(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}

function joined(prefix: Uint8Array | undefined, value: Uint8Array): Uint8Array {
  return prefix === undefined ? copy(value) : Uint8Array.from(Buffer.concat([prefix, value]));
}

/** Keys as strings of one character a byte: they compare as the bytes do. */
function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

function keyOf(name: string): Uint8Array {
  return Uint8Array.from(Buffer.from(name, 'latin1'));
}

/** The spaces as sorted maps. Values are never changed in place, so clones share them. */
class SortedSpaces {
  readonly #values = Object.fromEntries(SPACES.map((space) => [space, new Map()])) as Record<
    Space,
    Map<string, Uint8Array>
  >;
  /** The names in order; undefined since a key came or went. */
  readonly #names: Partial<Record<Space, string[]>> = {};

  apply(mutations: readonly Mutation[]): void {
    for (const { space, key, value } of mutations) {
      const values = this.#values[space];
      const name = nameOf(key);
      if (value === undefined ? values.has(name) : !values.has(name)) {
        delete this.#names[space];
      }
      if (value === undefined) {
        values.delete(name);
      } else {
        values.set(name, value);
      }
    }
  }

  get(space: Space, key: Uint8Array): Uint8Array | undefined {
    const value = this.#values[space].get(nameOf(key));
    return value && copy(value);
  }

  scan(space: Space, start: Uint8Array, end: Uint8Array | undefined, limit: number): ScanPage {
    const values = this.#values[space];
    this.#names[space] ??= [...values.keys()].sort();
    const names = this.#names[space];
    const from = lowerBound(names, nameOf(start));
    const to = end === undefined ? names.length : lowerBound(names, nameOf(end));
    const page = names.slice(from, Math.max(from, Math.min(to, from + limit)));
    const next = from + limit < to ? names[from + limit] : undefined;
    return {
      entries: page.map((name) => [keyOf(name), copy(values.get(name) ?? new Uint8Array())] as const),
      next: next === undefined ? undefined : keyOf(next),
    };
  }

  clear(space: Space): void {
    this.#values[space].clear();
    delete this.#names[space];
  }

  count(space: Space): number {
    return this.#values[space].size;
  }

  bytes(): number {
    let bytes = 0;
    for (const values of Object.values(this.#values)) {
      for (const [name, value] of values) {
        bytes += name.length + value.length;
      }
    }
    return bytes;
  }

  clone(): SortedSpaces {
    const clone = new SortedSpaces();
    for (const space of SPACES) {
      for (const [name, value] of this.#values[space]) {
        clone.#values[space].set(name, value);
      }
    }
    return clone;
  }
}

/** Where `name` is in the sorted `names`, or would be. */
function lowerBound(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] as string) < name) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
