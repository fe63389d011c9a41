/** What a node tells others of the records that it keeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DamagedData } from '../../services/core/damaged-data.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { bytesDigest, checkRecords } from '../../services/storage-node/record-lists.ts';
import { seededRandom } from '../sim/random.ts';
import { createCluster } from './cluster.ts';
import { fill } from './whole-scans.ts';

const keyOf = (i: number) => Buffer.from(storageKey('default', Buffer.from(`user${i}`), xxh64));

async function setup() {
  const disk = createMemoryDisk();
  const open = (own = createMemoryDisk()) => openMemoryEngine(own, { random: seededRandom(1) });
  const { node } = createCluster({ partitions: 1, engine: (index) => open(index === 0 ? disk : undefined) }).node(0);
  await node.open();
  return { node, disk };
}

test('what is said of a checked key is on the disk, and it is what is kept', async () => {
  const { node, disk } = await setup();
  await fill(node, 3, 1); // without a sync
  assert.ok(disk.uncertainWrites > 0);
  const keys = [keyOf(2), keyOf(0), keyOf(3)];
  const told = await checkRecords(node, { keys });
  assert.equal(disk.uncertainWrites, 0);
  const kept = await Promise.all(keys.map((key) => node.store.read(key)));
  assert.deepEqual(
    told,
    keys.map((key, i) => ({ key, digest: bytesDigest(kept[i], xxh64) })),
  );
  assert.equal(told[2]?.digest, 0n, 'there is none');
});

test('what is on its way to the disk is told of as it will be there', async () => {
  const { node } = await setup();
  await fill(node, 1, 1);
  const { held } = await node.store.change(keyOf(0), (own) => ({ copy: { ...own, owed: [] } }), false);
  const [told] = await checkRecords(node, { keys: [keyOf(0)] });
  assert.equal(told?.digest, bytesDigest(held.bytes, xxh64));
});

test('what cannot be read is said not to be kept', async () => {
  const { node } = await setup();
  await fill(node, 1, 1);
  node.engine.getMany = () => Promise.reject(new DamagedData('a block is not whole'));
  assert.deepEqual(await checkRecords(node, { keys: [keyOf(0)] }), [{ key: keyOf(0), digest: 0n }]);
});
