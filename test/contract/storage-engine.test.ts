import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SPACES, type StorageEngine } from '../../services/core/ports.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import {
  bytes,
  get,
  hex,
  openRocks,
  put,
  random,
  remove,
  scanAll,
  text,
  withTemporaryDirectory,
} from './storage-engine-fixtures.ts';

/**
 * The contract of the port StorageEngine, run against each implementation. What is theirs alone is in
 * storage-engine-rocksdb.test.ts and storage-engine-memory.test.ts; failing disks, for RocksDB, in
 * test/e2e/slow-disk.test.ts.
 */

/** One disk, and what can happen to it. */
interface Harness {
  open(): Promise<StorageEngine>;
  /** The engine's process dies and comes no further; what was written before is there. */
  kill(engine: StorageEngine): Promise<void>;
}

interface Implementation {
  readonly name: string;
  run(body: (harness: Harness) => Promise<void>): Promise<void>;
}

const implementations: Implementation[] = [
  {
    name: 'memory',
    async run(body) {
      const disk = createMemoryDisk();
      await body({
        async open() {
          return openMemoryEngine(disk, { random });
        },
        async kill() {
          disk.crash(disk.uncertainWrites);
        },
      });
    },
  },
  {
    name: 'rocksdb',
    async run(body) {
      await withTemporaryDirectory(async (directory) => {
        let lives = 0;
        const current = () => join(directory, String(lives));
        await body({
          open: () => openRocks(current()),
          // A copy of the directory as the living engine left it is what its death leaves.
          async kill(engine) {
            const from = current();
            lives += 1;
            await cp(from, current(), { recursive: true });
            await engine.close();
            await rm(from, { recursive: true });
          },
        });
      });
    },
  },
];

/** A test of the contract on an engine that is open, for each implementation. */
function contract(name: string, body: (engine: StorageEngine) => Promise<void>): void {
  contractOfDisk(name, async (harness) => {
    const engine = await harness.open();
    try {
      await body(engine);
    } finally {
      await engine.close();
    }
  });
}

function contractOfDisk(name: string, body: (harness: Harness) => Promise<void>): void {
  for (const implementation of implementations) {
    test(`${implementation.name}: ${name}`, () => implementation.run(body));
  }
}

contract('values are returned in the order of the keys, undefined where there is none', async (engine) => {
  await engine.write([put(text('b'), text('2')), put(text('a'), text('1'))], true);
  const values = await engine.getMany('records', [text('b'), text('x'), text('a'), text('b')]);
  assert.deepEqual(
    values.map((value) => value && Buffer.from(value).toString()),
    ['2', undefined, '1', '2'],
  );
  assert.deepEqual(await engine.getMany('records', []), []);
});

contract(
  'keys and values are bytes: zeros, high bytes, empty and large values come back as they were',
  async (engine) => {
    const large = new Uint8Array(1024 * 1024 + 64 * 1024).map((_, index) => (index * 31) & 0xff);
    const pairs: [Uint8Array, Uint8Array][] = [
      [bytes(0), bytes(0, 0, 0)],
      [bytes(0, 0), bytes(255)],
      [bytes(255, 255, 255), bytes()],
      [bytes(195, 40), bytes(0xf0, 0x28)],
      [new Uint8Array(4200).fill(7), large],
    ];
    await engine.write(
      pairs.map(([key, value]) => put(key, value)),
      true,
    );
    const values = await engine.getMany(
      'records',
      pairs.map(([key]) => key),
    );
    for (const [index, [, value]] of pairs.entries()) {
      assert.equal(hex(values[index] ?? assert.fail(`pair ${index} is missing`)), hex(value));
    }
  },
);

contract('the bytes of a write may be used again as soon as write has been called', async (engine) => {
  const pool = Buffer.from('..key..value..');
  const written = engine.write([put(pool.subarray(2, 5), pool.subarray(7, 12))], true);
  pool.fill(0x2e);
  await written;
  assert.equal(hex((await get(engine, text('key'))) ?? bytes()), hex(text('value')));
});

