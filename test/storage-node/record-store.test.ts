/** The overlay with group commit, over the memory engine, whose reads and writes happen when the test says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { createRecordCodec } from '../../services/core/codec/record.ts';
import { Failure } from '../../services/core/failure.ts';
import type { Mutation, StorageEngine } from '../../services/core/ports.ts';
import { emptyContext, printDot } from '../../services/core/versioning/causal-context.ts';
import { merge } from '../../services/core/versioning/record.ts';
import { applyPut } from '../../services/core/versioning/write.ts';
import { checksum32 } from '../../services/platform/hash.ts';
import { createMemoryDisk, type DiskAction, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import {
  type BufferLimits,
  beside,
  bufferLimits,
  type Changed,
  createRecordStore,
  type Held,
  type Next,
  nothingHeld,
  overlayBytesMax,
} from '../../services/storage-node/record-store.ts';
import { createRequestTable } from '../../services/storage-node/request-table.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { createReadableMetrics } from './metrics.ts';

const codec = createRecordCodec(checksum32);
const k = Buffer.from('0123456789:key');
const other = Buffer.from('0123456789:other');

interface Setup {
  /** Engine actions wait for `release`; otherwise they happen by themselves. */
  readonly manual?: boolean;
  readonly cacheBytesMax?: number;
  readonly buffer?: Partial<BufferLimits>;
  wrap?(engine: StorageEngine): StorageEngine;
  admitFlush?(records: number, bytes: number, withinMs: number): number;
}

function setup({ manual = false, cacheBytesMax = 0, buffer = {}, wrap = (engine) => engine, admitFlush }: Setup = {}) {
  const clock = createManualClock();
  const disk = createMemoryDisk();
  const waiting: { action: DiskAction; run: () => void }[] = [];
  let drawn = 0n;
  const random = { u64: () => ++drawn, below: () => 0 };
  const memory = openMemoryEngine(disk, {
    random,
    ...(manual && { schedule: (action: DiskAction, run: () => void) => waiting.push({ action, run }) }),
  });
  const writes: { mutations: number; sync: boolean }[] = [];
  const reads: number[] = [];
  const engine = wrap({
    ...memory,
    write(mutations, sync) {
      writes.push({ mutations: mutations.length, sync });
      return memory.write(mutations, sync);
    },
    getMany(space, keys) {
      reads.push(keys.length);
      return memory.getMany(space, keys);
    },
  });
  const metrics = createReadableMetrics();
  const failures: unknown[] = [];
  const store = createRecordStore({
    engine,
    codec,
    metrics,
    cacheBytesMax,
    buffer: { ...bufferLimits, ...buffer },
    ...(admitFlush && { admitFlush }),
    now: () => clock.now(),
    after: (ms, run) => clock.after(ms, run),
    endOfTurn: (run) => setImmediate(run),
    wallNowMs: () => 0,
    onFailure: (error) => failures.push(error),
  });
  const minting = { lineage: 7n, newActor: random.u64 };
  const plainPut = {
    ...{ context: emptyContext, requestId: new Uint8Array(0), writtenAtMs: 0, ttlMs: 0, lastWriterWins: false },
  };

  /** Blind: each one leaves a sibling more. */
  function add(key: Uint8Array, text: string, sync = true): Promise<Changed> {
    return store.change(key, (held) => added(held, text), sync);
  }

  function addBuffered(key: Uint8Array, text: string): Promise<Changed> {
    return store.change(key, (held) => added(held, text), false, true);
  }

  function added({ birth, owed, record }: Held, text: string): Next {
    const write = { ...plainPut, value: Buffer.from(text) };
    const { copy } = applyPut({ birth, record }, write, minting);
    return { copy: { ...copy, owed, bytes: codec.encode(copy.record) } };
  }

  /** Lets waiting engine actions happen, all of those there are now. */
  async function release(): Promise<void> {
    await nextTurn();
    for (const { run } of waiting.splice(0)) run();
    await nextTurn();
  }

  async function releaseAll(): Promise<void> {
    for (let i = 0; i < 50; i++) await release();
    assert.equal(waiting.length, 0);
  }

  /** The values of a key, however long the engine would wait. */
  async function valuesNow(key: Uint8Array): Promise<string[]> {
    const [bytes] = await Promise.all([store.read(key), releaseAll()]);
    return valuesOf(bytes);
  }

  return {
    clock,
    disk,
    memory,
    store,
    metrics,
    addBuffered,
    failures,
    writes,
    reads,
    waiting,
    add,
    added,
    release,
    releaseAll,
    valuesNow,
  };
}

