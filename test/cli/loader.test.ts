import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KeySet } from '../../cli/load/key-set.ts';
import { keyTemplate } from '../../cli/load/key-template.ts';
import { LoadCounts, type LoadOptions, type LoadStore, load, requestIdOf } from '../../cli/load/loader.ts';
import type { SourceRecord } from '../../cli/load/records.ts';
import { VerifyCounts, verify } from '../../cli/load/verify.ts';
import type { GetAnswer, PutAnswer } from '../../client/index.ts';

interface Kept {
  value: Buffer;
  requestId: string;
  dot: number;
}

class Refused extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`refused with ${code}`);
    this.code = code;
  }
}

/** Siblings in a Map; answers in an order that `turns` decides. A context is the highest dot it covers. */
class MapStore implements LoadStore {
  readonly kept = new Map<string, Kept[]>();
  readonly requestIds: string[] = [];
  readonly attempted: (number | undefined)[] = [];
  underWay = 0;
  mostUnderWay = 0;
  refuse: (key: string, attempt: number) => number | undefined = () => undefined;
  /** As a coordinator that has missed the delete: it answers that it has the write. */
  remembers = false;
  private readonly done = new Set<string>();
  private dots = 0;
  private readonly attempts = new Map<string, number>();
  private readonly turns: () => number;

  constructor(turns: () => number = () => 0) {
    this.turns = turns;
  }

  async get(key: string | Uint8Array): Promise<GetAnswer> {
    await this.turn();
    const kept = this.kept.get(String(key)) ?? [];
    const siblings = kept.map(({ value, dot }) => ({ value, dot: String(dot), writtenAt: new Date(0) }));
    const context = Buffer.from(kept.length === 0 ? '' : String(this.dots));
    return { siblings, context, omitted: [], certificate: {} as GetAnswer['certificate'] };
  }

  async put(
    key: string | Uint8Array,
    value: string | Uint8Array,
    options: Parameters<LoadStore['put']>[2] = {},
  ): Promise<PutAnswer> {
    const name = String(key);
    const requestId = Buffer.from(options.requestId ?? []).toString('hex');
    this.requestIds.push(requestId);
    this.attempted.push(options.attempt);
    const attempt = this.attempts.get(name) ?? 0;
    this.attempts.set(name, attempt + 1);
    await this.turn();
    const code = this.refuse(name, attempt);
    if (code !== undefined) throw new Refused(code);
    const covered = options.context === undefined ? 0 : Number(Buffer.from(options.context).toString());
    const left = (this.kept.get(name) ?? []).filter(({ dot }) => dot > covered);
    const known = this.remembers ? this.done.has(requestId) : left.some((other) => other.requestId === requestId);
    this.done.add(requestId);
    if (!known) {
      left.push({ value: Buffer.from(value), requestId, dot: ++this.dots });
    }
    this.kept.set(name, left);
    return {
      context: Buffer.alloc(0),
      siblings: left.length,
      receipt: { acks: [], dot: '', ring: undefined, pendingMissed: [] },
    };
  }

  values(): Record<string, string[]> {
    return Object.fromEntries(
      [...this.kept].map(([key, siblings]) => [key, siblings.map(({ value }) => value.toString())]),
    );
  }

  private async turn(): Promise<void> {
    this.underWay++;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    for (let n = this.turns(); n >= 0; n--) await new Promise((resolve) => setImmediate(resolve));
    this.underWay--;
  }
}

async function* source(records: readonly unknown[]): AsyncGenerator<SourceRecord> {
  for (const [i, value] of records.entries()) yield { number: i + 1, value };
}

const options: LoadOptions = {
  key: keyTemplate('id'),
  concurrency: 8,
  startAfter: 0,
  replace: false,
  readFirst: false,
  nonce: Buffer.from('one load'),
  retryForMs: 60_000,
  operation: {},
  signal: new AbortController().signal,
};

const anotherLoad = { nonce: Buffer.from('another'), readFirst: true };

async function loaded(
  records: readonly unknown[],
  store: MapStore,
  changed: Partial<LoadOptions> = {},
  rejectedBefore = 0,
): Promise<LoadCounts> {
  const counts = new LoadCounts(changed.startAfter ?? 0, rejectedBefore);
  await load(source(records), store, { ...options, ...changed }, counts);
  return counts;
}

test('every record is stored as its compact JSON under its key', async () => {
  const store = new MapStore();
  const counts = await loaded(
    [
      { id: 'a', n: 1.0 },
      { id: 'b', text: 'ü' },
    ],
    store,
  );
  assert.deepEqual(store.values(), { a: ['{"id":"a","n":1}'], b: ['{"id":"b","text":"ü"}'] });
  assert.equal(counts.written, 2);
  assert.equal(counts.watermark.value, 2);
});