contract('what a read returned is the reader’s: changing it changes nothing stored', async (engine) => {
  await engine.write([put(text('k'), text('value'))], false);
  const [value] = await engine.getMany('records', [text('k')]);
  value?.fill(0);
  const page = await engine.scan('records', bytes(0), undefined, 1);
  page.entries[0]?.[1].fill(0);
  assert.equal(hex((await get(engine, text('k'))) ?? bytes()), hex(text('value')));
});

contract('the spaces are apart, and one write covers all of them', async (engine) => {
  const key = text('same');
  await engine.write(
    SPACES.map((space) => ({ space, key, value: text(space) })),
    true,
  );
  await engine.write([{ space: 'records', key, value: undefined }], false);
  for (const space of SPACES) {
    const [value] = await engine.getMany(space, [key]);
    const { entries } = await engine.scan(space, bytes(0), undefined, 10);
    assert.equal(value && hex(value), space === 'records' ? undefined : hex(text(space)));
    assert.equal(entries.length, space === 'records' ? 0 : 1);
  }
});

contract('a removed key is gone; removing one that is not there does nothing', async (engine) => {
  await engine.write([put(text('a'), text('1')), remove(text('b'))], true);
  await engine.write([remove(text('a'))], true);
  assert.equal(await get(engine, text('a')), undefined);
});

contract('within a write later mutations of a key win, and a write of nothing is a write', async (engine) => {
  await engine.write([put(text('a'), text('1')), remove(text('a')), put(text('a'), text('3'))], true);
  await engine.write([], false);
  await engine.write([], true);
  assert.equal(hex((await get(engine, text('a'))) ?? bytes()), hex(text('3')));
});

contract(
  'I2: writes called without waiting take effect, and are resolved, in the order of the calls',
  async (engine) => {
    const resolved: number[] = [];
    const writes = Array.from({ length: 300 }, (_, n) =>
      engine.write([put(text('last'), text(String(n))), put(text(`key ${n}`), bytes())], n % 7 === 0).then(() => {
        resolved.push(n);
      }),
    );
    await Promise.all(writes);
    assert.deepEqual(
      resolved,
      Array.from({ length: 300 }, (_, n) => n),
    );
    assert.equal(hex((await get(engine, text('last'))) ?? bytes()), hex(text('299')));
  },
);

contract('I4: reads and scans see every write that has resolved', async (engine) => {
  for (let n = 0; n < 50; n++) {
    await engine.write([put(text('k'), text(String(n)))], false);
    const [value] = await engine.getMany('records', [text('k')]);
    const page = await engine.scan('records', text('k'), undefined, 1);
    assert.equal(Buffer.from(value ?? bytes()).toString(), String(n));
    assert.equal(Buffer.from(page.entries[0]?.[1] ?? bytes()).toString(), String(n));
  }
});

contract('a scan is in byte order, from start, to before end', async (engine) => {
  const keys = [
    bytes(1),
    bytes(1, 0),
    bytes(1, 0, 0),
    bytes(1, 255),
    bytes(2),
    bytes(127),
    bytes(128),
    bytes(255, 255),
  ];
  await engine.write(
    [...keys].reverse().map((key) => put(key, key)),
    true,
  );
  const all = await scanAll(engine, bytes(), undefined, 3);
  assert.deepEqual(
    all,
    keys.map((key) => [hex(key), hex(key)]),
  );
  const part = await scanAll(engine, bytes(1, 0), bytes(128), 100);
  assert.deepEqual(
    part.map(([key]) => key),
    ['0100', '010000', '01ff', '02', '7f'],
  );
});