/** Values of a record's encoding, in the order of their dots. */
function valuesOf(bytes: Uint8Array | undefined): string[] {
  if (bytes === undefined) return [];
  return codec.decode(bytes).siblings.map(({ value }) => Buffer.from(value).toString());
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const failure = await promise.then(
    () => assert.fail('a failure was expected'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof Failure, `${failure}`);
  return failure;
}

test('I1: two changes of a key whose first read is still pending both count', async () => {
  const { add, releaseAll, valuesNow, memory, reads } = setup({ manual: true });
  const first = add(k, 'a');
  await nextTurn();
  const second = add(k, 'b');
  await nextTurn();
  const third = add(k, 'c');
  await releaseAll();
  await Promise.all([first, second, third]);
  assert.deepEqual(reads, [1]);
  assert.deepEqual(await valuesNow(k), ['a', 'b', 'c']);
  const stored = memory.getMany('records', [k]);
  await releaseAll();
  assert.deepEqual(valuesOf(codec.decodeStored((await stored)[0] as Uint8Array).bytes), ['a', 'b', 'c']);
});

test('changes of a key are decided in the order they came', async () => {
  const { store, added, releaseAll } = setup({ manual: true });
  const order: number[] = [];
  const done = Array.from({ length: 20 }, (_, i) =>
    store.change(
      k,
      (held) => {
        order.push(i);
        return added(held, `${i}`);
      },
      true,
    ),
  );
  await releaseAll();
  await Promise.all(done);
  assert.deepEqual(order, [...Array(20).keys()]);
});

test('I2: a change can be read as soon as it has resolved, before anything is written', async () => {
  const { store, add, release, waiting } = setup({ manual: true });
  const change = add(k, 'a');
  await release();
  await change;
  assert.deepEqual(valuesOf(await store.read(k)), ['a']);
  await nextTurn();
  assert.deepEqual(
    waiting.map(({ action }) => action),
    ['sync'],
    'the write has not happened yet',
  );
});

test('a read that finds a change waiting for its own read sees what that one leaves', async () => {
  const { store, add, release } = setup({ manual: true });
  const change = add(k, 'a');
  const read = store.read(k);
  await release();
  await change;
  assert.ok(valuesOf(await read).length <= 1, 'before or after the change');
  assert.deepEqual(valuesOf(await store.read(k)), ['a']);
});

test('reads of one turn become one question to the engine', async () => {
  const { store, reads, add } = setup();
  const [, , , , absent] = await Promise.all([
    store.read(Buffer.from('key number 1')),
    store.read(Buffer.from('key number 2')),
    add(k, 'a'),
    add(other, 'b'),
    store.read(Buffer.from('key number 3')),
  ]);
  assert.equal(absent, undefined);
  assert.deepEqual(reads, [5]);
});

test('changes of one turn are one batch, and while it is written the next one gathers', async () => {
  const { add, writes, releaseAll, release } = setup({ manual: true });
  const early = [add(k, 'a'), add(other, 'b'), add(k, 'c')];
  await release();
  await Promise.all(early);
  await nextTurn();
  assert.deepEqual(writes, [{ mutations: 2, sync: true }]);
  const late: Promise<Changed>[] = [];
  for (const text of ['d', 'e', 'f']) {
    late.push(add(k, text), add(other, text));
    await nextTurn();
  }
  assert.equal(writes.length, 1, 'the first is being written still');
  await releaseAll();
  await Promise.all(late);
  assert.deepEqual(writes, [
    { mutations: 2, sync: true },
    { mutations: 2, sync: true },
  ]);
});

test('a batch is synced where one of its changes asks for that, and only then', async () => {
  const { add, writes } = setup();
  await (await add(k, 'a', false)).committed;
  const both = await Promise.all([add(k, 'b', false), add(other, 'c', true)]);
  await Promise.all(both.map(({ committed }) => committed));
  assert.deepEqual(
    writes.map(({ sync }) => sync),
    [false, true],
  );
});

test('I3: what is committed with a sync survives the crash of the disk, and committed is never said before', async () => {
  const { disk, add, release } = setup({ manual: true });
  let committed = false;
  const change = add(k, 'a');
  await release();
  (await change).committed.then(() => {
    committed = true;
  });
  await nextTurn();
  assert.equal(committed, false);
  await release();
  assert.equal(committed, true);
  disk.crash();
  const again = openMemoryEngine(disk, { random: { u64: () => 1n, below: () => 0 } });
  const [stored] = await again.getMany('records', [k]);
  assert.deepEqual(valuesOf(codec.decodeStored(stored as Uint8Array).bytes), ['a']);
});

const changeNothing = () => undefined;

test('I3: a synced change that changes nothing is committed at once where all is on disk', async () => {
  const { store, add, writes } = setup();
  await (await add(k, 'a', true)).committed;
  await (await store.change(k, changeNothing, true)).committed;
  assert.equal(writes.length, 1);
});

test('I3: a synced change that changes nothing joins the synced batch that its record is in', async () => {
  const { store, add, writes, release, releaseAll } = setup({ manual: true });
  const change = add(k, 'a', true);
  await release();
  const { committed } = await change;
  const nothing = await store.change(k, changeNothing, true);
  assert.equal(nothing.committed, committed);
  await releaseAll();
  await nothing.committed;
  assert.equal(writes.length, 1);
});

test('I3: a synced change that changes nothing waits for a sync where its record was written without one', async () => {
  const { store, disk, add, writes } = setup();
  await (await add(k, 'a', false)).committed;
  assert.equal(disk.uncertainWrites, 1);
  await (await store.change(k, changeNothing, true)).committed;
  assert.equal(disk.uncertainWrites, 0);
  assert.deepEqual(
    writes.map(({ sync }) => sync),
    [false, true],
  );
});

test('I3: a synced change that changes nothing waits for a sync where its record is being written without one', async () => {
  const { store, disk, add, release, releaseAll } = setup({ manual: true });
  const change = add(k, 'a', false);
  await release();
  await change;
  await nextTurn();
  const { committed } = await store.change(k, changeNothing, true);
  let done = false;
  committed.then(() => {
    done = true;
  });
  await release();
  assert.equal(done, false, 'the unsynced write has happened, and no sync');
  await releaseAll();
  await committed;
  assert.equal(disk.uncertainWrites, 0);
});

test('an unsynced change that changes nothing waits for its record to be written, not for a sync', async () => {
  const { store, add, writes, release, releaseAll } = setup({ manual: true });
  const change = add(k, 'a', false);
  await release();
  await change;
  const { committed } = await store.change(k, changeNothing, false);
  await releaseAll();
  await committed;
  assert.deepEqual(writes, [{ mutations: 1, sync: false }]);
});

test('a decision that throws rejects its change, changes nothing, and leaves nothing in the overlay', async () => {
  const { store, metrics, writes, add } = setup();
  const refuse = () => {
    throw new Failure('REQUEST_ID_REUSED', 'no');
  };
  assert.equal((await failureOf(store.change(k, refuse, true))).reason, 'REQUEST_ID_REUSED');
  assert.deepEqual([store.overlayBytes, metrics.valueOf('cartwheel_overlay_records')], [0, 0]);
  const [, refused, after] = await Promise.allSettled([add(k, 'a'), store.change(k, refuse, true), add(k, 'b')]);
  assert.equal(refused.status, 'rejected');
  assert.equal(after.status, 'fulfilled');
  assert.deepEqual(valuesOf(await store.read(k)), ['a', 'b']);
  await store.close();
  assert.ok(writes.length >= 1);
});

test('a key that is only looked at is written by nobody and forgotten', async () => {
  const { store, metrics, writes } = setup();
  const { held, committed } = await store.change(k, changeNothing, true);
  await committed;
  assert.equal(held.bytes, undefined);
  assert.deepEqual(writes, []);
  assert.equal(metrics.valueOf('cartwheel_overlay_records'), 0);
});

test('the bytes of the overlay are what its records have, and 0 when all is written', async () => {
  const { store, metrics, add, release, releaseAll } = setup({ manual: true });
  const changes = [add(k, 'a'.repeat(1_000)), add(other, 'b'.repeat(500)), add(k, 'c'.repeat(300))];
  await release();
  const held = await Promise.all(changes);
  const bytes = (held[2]?.held.bytes?.length ?? 0) + (held[1]?.held.bytes?.length ?? 0);
  assert.equal(store.overlayBytes, bytes);
  assert.equal(metrics.valueOf('cartwheel_overlay_bytes'), bytes);
  assert.equal(metrics.valueOf('cartwheel_overlay_records'), 2);
  await releaseAll();
  assert.deepEqual([store.overlayBytes, metrics.valueOf('cartwheel_overlay_records')], [0, 0]);
});

/** About 8 MiB, made once. */
function large({ birth, owed, record }: Held, i: number): Next {
  const dot = { actor: 1n, counter: 1 };
  const sibling = { dot, requestId: new Uint8Array(0), writtenAtMs: i, value: new Uint8Array(8 * 1024 * 1024) };
  const next = merge(record, { clock: [{ actor: 1n, upTo: 1, detached: [], height: 1 }], siblings: [sibling] });
  return { copy: { birth, owed, record: next, bytes: new Uint8Array(8 * 1024 * 1024) } };
}

test('I5: beyond the cap a change is refused with OVERLOADED and the numbers, and taken again when there is room', async () => {
  const { store, releaseAll, release, add } = setup({ manual: true });
  const changes: Promise<Changed>[] = [];
  for (let i = 0; i < 12; i++) {
    changes.push(store.change(Buffer.from(`large key ${i}`), (held) => large(held, i), true));
    changes.at(-1)?.catch(() => {});
    await release();
  }
  assert.ok(store.overlayBytes <= overlayBytesMax, `${store.overlayBytes}`);
  const settled = await Promise.allSettled(changes);
  const refused = settled
    .filter(({ status }) => status === 'rejected')
    .map((one) => (one as PromiseRejectedResult).reason);
  // Batches are written in between, so how many is not said here; the next test has the exact number.
  for (const failure of refused) assert.equal(failure.reason, 'OVERLOADED');
  await releaseAll();
  const after = add(k, 'a');
  await releaseAll();
  await (await after).committed;
});

test('I5: changes that all wait for their first read do not get past the cap together', async () => {
  const { store, release, releaseAll } = setup({ manual: true });
  const changes = Array.from({ length: 12 }, (_, i) =>
    store.change(Buffer.from(`large key ${i}`), (held) => large(held, i), true),
  );
  const settled = Promise.allSettled(changes);
  await release();
  assert.ok(store.overlayBytes <= overlayBytesMax, `${store.overlayBytes} bytes, the limit is ${overlayBytesMax}`);
  const refused = (await settled).filter((one) => one.status === 'rejected').map(({ reason }) => reason as Failure);
  assert.equal(refused.length, 4);
  for (const failure of refused) {
    assert.equal(failure.reason, 'OVERLOADED');
    assert.equal(failure.outcome, 'NOT_APPLIED');
    assert.ok((failure.details.retryAfterMs ?? 0) > 0);
    assert.match(failure.message, /the limit is 67108864/);
  }
  await releaseAll();
  assert.equal(store.overlayBytes, 0);
});

test('a request is counted as remembered with its write, and not where that is refused', async () => {
  const { store, memory, releaseAll } = setup({ manual: true });
  const counts = createReadableMetrics();
  const requests = createRequestTable(memory, counts, 1_000);
  const dot = { actor: 7n, counter: 1 };
  const changes = Array.from({ length: 12 }, (_, i) => {
    const key = Buffer.from(`large key ${i}`);
    const id = Buffer.from(`request ${i}`);
    return store.change(key, (held) => beside(large(held, i), () => requests.remember(key, { id, dot })), true);
  });
  const settled = Promise.allSettled(changes);
  await releaseAll();
  assert.equal((await settled).filter(({ status }) => status === 'rejected').length, 4);
  const found = memory.scan('requests', new Uint8Array(0), undefined, 100);
  await releaseAll();
  assert.equal((await found).entries.length, 8);
  assert.equal(counts.valueOf('cartwheel_requests_remembered'), 8);
});

test('a failed write rejects all that waits and comes, once says so, and closing does not wait for it', async () => {
  const { disk, store, add, failures, release } = setup({ manual: true });
  const first = add(k, 'a');
  await release();
  const { committed } = await first;
  await nextTurn();
  const gathered = await add(k, 'b');
  const waiting = failureOf(add(other, 'c'));
  const told = [committed, gathered.committed].map(failureOf);
  disk.failWrites(new Error('EIO'));
  for (const failure of await Promise.all(told)) {
    assert.equal(failure.reason, 'STORAGE_FAILED');
    assert.equal(failure.outcome, 'UNKNOWN');
    assert.match(failure.message, /EIO/);
  }
  await release();
  assert.equal((await waiting).reason, 'STORAGE_FAILED');
  assert.equal((await failureOf(add(k, 'd'))).reason, 'STORAGE_FAILED');
  assert.equal(failures.length, 1);
  await store.close();
});

test('a store that is closed refuses changes as draining, waits for those before, and still reads', async () => {
  const { store, add, writes, release, releaseAll, valuesNow } = setup({ manual: true });
  const before = add(k, 'a');
  await release();
  await before;
  const waiting = failureOf(add(other, 'b'));
  const closed = store.close();
  assert.equal((await failureOf(add(k, 'c'))).reason, 'DRAINING');
  await releaseAll();
  await closed;
  assert.equal((await waiting).reason, 'DRAINING');
  assert.deepEqual(writes, [{ mutations: 1, sync: true }]);
  assert.deepEqual(await valuesNow(k), ['a']);
});

test('a read that fails rejects those who waited for it, and the next change asks again', async () => {
  let failing = true;
  const { store, add, metrics } = setup({
    wrap: (engine) => ({
      ...engine,
      getMany: (space, keys) => (failing ? Promise.reject(new Error('EIO')) : engine.getMany(space, keys)),
    }),
  });
  const told = [add(k, 'a'), add(k, 'b'), store.read(other)].map(failureOf);
  for (const failure of await Promise.all(told)) {
    assert.deepEqual([failure.reason, failure.outcome], ['STORAGE_FAILED', 'NOT_APPLIED']);
  }
  assert.deepEqual([store.overlayBytes, metrics.valueOf('cartwheel_overlay_records')], [0, 0]);
  failing = false;
  await (await add(k, 'c')).committed;
  assert.deepEqual(valuesOf(await store.read(k)), ['c']);
});

test('P12: a record that the engine cannot read spoils none of those that are read with it', async () => {
  const keys = [1, 2, 3, 4].map((n) => Uint8Array.of(n));
  const isBad = (key: Uint8Array) => key[0] === 3;
  const { store, add } = setup({
    wrap: (engine) => ({
      ...engine,
      getMany: (space, asked) =>
        asked.some(isBad) ? Promise.reject(new Error('block checksum mismatch')) : engine.getMany(space, asked),
    }),
  });
  const good = keys.filter((key) => !isBad(key));
  for (const key of good) await (await add(key, 'v')).committed;
  const read = await Promise.allSettled(keys.map((key) => store.read(key)));
  for (const [i, key] of keys.entries()) assert.equal(read[i]?.status, isBad(key) ? 'rejected' : 'fulfilled');
  const changed = await Promise.allSettled(keys.map((key) => add(key, 'w')));
  for (const [i, key] of keys.entries()) assert.equal(changed[i]?.status, isBad(key) ? 'rejected' : 'fulfilled');
});

for (const [what, at] of [
  ['the birth before the record', 0],
  ['the record', 22],
] as const) {
  test(`P12: bytes on the disk with a flipped bit in ${what} are neither merged into nor served, and are counted`, async () => {
    const { store, memory, metrics, add } = setup();
    await (await add(k, 'a')).committed;
    const [stored] = await memory.getMany('records', [k]);
    const damaged = Uint8Array.from(stored as Uint8Array);
    damaged[at] = (damaged[at] as number) ^ 64;
    await memory.write([{ space: 'records', key: k, value: damaged }], true);
    const failure = await failureOf(add(k, 'b'));
    assert.deepEqual([failure.reason, failure.outcome], ['STORAGE_FAILED', 'NOT_APPLIED']);
    assert.equal(metrics.valueOf('cartwheel_corrupt_records_total'), 1);
    assert.deepEqual([store.overlayBytes, metrics.valueOf('cartwheel_overlay_records')], [0, 0]);
    // A read gives bytes as they are: whoever decodes them sees their checksum.
    const bytes = await store.read(k).catch((error: unknown) => {
      assert.ok(error instanceof Failure && error.reason === 'STORAGE_FAILED');
      return undefined;
    });
    if (bytes !== undefined) assert.throws(() => codec.decode(bytes), /checksum/);
    assert.deepEqual((await memory.getMany('records', [k]))[0], damaged, 'what is there is left for repair');
  });
}

test('P12, I8: what is not whole stays so where there was no room for what was to come into its place', async () => {
  const { promise: written, resolve: write } = Promise.withResolvers<void>();
  const { store, memory, add, added } = setup({
    cacheBytesMax: 1_000_000,
    wrap: (engine) => ({ ...engine, write: (...what) => written.then(() => engine.write(...what)) }),
  });
  await memory.write([{ space: 'records', key: k, value: Buffer.from('not whole') }], true);
  const { committed } = await add(other, 'v'.repeat(overlayBytesMax - 1_000));
  const { record } = added(nothingHeld, 'w'.repeat(2_000)).copy as Held;
  const restored = { record, owed: [], also: [] };
  assert.equal((await failureOf(store.restore(k, restored))).reason, 'OVERLOADED');
  assert.equal((await failureOf(store.read(k))).reason, 'STORAGE_FAILED');
  assert.equal((await failureOf(add(k, 'b'))).reason, 'STORAGE_FAILED');
  write();
  await committed;
  assert.equal(await store.restore(k, restored), true);
  assert.deepEqual(valuesOf(await store.read(k)), ['w'.repeat(2_000)]);
});

test('with a cache, a record used lately is read without the engine, and is what was written last', async () => {
  const { store, add, reads } = setup({ cacheBytesMax: 1_000_000 });
  await (await add(k, 'a')).committed;
  await (await add(k, 'b')).committed;
  assert.deepEqual(valuesOf(await store.read(k)), ['a', 'b']);
  assert.equal(await store.read(other), undefined);
  assert.equal(await store.read(other), undefined);
  assert.deepEqual(reads, [1, 1]);
});

test('the cache holds no more bytes than it was given, whatever it is given', async () => {
  const { add, metrics } = setup({ cacheBytesMax: 300_000 });
  let most = 0;
  for (let i = 0; i < 200; i++) {
    await (await add(Buffer.from(`cached key ${i}`), 'v'.repeat((i * 7_919) % 130_000))).committed;
    most = Math.max(most, metrics.valueOf('cartwheel_record_cache_bytes'));
  }
  assert.ok(most > 100_000 && most <= 300_000, `${most} bytes`);
});

type Command =
  | { readonly kind: 'add' | 'read' | 'look'; readonly key: number; readonly sync: boolean }
  | { readonly kind: 'release'; readonly key: number; readonly sync: boolean }
  | { readonly kind: 'turn'; readonly key: number; readonly sync: boolean };

const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(
      'add' as const,
      'add' as const,
      'read' as const,
      'look' as const,
      'release' as const,
      'release' as const,
      'turn' as const,
    ),
    key: fc.nat(2),
    sync: fc.boolean(),
  }),
  { maxLength: 60, size: 'max' },
);

