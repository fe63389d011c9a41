/**
 * Bits that turn in a write-ahead log. RocksDB takes them for where a crash cut the log off, opens, and has lost every write
 * behind them, synced or not; so the engine says that it is incomplete.
 */
import assert from 'node:assert/strict';
import { appendFile, cp, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { markCleanStop, runOf } from '../../services/platform/rocksdb/clean-stop.ts';
import { findDamagedLog } from '../../services/platform/rocksdb/log-damage.ts';
import { bytes, openRocks, put, scanAll, text, withTemporaryDirectory } from './storage-engine-fixtures.ts';

const writes = 400;
const nameOf = (n: number) => text(`key ${String(n).padStart(4, '0')}`);
/** Most in one fragment, some over several blocks of the log. */
const contentOf = (n: number) => new Uint8Array(n % 50 === 7 ? 70_000 : 900).fill(n);

interface Stopped {
  readonly directory: string;
  readonly log: string;
  readonly bytes: number;
  readonly lineage: bigint;
}

/** `writes` synced ones, as a kill would leave them, or a clean stop. */
async function written(parent: string, isClean = false): Promise<Stopped> {
  const [running, copy] = [join(parent, 'running'), join(parent, 'killed')];
  const engine = await openRocks(running);
  for (let n = 0; n < writes; n++) await engine.write([put(nameOf(n), contentOf(n))], true);
  if (!isClean) await cp(running, copy, { recursive: true });
  await engine.close();
  const directory = isClean ? running : copy;
  const [name] = (await readdir(join(directory, 'rocksdb'))).filter((each) => each.endsWith('.log'));
  const log = join(directory, 'rocksdb', name as string);
  return { directory, log, bytes: (await readFile(log)).length, lineage: engine.lineage };
}

async function turnBit(log: string, at: number, bit: number): Promise<void> {
  const content = await readFile(log);
  content.writeUInt8(content.readUInt8(at) ^ (1 << bit), at);
  await writeFile(log, content);
}

/** How many of the writes are left, and whether it is known that some may not be. */
async function opened(directory: string) {
  const engine = await openRocks(directory);
  const found = (await scanAll(engine, bytes(), undefined, 1_000)).length;
  const { isIncomplete, lineage } = engine;
  await engine.close();
  return { found, isIncomplete, lineage };
}

test('P12: of a log in which a bit has turned, wherever, nothing that is lost is taken for absent', async () => {
  for (const part of [0, 0.1, 0.8]) {
    await withTemporaryDirectory(async (parent) => {
      const stopped = await written(parent);
      // Of the first write: its checksum, its length, its type, and what it holds. Of the others whatever is there.
      for (const byte of [0, 4, 6, 40]) {
        const directory = join(parent, `turned ${byte}`);
        await cp(stopped.directory, directory, { recursive: true });
        await turnBit(stopped.log.replace(stopped.directory, directory), Math.floor(part * stopped.bytes) + byte, 3);
        const { found, isIncomplete } = await opened(directory);
        assert.ok(found < writes, `${found} are left`);
        assert.equal(isIncomplete, true, `byte ${byte} from ${part} on, ${found} are left`);
        assert.equal((await opened(directory)).isIncomplete, true, 'until it is completed');
      }
    });
  }
});

test('P1: a log that a kill has cut off anywhere is no damage', async () => {
  await withTemporaryDirectory(async (parent) => {
    const { directory, log, bytes: length } = await written(parent);
    assert.equal(await findDamagedLog(directory), undefined);
    for (const cut of [1, 3, 500, 910, 40_000, 70_000, 100_000]) {
      await truncate(log, length - cut);
      assert.equal(await findDamagedLog(directory), undefined, `${cut} bytes less`);
    }
    await appendFile(log, new Uint8Array(5_000));
    assert.equal(await findDamagedLog(directory), undefined, 'what was to be written is not there, only room for it');
    assert.equal((await opened(directory)).isIncomplete, false);
  });
});

test('kv679: no dot is minted twice after a clean stop whose log has lost its end', async () => {
  await withTemporaryDirectory(async (parent) => {
    const { directory, log, bytes: length, lineage } = await written(parent, true);
    await turnBit(log, Math.floor(length / 2), 0);
    // As the disk does it, which tells nobody.
    await markCleanStop(directory, { run: (await runOf(directory)) as string, lineage });
    const after = await opened(directory);
    assert.ok(after.found < writes);
    assert.notEqual(after.lineage, lineage);
  });
});
