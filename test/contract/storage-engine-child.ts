import { openRocks, put, text } from './storage-engine-fixtures.ts';

/**
 * A process of its own for storage-engine-rocksdb.test.ts: opens the directory given, prints its lineage,
 * then writes NAME 00000000, NAME 00000001, … three at a time, every second one synced, and prints each
 * synced one once it is on disk, until it is killed.
 */
const [, , directory = '', prefix = ''] = process.argv;
const engine = await openRocks(directory);
process.stdout.write(`lineage ${engine.lineage}\n`);
for (let n = 0; ; n += 3) {
  await Promise.all(
    [n, n + 1, n + 2].map(async (each) => {
      const name = `${prefix} ${String(each).padStart(8, '0')}`;
      const sync = each % 2 === 0;
      await engine.write([put(text(name), text(name)), put(text(`twin ${name}`), text(name))], sync);
      if (sync) {
        process.stdout.write(`${name}\n`);
      }
    }),
  );
}