for (const cacheBytesMax of [0, 2_000, 1_000_000]) {
  test(`no change is lost and no read goes back, in any order of reads, writes and turns (cache of ${cacheBytesMax})`, async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const { disk, store, add, waiting, releaseAll, metrics } = setup({ manual: true, cacheBytesMax });
        /** By key: what every read from now on must show, and what a crash must leave. */
        const visible = [new Set<string>(), new Set<string>(), new Set<string>()];
        const durable = [new Set<string>(), new Set<string>(), new Set<string>()];
        const keys = [k, other, Buffer.from('0123456789:third')];
        const all: Promise<unknown>[] = [];
        let count = 0;
        for (const { kind, key, sync } of list) {
          const name = keys[key] as Buffer;
          const seen = visible[key] as Set<string>;
          if (kind === 'add') {
            const text = `value ${++count}`;
            all.push(
              add(name, text, sync).then(async ({ committed }) => {
                seen.add(text);
                await committed;
                if (sync) durable[key]?.add(text);
              }),
            );
          } else if (kind === 'read') {
            const atLeast = new Set(seen);
            all.push(store.read(name).then((bytes) => assertHolds(valuesOf(bytes), atLeast)));
          } else if (kind === 'look') {
            const atLeast = new Set(seen);
            all.push(
              store.change(name, changeNothing, sync).then(async ({ held, committed }) => {
                const values = valuesOf(held.bytes);
                assertHolds(values, atLeast);
                await committed;
                if (sync) for (const value of values) durable[key]?.add(value);
              }),
            );
          } else if (kind === 'release') {
            // One of those that wait; the engine keeps writes in order.
            const [one] = waiting.splice(key % Math.max(1, waiting.length), 1);
            one?.run();
          } else {
            await nextTurn();
          }
        }
        // The power goes: what was said to be on disk is on disk.
        const atCrash = durable.map((values) => new Set(values));
        const check = () =>
          Promise.all(
            keys.map(async (name, i) =>
              assertHolds(valuesOf(await readNow(store.read(name))), visible[i] as Set<string>),
            ),
          );
        const readNow = async (read: Promise<Uint8Array | undefined>) => {
          const [bytes] = await Promise.all([read, releaseAll()]);
          return bytes;
        };
        if (list.length % 2 === 0) {
          disk.crash();
          const again = openMemoryEngine(disk, { random: { u64: () => 99n, below: () => 0 } });
          const left = await again.getMany('records', keys);
          for (const [i, stored] of left.entries()) {
            assertHolds(valuesOf(stored && codec.decodeStored(stored).bytes), atCrash[i] as Set<string>);
          }
          return;
        }
        await releaseAll();
        await Promise.all(all);
        await check();
        assert.deepEqual([store.overlayBytes, metrics.valueOf('cartwheel_overlay_records')], [0, 0]);
      }),
      { numRuns: 60 },
    );
  });
}

