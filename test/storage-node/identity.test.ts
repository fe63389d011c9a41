import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { DataDirectoryError } from '../../services/platform/rocksdb/data-directory.ts';
import { readIdentity } from '../../services/storage-node/identity.ts';

let drawn = 0n;
const random = { u64: () => ++drawn, below: () => 0 };

test('a directory keeps the id of its node, and one whose id was in damaged files starts no other node', async () => {
  const disk = createMemoryDisk();
  const first = openMemoryEngine(disk, { random });
  const id = await readIdentity(first, random, '/data');
  await first.close();
  const second = openMemoryEngine(disk, { random });
  assert.equal(await readIdentity(second, random, '/data'), id);
  await second.close();
  disk.lose([]);
  const third = openMemoryEngine(disk, { random });
  assert.equal(await readIdentity(third, random, '/data'), id);
  await third.close();
  disk.lose([], ['meta']);
  await assert.rejects(readIdentity(openMemoryEngine(disk, { random }), random, '/data'), (error) => {
    return error instanceof DataDirectoryError && error.message.includes('/data has lost the id of its node');
  });
});