contract('a page ends at its limit and names the first key not looked at, or that there is none', async (engine) => {
  await engine.write(
    [1, 2, 3, 4].map((n) => put(bytes(n), bytes(n))),
    true,
  );
  const page = async (start: number, end: number | undefined, limit: number) => {
    const { entries, next } = await engine.scan(
      'records',
      bytes(start),
      end === undefined ? undefined : bytes(end),
      limit,
    );
    return [entries.map(([key]) => key[0]), next && Uint8Array.from(next)];
  };
  assert.deepEqual(await page(1, undefined, 3), [[1, 2, 3], bytes(4)]);
  assert.deepEqual(await page(1, undefined, 4), [[1, 2, 3, 4], undefined]);
  assert.deepEqual(await page(1, undefined, 5), [[1, 2, 3, 4], undefined]);
  assert.deepEqual(await page(1, 4, 3), [[1, 2, 3], undefined]);
  assert.deepEqual(await page(1, 4, 2), [[1, 2], bytes(3)]);
  assert.deepEqual(await page(5, undefined, 2), [[], undefined]);
  assert.deepEqual(await page(2, 2, 2), [[], undefined]);
  assert.deepEqual(await page(3, 2, 2), [[], undefined]);
  await assert.rejects(engine.scan('records', bytes(1), undefined, 0), /0 entries/);
});

contract('large values are scanned whole, however many pages that takes', async (engine) => {
  const value = new Uint8Array(900_000).fill(9);
  for (let n = 0; n < 12; n++) {
    await engine.write([put(bytes(n), value)], false);
  }
  const all = await scanAll(engine, bytes(0), undefined, 100);
  assert.equal(all.length, 12);
  assert.ok(all.every(([, found]) => found.length === 2 * value.length));
});

contract('stats count roughly what there is', async (engine) => {
  await engine.write(
    Array.from({ length: 500 }, (_, n) => put(text(`key ${n}`), new Uint8Array(1000))),
    true,
  );
  const { keysEstimated, diskBytes } = engine.stats();
  assert.ok(keysEstimated > 250 && keysEstimated < 1000, `${keysEstimated} keys`);
  assert.ok(diskBytes > 400_000 && diskBytes < 5_000_000, `${diskBytes} bytes`);
});

contractOfDisk('data and lineage outlive a clean stop, again and again', async (harness) => {
  let lineage: bigint | undefined;
  for (let n = 0; n < 3; n++) {
    const engine = await harness.open();
    assert.equal(engine.lineage, lineage ?? engine.lineage);
    lineage = engine.lineage;
    assert.equal((await scanAll(engine, bytes(), undefined, 10)).length, n);
    await engine.write([put(bytes(n), text('unsynced'))], false);
    await engine.close();
  }
});

contractOfDisk(
  'a lineage that was renewed does not come back, and the new one outlives a clean stop',
  async (harness) => {
    const first = await harness.open();
    const { lineage } = first;
    first.renewLineage();
    const renewed = first.lineage;
    assert.notEqual(renewed, lineage);
    await first.close();
    const second = await harness.open();
    assert.equal(second.lineage, renewed);
    await second.close();
  },
);

contractOfDisk('a stop that is not clean gives a new lineage', async (harness) => {
  const first = await harness.open();
  await first.write([put(text('k'), text('v'))], true);
  const lineage = first.lineage;
  await harness.kill(first);
  const second = await harness.open();
  assert.notEqual(second.lineage, lineage);
  assert.equal(hex((await get(second, text('k'))) ?? bytes()), hex(text('v')));
  await second.close();
  const third = await harness.open();
  assert.equal(third.lineage, second.lineage);
  await third.close();
});

contractOfDisk('a clean stop long ago does not count after a stop that was not clean', async (harness) => {
  const first = await harness.open();
  const lineage = first.lineage;
  await first.close();
  const second = await harness.open();
  assert.equal(second.lineage, lineage);
  await harness.kill(second);
  const third = await harness.open();
  assert.notEqual(third.lineage, lineage);
  await third.close();
});