function assertHolds(values: readonly string[], wanted: ReadonlySet<string>): void {
  const missing = [...wanted].filter((value) => !values.includes(value));
  assert.deepEqual(missing, []);
}

test('what is stored is the birth and the record of the last change', async () => {
  const { add, memory } = setup();
  const first = await add(k, 'a');
  const second = await add(k, 'b');
  await second.committed;
  const [stored] = await memory.getMany('records', [k]);
  const { held } = second;
  assert.deepEqual(
    Buffer.from(stored as Uint8Array),
    Buffer.concat([codec.encodeNotes(held), held.bytes as Uint8Array]),
  );
  assert.equal(held.birth?.actor, first.held.birth?.actor);
  assert.deepEqual(
    held.record.siblings.map(({ dot }) => printDot(dot)),
    [1, 2].map((counter) => printDot({ actor: held.birth?.actor as bigint, counter })),
  );
});

/** Whether it has resolved by the end of this turn. */
async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await nextTurn();
  return done;
}

test('a buffered change is acknowledged and read at once, and on disk when its time has come', async () => {
  const { clock, disk, store, addBuffered, writes, metrics, memory } = setup();
  const { committed } = await addBuffered(k, 'a');
  assert.ok(await isDone(committed));
  assert.deepEqual(valuesOf(await store.read(k)), ['a']);
  await addBuffered(other, 'b');
  assert.deepEqual([writes.length, store.pendingRecords], [0, 2]);
  clock.advance(bufferLimits.flushAfterMs - 1);
  await nextTurn();
  assert.deepEqual(writes, []);
  assert.equal(metrics.valueOf('cartwheel_unsynced_records'), 2);
  assert.equal(metrics.valueOf('cartwheel_unsynced_age_seconds'), 0.099);
  clock.advance(1);
  await nextTurn();
  await nextTurn();
  assert.deepEqual(writes, [{ mutations: 2, sync: true }]);
  assert.deepEqual(
    [store.pendingRecords, metrics.valueOf('cartwheel_unsynced_age_seconds'), disk.uncertainWrites],
    [0, 0, 0],
  );
  const [stored] = await memory.getMany('records', [k]);
  assert.deepEqual(valuesOf(codec.decodeStored(stored as Uint8Array).bytes), ['a']);
  clock.advance(1_000);
  await nextTurn();
  assert.equal(writes.length, 1, 'nothing is left to do');
});

