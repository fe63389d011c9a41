import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { RocksLevel } from 'rocksdb';
import { type Mutation, type ScanPage, SPACES } from '../../services/core/ports.ts';
import { beginRun, inspectLastRun, markCleanStop } from '../../services/platform/rocksdb/clean-stop.ts';
import { startCommitter } from '../../services/platform/rocksdb/committer.ts';
import { DataDirectoryError, FORMAT_VERSION } from '../../services/platform/rocksdb/data-directory.ts';
import { packWrite, unpackWrite } from '../../services/platform/rocksdb/packed-write.ts';
import {
  bytes,
  get,
  hex,
  openRocks,
  put,
  random,
  recordingMetrics,
  scanAll,
  text,
  withTemporaryDirectory,
} from './storage-engine-fixtures.ts';

/** What the engine on RocksDB adds to the contract: its directory, its mark of a clean stop, its processes. */

const child = fileURLToPath(new URL('./storage-engine-child.ts', import.meta.url));

test('P1: a process killed with -9 in the middle of its writes loses no synced one, and no write is half there', async () => {
  await withTemporaryDirectory(async (parent) => {
    const directory = join(parent, 'data');
    let lineage = '';
    for (let life = 0; life < 3; life++) {
      const writer = spawn(process.execPath, [child, directory, `life ${life}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(writer, 'exit');
      const acknowledged: string[] = [];
      try {
        for await (const line of createInterface({ input: writer.stdout })) {
          if (line.startsWith('lineage ')) {
            assert.notEqual(line, lineage, 'a new lineage after a kill');
            lineage = line;
          } else {
            acknowledged.push(line);
          }
          if (acknowledged.length === 60) {
            writer.kill('SIGKILL');
          }
        }
      } finally {
        writer.kill('SIGKILL');
      }
      await exited;
      assert.ok(acknowledged.length >= 60);

      // Looked at in a copy, so that the next life finds the directory as the kill left it.
      const copy = join(parent, 'copy');
      await cp(directory, copy, { recursive: true });
      const engine = await openRocks(copy);
      const found = new Map(await scanAll(engine, bytes(), undefined, 500));
      const missing = acknowledged.filter((name) => found.get(hex(text(name))) !== hex(text(name)));
      assert.deepEqual(missing, [], 'synced writes that are missing');
      const last = Number(acknowledged.at(-1)?.slice(-8));
      for (let n = 0; n <= last; n++) {
        const name = `life ${life} ${String(n).padStart(8, '0')}`;
        assert.ok(found.has(hex(text(name))), `${name} was written before ${last}, which is synced`);
      }
      const keys = [...found.keys()].map((key) => Buffer.from(key, 'hex').toString());
      const singles = keys.filter((key) => !key.startsWith('twin'));
      assert.equal(singles.length * 2, keys.length);
      assert.ok(singles.every((key) => found.has(hex(text(`twin ${key}`)))));
      await engine.close();
      await rm(copy, { recursive: true });
    }
  });
});

/** Opens and closes an engine in a directory, lets `change` at it, and returns whether the lineage was kept. */
async function lineageSurvives(change: (directory: string) => Promise<string | undefined>): Promise<boolean> {
  return await withTemporaryDirectory(async (parent) => {
    const directory = join(parent, 'data');
    const first = await openRocks(directory);
    await first.write([put(text('k'), text('v'))], true);
    await first.close();
    const second = await openRocks((await change(directory)) ?? directory);
    const kept = second.lineage === first.lineage;
    assert.equal(hex((await get(second, text('k'))) ?? bytes()), hex(text('v')));
    await second.close();
    return kept;
  });
}

async function firstFile(directory: string, ending: string): Promise<string> {
  const name = (await readdir(join(directory, 'rocksdb'))).find((each) => each.endsWith(ending));
  return join(directory, 'rocksdb', name ?? assert.fail(`no file *${ending}`));
}

test('an untouched directory keeps its lineage, also when it is moved, and whatever lies beside the engine’s files', async () => {
  assert.equal(await lineageSurvives(async () => undefined), true);
  assert.equal(
    await lineageSurvives(async (directory) => {
      await rename(directory, `${directory}-moved`);
      return `${directory}-moved`;
    }),
    true,
  );
  assert.equal(
    await lineageSurvives(async (directory) => {
      await writeFile(join(directory, 'node.json'), '{}');
      return undefined;
    }),
    true,
  );
});

const touches: Record<string, (directory: string) => Promise<string | undefined>> = {
  'a copy of the directory': async (directory) => {
    await cp(directory, `${directory}-copy`, { recursive: true, preserveTimestamps: true });
    return `${directory}-copy`;
  },
  'a copy put in the place of the original': async (directory) => {
    await cp(directory, `${directory}-copy`, { recursive: true, preserveTimestamps: true });
    await rm(directory, { recursive: true });
    await rename(`${directory}-copy`, directory);
    return undefined;
  },
  'a file with other times': async (directory) => {
    await utimes(await firstFile(directory, '.log'), 1, 1);
    return undefined;
  },
  'a file with other permissions': async (directory) => {
    await chmod(await firstFile(directory, '.log'), 0o600);
    return undefined;
  },
  'one file more': async (directory) => {
    await writeFile(join(directory, 'rocksdb', 'note.txt'), '');
    return undefined;
  },
  'no mark': async (directory) => {
    await rm(join(directory, 'CLEAN_STOP.json'));
    return undefined;
  },
  'no RUN': async (directory) => {
    await rm(join(directory, 'RUN'));
    return undefined;
  },
  'the RUN of another process': async (directory) => {
    await writeFile(join(directory, 'RUN'), '0'.repeat(32));
    return undefined;
  },
  'a mark that is not JSON': async (directory) => {
    await writeFile(join(directory, 'CLEAN_STOP.json'), '{"version":1,');
    return undefined;
  },
  'a mark of a newer version': async (directory) => {
    const path = join(directory, 'CLEAN_STOP.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"version":1', '"version":2'));
    return undefined;
  },
  'a mark whose lineage is no number': async (directory) => {
    const path = join(directory, 'CLEAN_STOP.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace(/"lineage":"[0-9a-f]+"/, '"lineage":"0x12"'));
    return undefined;
  },
};

for (const [name, touch] of Object.entries(touches)) {
  test(`a directory touched since the clean stop gets a new lineage: ${name}`, async () => {
    assert.equal(await lineageSurvives(touch), false);
  });
}

test('the mark of a clean stop is there only while the engine is closed', async () => {
  await withTemporaryDirectory(async (directory) => {
    const engine = await openRocks(directory);
    assert.ok(!(await readdir(directory)).includes('CLEAN_STOP.json'));
    await engine.close();
    assert.ok((await readdir(directory)).includes('CLEAN_STOP.json'));
    const again = await openRocks(directory);
    assert.ok(!(await readdir(directory)).includes('CLEAN_STOP.json'));
    await again.close();
  });
});

test('a mark put back from an earlier clean stop does not bring its lineage back', async () => {
  await withTemporaryDirectory(async (directory) => {
    const first = await openRocks(directory);
    await first.close();
    const mark = await readFile(join(directory, 'CLEAN_STOP.json'));
    const second = await openRocks(directory);
    assert.equal(second.lineage, first.lineage);
    await second.close();
    await writeFile(join(directory, 'CLEAN_STOP.json'), mark);
    const third = await openRocks(directory);
    assert.notEqual(third.lineage, first.lineage);
    await third.close();
  });
});

test('a run that came and went between the look at the mark and the lock makes the mark void', async () => {
  await withTemporaryDirectory(async (directory) => {
    await (await openRocks(directory)).close();
    const seenByTwo = await inspectLastRun(directory);
    assert.notEqual(seenByTwo.lineage, undefined);
    const first = await beginRun(directory, seenByTwo, random);
    assert.equal(first.lineage, seenByTwo.lineage);
    const second = await beginRun(directory, seenByTwo, random);
    assert.notEqual(second.lineage, seenByTwo.lineage);
    await markCleanStop(directory, first);
    assert.equal((await inspectLastRun(directory)).lineage, undefined);
    await markCleanStop(directory, second);
    assert.equal((await inspectLastRun(directory)).lineage, second.lineage);
  });
});

async function refusal(directory: string): Promise<string> {
  const error = await openRocks(directory).then(
    () => assert.fail('the directory was accepted'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DataDirectoryError, String(error));
  assert.ok(error.message.includes(directory), error.message);
  return error.message;
}

test('a data directory of a newer version is refused with both versions, and left as it is', async () => {
  await withTemporaryDirectory(async (directory) => {
    await (await openRocks(directory)).close();
    const newer = FORMAT_VERSION + 1;
    await writeFile(join(directory, 'FORMAT'), `${newer}\n`);
    const before = await readdir(directory);
    const message = await refusal(directory);
    assert.match(message, new RegExp(`format ${newer}\\b.*format ${FORMAT_VERSION}\\b`));
    assert.deepEqual(await readdir(directory), before);
  });
});

test('a data directory without a readable version, or with a damaged database, is refused', async () => {
  await withTemporaryDirectory(async (directory) => {
    await (await openRocks(directory)).close();
    await writeFile(join(directory, 'FORMAT'), 'one\n');
    assert.match(await refusal(directory), /FORMAT holds "one/);
    await rm(join(directory, 'FORMAT'));
    assert.match(await refusal(directory), /no file FORMAT/);
    await writeFile(join(directory, 'FORMAT'), `${FORMAT_VERSION}\n`);
    await writeFile(join(directory, 'rocksdb', 'CURRENT'), 'MANIFEST-999999\n');
    assert.match(await refusal(directory), /cannot be opened: .*MANIFEST.*`cartwheel ring replace ADDRESS`/);
  });
});

test('a data directory that cannot be made or written is refused', async () => {
  await withTemporaryDirectory(async (parent) => {
    await writeFile(join(parent, 'file'), '');
    assert.match(await refusal(join(parent, 'file')), /not writable/);
    assert.match(await refusal(join(parent, 'file', 'below')), /not writable/);
    await mkdir(join(parent, 'data', 'FORMAT.new'), { recursive: true });
    assert.match(await refusal(join(parent, 'data')), /not writable: .*FORMAT.new/);
  });
});

test('a data directory that another process has open is refused, and that process goes on', async () => {
  await withTemporaryDirectory(async (directory) => {
    const other = spawn(process.execPath, [child, directory, 'other'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(other, 'exit');
    try {
      const lines = createInterface({ input: other.stdout })[Symbol.asyncIterator]();
      await lines.next();
      assert.equal(await refusal(directory), `data directory ${directory} is in use by another process`);
      for (let n = 0; n < 20; n++) {
        const line = await lines.next();
        assert.equal(line.done, false);
      }
    } finally {
      other.kill('SIGKILL');
      await exited;
    }
  });
});

test('writes that wait together become fewer batches, and are counted', async () => {
  await withTemporaryDirectory(async (directory) => {
    const metrics = recordingMetrics();
    const value = (name: string) => metrics.values.get(name)?.() ?? assert.fail(`no metric ${name}`);
    const engine = await openRocks(directory, metrics);
    const writes = Array.from({ length: 500 }, (_, n) =>
      engine.write([put(text(`a${n}`), bytes(1)), put(text(`b${n}`), bytes(2))], true),
    );
    assert.ok(value('cartwheel_engine_writes_waiting') > 0);
    await Promise.all(writes);
    await engine.getMany('records', [text('a1')]);
    assert.equal(value('cartwheel_engine_writes_waiting'), 0);
    assert.equal(value('cartwheel_engine_writes_total'), 500);
    assert.equal(value('cartwheel_engine_mutations_total'), 1000);
    assert.equal(value('cartwheel_engine_commit_seconds true'), 500);
    assert.equal(value('cartwheel_engine_read_seconds'), 1);
    assert.equal(value('cartwheel_engine_failed'), 0);
    const batches = value('cartwheel_engine_batches_total');
    assert.ok(batches >= 1 && batches < 250, `${batches} batches`);
    assert.ok(value('cartwheel_engine_memtable_bytes') > 0);
    assert.ok(value('cartwheel_disk_available_bytes') > 0);
    assert.ok(value('cartwheel_disk_size_bytes') >= value('cartwheel_disk_available_bytes'));
    await engine.close();
    assert.equal(value('cartwheel_engine_keys_estimated'), 0);
  });
});

test('I3: the death of the committer thread fails the writes under way and all later ones; the stop is not a clean one', async () => {
  await withTemporaryDirectory(async (directory) => {
    const threads: Worker[] = [];
    const note = (thread: Worker) => threads.push(thread);
    process.on('worker', note);
    const metrics = recordingMetrics();
    const engine = await openRocks(directory, metrics);
    process.off('worker', note);
    await engine.write([put(text('k'), text('v'))], true);
    // Large ones, so that no disk has them all before the thread is gone.
    const value = new Uint8Array(512 * 1024);
    const underWay = Array.from({ length: 200 }, (_, n) => engine.write([put(text(`k${n}`), value)], true));
    const settled = Promise.allSettled(underWay);
    assert.equal(threads.length, 1);
    await threads[0]?.terminate();
    const outcomes = (await settled).map(({ status }) => status);
    assert.deepEqual([...outcomes].sort(), outcomes, 'the fulfilled ones come first');
    assert.equal(outcomes.at(-1), 'rejected');
    await assert.rejects(engine.write([put(text('late'), bytes())], false), /committer thread ended/);
    assert.equal(metrics.values.get('cartwheel_engine_failed')?.(), 1);
    assert.equal(hex((await get(engine, text('k'))) ?? bytes()), hex(text('v')));
    await engine.close();
    const again = await openRocks(directory);
    assert.notEqual(again.lineage, engine.lineage);
    await again.close();
  });
});

test('a page of large values ends by its bytes, and the next one goes on after it', async () => {
  await withTemporaryDirectory(async (directory) => {
    const engine = await openRocks(directory);
    const count = 12;
    const value = new Uint8Array(256 * 1024);
    await engine.write(
      Array.from({ length: count }, (_, i) => put(bytes(i), value)),
      false,
    );
    const sizes: number[] = [];
    for (let from: Uint8Array | undefined = bytes(0); from !== undefined; ) {
      const page: ScanPage = await engine.scan('records', from, undefined, 100);
      sizes.push(page.entries.length);
      from = page.next;
    }
    assert.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      count,
    );
    assert.ok(Math.max(...sizes) <= 5, `${sizes}`);
    await engine.close();
  });
});

test('a committer thread that cannot start is an error of the start', async () => {
  await withTemporaryDirectory(async (directory) => {
    const database = new RocksLevel(directory, { columns: { default: {} } });
    await database.open();
    await assert.rejects(
      startCommitter(database.handle, 1, recordingMetrics(), () => {}),
      (error: Error) => error.cause instanceof Error && /no column family meta, only default/.test(error.cause.message),
    );
    await database.close();
  });
});

test('unpackWrite(packWrite(x)) is x, order and spaces included', () => {
  const mutation: fc.Arbitrary<Mutation> = fc.record(
    {
      space: fc.constantFrom(...SPACES),
      key: fc.uint8Array({ maxLength: 300 }),
      value: fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(mutation), fc.boolean(), (mutations, sync) => {
      const found: Mutation[] = [];
      const synced = unpackWrite(
        packWrite(mutations, sync),
        (space, key, value) => found.push({ space, key: Uint8Array.from(key), value: Uint8Array.from(value) }),
        (space, key) => found.push({ space, key: Uint8Array.from(key), value: undefined }),
      );
      assert.equal(synced, sync);
      assert.deepEqual(found, mutations);
    }),
  );
});
