/** Nothing that reads through all records takes more than one page at a time, so that none holds the event loop for long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StorageEngine } from '../../services/core/ports.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { pageRecordsMax } from '../../services/storage-node/record-store.ts';
import { seededRandom } from '../sim/random.ts';
import { createCluster } from './cluster.ts';
import { fill, scansOf } from './whole-scans.ts';

const count = 5 * pageRecordsMax + 1;

/** The engine, and how many entries each page of records has had. */
function watched(engine: StorageEngine): { readonly engine: StorageEngine; readonly pages: number[] } {
  const pages: number[] = [];
  const scan: StorageEngine['scan'] = async (space, ...range) => {
    const page = await engine.scan(space, ...range);
    if (space === 'records') pages.push(page.entries.length);
    return page;
  };
  return { engine: Object.assign(Object.create(engine), { scan }), pages };
}

test('every scan of all records sees them all, and never more than one page at a time', async () => {
  const open = () => openMemoryEngine(createMemoryDisk(), { random: seededRandom(1) });
  const { engine, pages } = watched(open());
  const cluster = createCluster({ partitions: 1, engine: (index) => (index === 0 ? engine : open()) });
  const { node } = cluster.node(0);
  await node.open();
  await fill(node, count, 1);
  for (const { name, run } of scansOf(node, engine)) {
    pages.length = 0;
    await run();
    assert.equal(
      pages.reduce((sum, entries) => sum + entries, 0),
      count,
      name,
    );
    assert.ok(Math.max(...pages) <= pageRecordsMax, `${name}: ${Math.max(...pages)} records in one page`);
  }
});