test('I3: a change that asks for a sync takes the buffer with it, whatever key it is of', async () => {
  const { addBuffered, add, writes, disk, store } = setup();
  await addBuffered(k, 'a');
  await addBuffered(other, 'b');
  const { committed } = await add(other, 'c');
  await committed;
  assert.deepEqual(writes, [{ mutations: 2, sync: true }]);
  assert.equal(disk.uncertainWrites, 0);
  assert.deepEqual(valuesOf(await store.read(other)), ['b', 'c']);
});

test('I3: a change that changes nothing and asks for a sync has the buffered one before it synced', async () => {
  const { addBuffered, store, writes, disk } = setup();
  await addBuffered(k, 'a');
  const { committed } = await store.change(k, () => undefined, true);
  await committed;
  assert.deepEqual(writes, [{ mutations: 1, sync: true }]);
  assert.equal(disk.uncertainWrites, 0);
});

test('what was acknowledged from memory is synced even where it is written with an unsynced change', async () => {
  const { addBuffered, add, writes } = setup();
  await addBuffered(k, 'a');
  await (await add(other, 'b', false)).committed;
  assert.deepEqual(writes, [{ mutations: 2, sync: true }]);
});

test('what was written without a sync is synced before long', async () => {
  const { clock, add, writes, metrics, disk } = setup();
  await (await add(k, 'a', false)).committed;
  assert.deepEqual(writes, [{ mutations: 1, sync: false }]);
  assert.equal(metrics.valueOf('cartwheel_unsynced_records'), 1);
  clock.advance(bufferLimits.flushAfterMs);
  await nextTurn();
  await nextTurn();
  assert.deepEqual([metrics.valueOf('cartwheel_unsynced_records'), disk.uncertainWrites], [0, 0]);
});

