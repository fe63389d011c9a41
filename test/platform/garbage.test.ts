import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const module = fileURLToPath(new URL('../../services/platform/garbage.ts', import.meta.url));

/** Little is allocated between the collections, and V8 would leave 1.8 times of what is in use: that of a busy program is more. */
const program = `
  import { limitGarbageCollection } from ${JSON.stringify(module)};
  limitGarbageCollection();
  globalThis.kept = Array.from({ length: 150_000 }, (_, i) => ({ i, more: [i, i, i, i, i, i, i, i, i, i] }));
  for (let i = 0; i < 6; i++) {
    gc();
    await new Promise((done) => setTimeout(done, 200));
  }`;

test('a heap may grow to four times of what is in use before all of it is collected', () => {
  const flags = ['--expose-gc', '--trace-gc-nvp', '--input-type=module', '--eval', program];
  const { status, stdout, stderr } = spawnSync(process.execPath, flags, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  const last = stdout.split('\n').findLast((line) => line.includes(' gc=mc ')) ?? '';
  const figure = (name: string) => Number(new RegExp(` ${name}=(\\d+)`).exec(last)?.[1]);
  const used = figure('end_object_size');
  const limit = figure('old_gen_allocation_limit');
  assert.ok(used > 20e6, `${used} bytes in use: ${last}`);
  assert.ok(limit >= 4 * used, `collected again at ${limit} bytes, ${used} in use`);
});