test('no more records are under way than asked for', async () => {
  const store = new MapStore();
  await loaded(
    Array.from({ length: 100 }, (_, id) => ({ id })),
    store,
    { concurrency: 5 },
  );
  assert.equal(store.mostUnderWay, 5);
});

test('whatever is answered when, the last record of a key is what is left of it, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ id: fc.nat(6), n: fc.nat(2) }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 16 }),
      fc.infiniteStream(fc.nat(4)),
      async (records, concurrency, turns) => {
        const store = new MapStore(() => turns.next().value);
        const counts = await loaded(records, store, { concurrency });
        const last = Object.fromEntries(records.map((record) => [record.id, [JSON.stringify(record)]]));
        assert.deepEqual(store.values(), last);
        assert.equal(counts.watermark.value, records.length);
        assert.equal(counts.duplicates.count, records.length - Object.keys(last).length);
      },
    ),
    { numRuns: 60 },
  );
});

test('loading the same records again makes no second sibling', async () => {
  const store = new MapStore();
  const records = Array.from({ length: 20 }, (_, id) => ({ id }));
  await loaded(records, store);
  const before = store.values();
  const counts = await loaded(records, store, anotherLoad);
  assert.deepEqual(store.values(), before);
  assert.deepEqual([counts.written, counts.unchanged, counts.withSiblings], [0, 20, 0]);
});

test('a load leaves the value alone that is there beside another one already, and says that there are two', async () => {
  const store = new MapStore();
  await loaded([{ id: 1, n: 1 }], store);
  await loaded([{ id: 1, n: 2 }], store);
  for (let again = 0; again < 3; again++) {
    const counts = await loaded([{ id: 1, n: 2 }], store, anotherLoad);
    assert.deepEqual([counts.written, counts.unchanged, counts.withSiblings], [0, 1, 1]);
  }
  assert.deepEqual(store.values()[1], ['{"id":1,"n":1}', '{"id":1,"n":2}']);
});

test('what was deleted since is written again, though the store still knows the write of the first load', async () => {
  const store = new MapStore();
  store.remembers = true;
  const records = Array.from({ length: 20 }, (_, id) => ({ id }));
  await loaded(records, store);
  store.kept.clear();
  await loaded(records, store, anotherLoad);
  assert.equal(Object.values(store.values()).flat().length, 20);
});

test('a load that goes on writes under the request ids that it began with', async () => {
  const store = new MapStore();
  await loaded([{ id: 1 }, { id: 2 }], store);
  await loaded([{ id: 1 }, { id: 2 }], store);
  assert.deepEqual(store.requestIds.slice(2), store.requestIds.slice(0, 2));
  assert.deepEqual(store.values(), { 1: ['{"id":1}'], 2: ['{"id":2}'] });
});

test('another value of a key becomes a sibling and is counted; --replace writes over both', async () => {
  const store = new MapStore();
  await loaded(
    [
      { id: 1, n: 1 },
      { id: 2, n: 1 },
    ],
    store,
  );
  const blind = await loaded(
    [
      { id: 1, n: 2 },
      { id: 2, n: 1 },
    ],
    store,
  );
  assert.equal(blind.withSiblings, 1);
  assert.deepEqual(store.values()[1], ['{"id":1,"n":1}', '{"id":1,"n":2}']);
  const replacing = await loaded(
    [
      { id: 1, n: 2 },
      { id: 2, n: 1 },
    ],
    store,
    { replace: true },
  );
  assert.deepEqual(store.values(), { 1: ['{"id":1,"n":2}'], 2: ['{"id":2,"n":1}'] });
  assert.deepEqual([replacing.written, replacing.unchanged, replacing.withSiblings], [1, 1, 0]);
});

test('what fails for now is tried again with the same request id, and says so', async () => {
  const store = new MapStore();
  store.refuse = (_, attempt) => (attempt < 2 ? 14 : undefined);
  const counts = await loaded([{ id: 'a' }], store);
  const id = requestIdOf(options.nonce, 'a', Buffer.from('{"id":"a"}')).toString('hex');
  assert.deepEqual(store.requestIds, [id, id, id]);
  assert.deepEqual(store.attempted, [0, 1, 2]);
  assert.deepEqual([counts.written, counts.retries], [1, 2]);
});