test('a flush that asks for a sync has what was written without one on the disk, and writes nothing where it is there', async () => {
  const { add, addBuffered, store, writes, disk } = setup();
  await (await add(k, 'a', false)).committed;
  await store.flush();
  assert.deepEqual(writes, [{ mutations: 1, sync: false }]);
  await store.flush({ sync: true });
  assert.equal(disk.uncertainWrites, 0);
  await add(k, 'b', false);
  await addBuffered(other, 'c');
  await store.flush({ sync: true });
  assert.equal(disk.uncertainWrites, 0);
  const written = writes.length;
  await store.flush({ sync: true });
  assert.equal(writes.length, written);
});

test('a flush that asks for a sync begins no batch once the store is closed', async () => {
  const { add, store, writes } = setup();
  await (await add(k, 'a', false)).committed;
  await store.close();
  await assert.rejects(store.flush({ sync: true }), { reason: 'DRAINING' });
  await nextTurn();
  assert.equal(writes.length, 1);
});

test('a flush that asks for a sync waits for one after the batch that is being written without', async () => {
  const { add, store, writes, releaseAll, release } = setup({ manual: true });
  const change = add(k, 'a', false);
  await release(); // its read
  await change;
  await nextTurn();
  assert.deepEqual(writes, [{ mutations: 1, sync: false }]);
  const flushed = store.flush({ sync: true });
  await release();
  assert.equal(await isDone(flushed), false);
  await releaseAll();
  await flushed;
  assert.deepEqual(writes[1]?.sync, true);
});