contractOfDisk('close waits for the writes before it; afterwards everything is refused', async (harness) => {
  const engine = await harness.open();
  const writes = Array.from({ length: 20 }, (_, n) => engine.write([put(bytes(n), bytes(n))], false));
  await Promise.all([engine.close(), ...writes]);
  await engine.close();
  const draining = { name: 'Failure', reason: 'DRAINING' };
  await assert.rejects(engine.write([put(bytes(1), bytes(1))], true), draining);
  await assert.rejects(engine.getMany('records', [bytes(1)]), draining);
  await assert.rejects(engine.scan('records', bytes(1), undefined, 1), draining);
  const again = await harness.open();
  assert.equal((await scanAll(again, bytes(), undefined, 7)).length, 20);
  await again.close();
});

contractOfDisk('one disk is open once at a time', async (harness) => {
  const engine = await harness.open();
  await assert.rejects(harness.open(), /in use/);
  await engine.write([put(text('k'), text('v'))], true);
  await engine.close();
});

/** A step of the comparison with a plain Map. */
type Step =
  | { readonly write: readonly (readonly [key: number, value: number | undefined])[]; readonly sync: boolean }
  | { readonly scan: readonly [from: number, to: number | undefined, limit: number] }
  | { readonly read: readonly number[] }
  | { readonly reopen: 'close' | 'kill' };

const smallKey = fc.integer({ min: 0, max: 15 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        write: fc.array(fc.tuple(smallKey, fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined })), {
          maxLength: 6,
        }),
        sync: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        scan: fc.tuple(smallKey, fc.option(smallKey, { nil: undefined }), fc.integer({ min: 1, max: 6 })),
      }),
    },
    { weight: 3, arbitrary: fc.record({ read: fc.array(smallKey, { maxLength: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ reopen: fc.constantFrom('close' as const, 'kill' as const) }) },
  ),
  { minLength: 1, maxLength: 25 },
);

for (const implementation of implementations) {
  test(`${implementation.name}: any sequence of operations does what it does to a plain map`, async () => {
    const numRuns = implementation.name === 'memory' ? 200 : 12;
    await fc.assert(
      fc.asyncProperty(steps, (sequence) => implementation.run((harness) => compareWithMap(harness, sequence))),
      { numRuns },
    );
  });
}

/** Keys of different lengths, so that the order of bytes is not the order of numbers. */
function keyOf(n: number): Uint8Array {
  return n % 3 === 0 ? bytes(n >> 1) : bytes(n >> 1, n & 1 ? 255 : 0);
}

async function compareWithMap(harness: Harness, sequence: readonly Step[]): Promise<void> {
  const model = new Map<string, string>();
  let engine = await harness.open();
  let unwaited: Promise<void>[] = [];
  for (const step of sequence) {
    if ('write' in step) {
      const mutations = step.write.map(([key, value]) =>
        value === undefined ? remove(keyOf(key)) : put(keyOf(key), bytes(value)),
      );
      unwaited.push(engine.write(mutations, step.sync));
      for (const { key, value } of mutations) {
        if (value === undefined) {
          model.delete(hex(key));
        } else {
          model.set(hex(key), hex(value));
        }
      }
      continue;
    }
    await Promise.all(unwaited);
    unwaited = [];
    if ('scan' in step) {
      const [from, to, limit] = step.scan;
      const start = keyOf(from);
      const end = to === undefined ? undefined : keyOf(to);
      const expected = [...model]
        .filter(([key]) => key >= hex(start) && (end === undefined || key < hex(end)))
        .sort(([a], [b]) => (a < b ? -1 : 1));
      assert.deepEqual(await scanAll(engine, start, end, limit), expected);
    } else if ('read' in step) {
      const values = await engine.getMany('records', step.read.map(keyOf));
      assert.deepEqual(
        values.map((value) => value && hex(value)),
        step.read.map((key) => model.get(hex(keyOf(key)))),
      );
    } else {
      const { lineage } = engine;
      await (step.reopen === 'close' ? engine.close() : harness.kill(engine));
      engine = await harness.open();
      assert.equal(engine.lineage === lineage, step.reopen === 'close');
    }
  }
  await Promise.all(unwaited);
  await engine.close();
}