test('what fails for good is reported with its number, and the rest is written', async () => {
  const store = new MapStore();
  store.refuse = (key) => (key === 'bad' ? 3 : undefined);
  const counts = await loaded([{ id: 'a' }, { id: 'bad' }, { no: 'key' }, { id: 'b' }], store);
  assert.deepEqual(Object.keys(store.values()), ['a', 'b']);
  assert.equal(counts.rejected.count, 2);
  assert.match(counts.rejected.first.join('\n'), /record 3: field 'id' is missing/);
  assert.match(counts.rejected.first.join('\n'), /record 2 \(bad\): refused with 3/);
  assert.equal(counts.watermark.value, 4, 'they are not tried again by the next run');
});

test('when a record fails for too long the load stops, and the next one goes on before it', async () => {
  const store = new MapStore();
  store.refuse = (key) => (key === '50' ? 14 : undefined);
  const records = Array.from({ length: 100 }, (_, i) => ({ id: i + 1 }));
  const counts = await loaded(records, store, { retryForMs: 0 });
  assert.ok(counts.stoppedBy instanceof Refused);
  assert.equal(counts.watermark.value, 49);
  store.refuse = () => undefined;
  const before = store.requestIds.length;
  const next = await loaded(records, store, { startAfter: counts.watermark.value });
  assert.equal(store.requestIds.length - before, 51);
  assert.equal(next.watermark.value, 100);
  assert.equal(Object.keys(store.values()).length, 100);
  assert.ok(Object.values(store.values()).every((siblings) => siblings.length === 1));
});

test('a load that goes on still counts the records that were rejected before, and none of them twice', async () => {
  const store = new MapStore();
  store.refuse = (key) => (key === '50' ? 14 : key === '60' ? 3 : undefined);
  const records = Array.from({ length: 100 }, (_, i) => (i === 20 || i === 70 ? { no: 'key' } : { id: i + 1 }));
  const { watermark, rejected } = await loaded(records, store, { retryForMs: 0, concurrency: 30 });
  assert.equal(watermark.value, 49);
  assert.equal(watermark.rejected, 1, 'of what this run met beyond its watermark the next one will meet again');
  assert.ok(rejected.count >= 2);
  store.refuse = (key) => (key === '60' ? 3 : undefined);
  const next = await loaded(records, store, { startAfter: watermark.value }, watermark.rejected);
  assert.equal(next.rejected.count, 3);
  assert.deepEqual([next.watermark.value, next.watermark.rejected], [100, 3]);
});

test('an abort ends the load with a watermark that is not ahead of the store', async () => {
  const controller = new AbortController();
  const store = new MapStore();
  store.refuse = (key) => {
    if (key === '30') controller.abort();
    return undefined;
  };
  const counts = await loaded(
    Array.from({ length: 100 }, (_, i) => ({ id: i + 1 })),
    store,
    { signal: controller.signal },
  );
  assert.ok(counts.watermark.value >= 22 && counts.watermark.value < 100, String(counts.watermark.value));
  for (let id = 1; id <= counts.watermark.value; id++) assert.ok(store.kept.has(String(id)));
});

test('verification finds what is equal, different, missing and in siblings, and its sums tell', async () => {
  const store = new MapStore();
  const records = [{ id: 1 }, { id: 2 }, { id: 3 }, { id: 4 }, { id: 5, n: 'old' }, { id: 5, n: 'new' }, { none: 1 }];
  await loaded(records, store);
  const check = async () => {
    const counts = new VerifyCounts();
    await verify({ records: () => source(records) }, store, options, counts);
    return counts;
  };
  const good = await check();
  assert.deepEqual([good.records, good.equal, good.replaced, good.rejected.count], [7, 5, 1, 1]);
  assert.equal(good.readSum, good.sourceSum);

  await store.put('2', 'x', { requestId: Buffer.from('x') });
  store.kept.delete('3');
  await store.put('4', '{"id":4} ', { context: (await store.get('4')).context });
  const bad = await check();
  assert.equal(bad.sourceSum, good.sourceSum);
  assert.notEqual(bad.readSum, bad.sourceSum);
  assert.deepEqual(
    [bad.equal, bad.siblings.first, bad.missing.first, bad.different.first],
    [2, ['record 2 (2)'], ['record 3 (3)'], ['record 4 (4)']],
  );
});

test('a set of keys knows every key it was given, and none that it was not, until it is full', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 3000 }), (keys) => {
      const set = new KeySet();
      const dumb = new Set<string>();
      for (const key of keys) {
        assert.equal(set.add(key), dumb.has(key));
        dumb.add(key);
      }
    }),
    { numRuns: 20 },
  );
  const small = new KeySet(2);
  assert.deepEqual(
    ['a', 'b', 'c', 'c', 'a'].map((key) => small.add(key)),
    [false, false, false, false, true],
  );
  assert.ok(small.full);
});