test('half a buffer is written at once, and meanwhile there is room for the other half', async () => {
  const { addBuffered, releaseAll, waiting, store } = setup({ manual: true, buffer: { recordsMax: 10 } });
  const put = async (i: number) => {
    const change = addBuffered(Buffer.from(`12345678:${i}`), 'v');
    await nextTurn();
    while (waiting.some(({ action }) => action === 'read')) {
      const [read] = waiting.splice(
        waiting.findIndex(({ action }) => action === 'read'),
        1,
      );
      read?.run();
      await nextTurn();
    }
    return change;
  };
  const acknowledged: boolean[] = [];
  const all: Promise<void>[] = [];
  for (let i = 0; i < 14; i++) {
    const { committed } = await put(i);
    all.push(committed);
    acknowledged.push(await isDone(committed));
  }
  // Five are being written, five more are in memory; what is beyond waits (I7).
  assert.deepEqual(acknowledged, [...Array(10).fill(true), ...Array(4).fill(false)]);
  assert.equal(store.pendingRecords, 14);
  await releaseAll();
  await Promise.all(all);
  assert.equal(store.pendingRecords, 0);
});

test('the buffer has a bound in bytes too', async () => {
  const { addBuffered, writes } = setup({ buffer: { bytesMax: 1_000 } });
  assert.ok(await isDone((await addBuffered(k, 'x'.repeat(400))).committed));
  assert.deepEqual(writes, []);
  const { committed } = await addBuffered(other, 'x'.repeat(2_000));
  assert.ok(!(await isDone(committed)) || writes.length === 1, 'what does not fit is not acknowledged from memory');
  await committed;
  assert.deepEqual(writes, [{ mutations: 2, sync: true }]);
});

