import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { bytes, get, hex, put, random, scanAll } from './storage-engine-fixtures.ts';

/** What the in-memory engine adds to the contract: its disk can crash, and others say when things happen. */

/** A schedule that does nothing until told, and then in the order told. */
function heldSchedule() {
  const held: { readonly action: string; readonly run: () => void }[] = [];
  return {
    held,
    schedule: (action: string, run: () => void) => {
      held.push({ action, run });
    },
    release(index = 0) {
      held.splice(index, 1)[0]?.run();
    },
  };
}

/** Whether `promise` has settled once everything at hand is done. */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await nextTurn();
  return settled;
}

test('a crash leaves the synced writes and as many of the others as chosen, oldest first', async () => {
  for (const survivors of [0, 1, 2]) {
    const disk = createMemoryDisk();
    const engine = openMemoryEngine(disk, { random });
    await engine.write([put(bytes(1), bytes(1))], false);
    await engine.write([put(bytes(2), bytes(2))], true);
    await engine.write([put(bytes(3), bytes(3)), put(bytes(4), bytes(4))], false);
    await engine.write([put(bytes(5), bytes(5))], false);
    assert.equal(disk.uncertainWrites, 2);
    assert.throws(() => disk.crash(3), /3 writes to survive the crash, there are 2/);
    disk.crash(survivors);
    const again = openMemoryEngine(disk, { random });
    const keys = (await scanAll(again, bytes(0), undefined, 10)).map(([key]) => key);
    assert.deepEqual(keys, ['01', '02', '03', '04', '05'].slice(0, [2, 4, 5][survivors]));
    assert.notEqual(again.lineage, engine.lineage);
  }
});

test('a write under way may survive the crash though nobody was told, and its promise never settles', async () => {
  for (const survivors of [0, 1]) {
    const disk = createMemoryDisk();
    const { schedule, release } = heldSchedule();
    const engine = openMemoryEngine(disk, { random, schedule });
    const written = engine.write([put(bytes(1), bytes(1))], true);
    disk.crash(survivors);
    release();
    assert.equal(await hasSettled(written), false);
    assert.equal(await hasSettled(engine.getMany('records', [bytes(1)])), false);
    assert.equal(await hasSettled(engine.write([], true)), false);
    assert.equal(await hasSettled(engine.close()), false);
    const again = openMemoryEngine(disk, { random });
    assert.equal((await get(again, bytes(1))) !== undefined, survivors === 1);
  }
});

test('writes happen when the schedule says, in the order of the calls whatever the schedule’s', async () => {
  const disk = createMemoryDisk();
  const { held, schedule, release } = heldSchedule();
  const engine = openMemoryEngine(disk, { random, schedule });
  const first = engine.write([put(bytes(1), bytes(1))], true);
  const second = engine.write([put(bytes(1), bytes(2))], false);
  const read = engine.getMany('records', [bytes(1)]);
  assert.deepEqual(
    held.map(({ action }) => action),
    ['sync', 'write', 'read'],
  );
  release(2);
  assert.deepEqual(await read, [undefined]);
  release(1);
  assert.equal(await hasSettled(second), false);
  release(0);
  assert.deepEqual([await hasSettled(first), await hasSettled(second)], [true, true]);
  const late = engine.getMany('records', [bytes(1)]);
  release();
  assert.equal(hex((await late)[0] ?? bytes()), '02');
});

test('I3: once a write has failed, those under way and all later ones fail, and the stop is not a clean one', async () => {
  const disk = createMemoryDisk();
  const engine = openMemoryEngine(disk, { random });
  await engine.write([put(bytes(1), bytes(1))], true);
  const underWay = engine.write([put(bytes(2), bytes(2))], true);
  disk.failWrites(new Error('EIO'));
  await assert.rejects(underWay, /EIO/);
  await assert.rejects(engine.write([put(bytes(3), bytes(3))], false), /EIO/);
  assert.equal(hex((await get(engine, bytes(1))) ?? bytes()), '01');
  await engine.close();
  const again = openMemoryEngine(disk, { random });
  assert.notEqual(again.lineage, engine.lineage);
  await again.write([put(bytes(4), bytes(4))], true);
});

test('what a failed write left on the disk is uncertain', async () => {
  for (const survivors of [0, 1]) {
    const disk = createMemoryDisk();
    const engine = openMemoryEngine(disk, { random });
    const failed = engine.write([put(bytes(2), bytes(2))], true);
    disk.failWrites(new Error('EIO'));
    await assert.rejects(failed, /EIO/);
    assert.equal(disk.uncertainWrites, 1);
    disk.crash(survivors);
    const again = openMemoryEngine(disk, { random });
    assert.equal((await get(again, bytes(2))) !== undefined, survivors === 1);
  }
});

test('a disk touched after a clean stop gives a new lineage', async () => {
  const disk = createMemoryDisk();
  const engine = openMemoryEngine(disk, { random });
  await engine.close();
  disk.touch();
  assert.notEqual(openMemoryEngine(disk, { random }).lineage, engine.lineage);
});

test('a bit turns in what is on the disk for certain, whoever has it open, and a crash leaves it so', async () => {
  const disk = createMemoryDisk();
  const engine = openMemoryEngine(disk, { random });
  await engine.write([put(bytes(1), bytes(4, 0))], false);
  disk.flipBit('records', bytes(1), 9);
  assert.equal(disk.settled('records', bytes(1)), undefined);
  await engine.write([put(bytes(2), bytes(4, 0))], true);
  for (const key of [1, 2]) disk.flipBit('records', bytes(key), 9);
  assert.equal(hex((await get(engine, bytes(1))) ?? bytes()), '0402');
  disk.crash();
  assert.equal(hex((await get(openMemoryEngine(disk, { random }), bytes(2))) ?? bytes()), '0402');
});

test('whatever the schedule and the moment of the crash, every acknowledged synced write is there, and a prefix of the rest', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.nat(),
      async (syncs, releases, survivorsSeed) => {
        const disk = createMemoryDisk();
        const { held, schedule, release } = heldSchedule();
        const engine = openMemoryEngine(disk, { random, schedule });
        let acknowledged = -1;
        for (const [n, sync] of syncs.entries()) {
          void engine.write([put(bytes(n), bytes(n))], sync).then(() => {
            acknowledged = sync ? n : acknowledged;
          });
        }
        for (const choice of releases) {
          release(choice % Math.max(held.length, 1));
        }
        await nextTurn();
        disk.crash(survivorsSeed % (disk.uncertainWrites + 1));
        const again = openMemoryEngine(disk, { random });
        const keys = (await scanAll(again, bytes(0), undefined, 100)).map(([key]) => Number.parseInt(key, 16));
        assert.deepEqual(keys, [...keys.keys()]);
        assert.ok(keys.length > acknowledged, `${keys.length} writes are there, ${acknowledged} was acknowledged`);
      },
    ),
    { numRuns: 100 },
  );
});