test('a scan sees what the buffer holds', async () => {
  const { addBuffered, store } = setup();
  await addBuffered(k, 'a');
  const { entries } = await store.scan(new Uint8Array(), undefined, 10);
  assert.deepEqual(
    entries.map(([key]) => Buffer.from(key)),
    [k],
  );
});

test('closing writes and syncs what the buffer holds, and nothing is written after it', async () => {
  const { clock, addBuffered, add, store, disk, writes, memory } = setup();
  await addBuffered(k, 'a');
  await store.close();
  assert.deepEqual(writes, [{ mutations: 1, sync: true }]);
  assert.equal(disk.uncertainWrites, 0);
  await memory.close();
  clock.advance(10 * bufferLimits.flushAfterMs);
  await nextTurn();
  assert.equal(writes.length, 1);
  assert.equal((await failureOf(add(k, 'b'))).reason, 'DRAINING');
});

test('a crash loses what only the buffer had, and nothing that was promised', async () => {
  const { disk, add, addBuffered, memory } = setup();
  await (await add(k, 'kept')).committed;
  await addBuffered(k, 'lost');
  const { lineage } = memory;
  disk.crash();
  const reopened = openMemoryEngine(disk, { random: { u64: () => 99n, below: () => 0 } });
  const [stored] = await reopened.getMany('records', [k]);
  assert.deepEqual(valuesOf(codec.decodeStored(stored as Uint8Array).bytes), ['kept']);
  assert.notEqual(reopened.lineage, lineage, 'a lost dot is not minted again: its birth has ended (birth.ts, I1)');
});

test('after a failed flush nothing is acknowledged any more, from memory neither', async () => {
  const { clock, disk, addBuffered, failures } = setup();
  await addBuffered(k, 'a');
  disk.failWrites(new Error('EIO'));
  clock.advance(bufferLimits.flushAfterMs);
  await nextTurn();
  await nextTurn();
  assert.equal(failures.length, 1);
  assert.equal((await failureOf(addBuffered(k, 'b'))).reason, 'STORAGE_FAILED');
});

test('what comes beside a record that stays as it is is written without it, and waited for like a change of it', async () => {
  const { add, store, writes, memory } = setup();
  await (await add(k, 'a')).committed;
  writes.length = 0;
  const note: Mutation = { space: 'meta', key: Buffer.from('note'), value: Buffer.from('1') };
  const { committed } = await store.change(k, () => ({ also: [note] }), false);
  const { committed: seen } = await store.change(k, () => undefined, true);
  await Promise.all([committed, seen]);
  assert.deepEqual(writes, [{ mutations: 1, sync: true }]);
  const [found] = await memory.getMany('meta', [note.key]);
  assert.equal(Buffer.from(found ?? []).toString(), '1');
  assert.deepEqual(valuesOf(await store.read(k)), ['a']);
});

test('what is written beside a record is written once, though a later change begins while it is on its way', async () => {
  const { store, added, release, releaseAll, writes } = setup({ manual: true });
  const note: Mutation = { space: 'meta', key: Buffer.from('note'), value: Buffer.from('1') };
  const first = store.change(k, (held) => ({ ...added(held, 'a'), also: [note] }), true);
  await release();
  await first;
  await nextTurn();
  assert.deepEqual(writes, [{ mutations: 2, sync: true }], 'the record and the note');
  const second = await store.change(k, (held) => ({ copy: { ...held, owed: ['n1'] } }), true);
  await releaseAll();
  await second.committed;
  assert.deepEqual(writes.slice(1), [{ mutations: 2, sync: true }], 'the record and the index of hints');
});

test('a buffer that fills while a batch is written is taken from the budget once, and not put off', async () => {
  const asked: (readonly [number, number])[] = [];
  const { add, addBuffered, releaseAll, waiting } = setup({
    manual: true,
    buffer: { recordsMax: 10 },
    admitFlush(records, _, withinMs) {
      asked.push([records, withinMs]);
      return withinMs;
    },
  });
  const readNow = async () => {
    await nextTurn();
    const read = waiting.findIndex(({ action }) => action === 'read');
    if (read >= 0) waiting.splice(read, 1)[0]?.run();
    await nextTurn();
  };
  const all = [add(Buffer.from('12345678:first'), 'v')];
  await readNow();
  for (let i = 0; i < 9; i++) {
    all.push(addBuffered(Buffer.from(`12345678:${i}`), 'v'));
    await readNow();
  }
  assert.deepEqual(asked, [[5, 0]]);
  const changes = Promise.all(all);
  await releaseAll();
  await Promise.all((await changes).map(({ committed }) => committed));
});
