import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const module = fileURLToPath(new URL('../../services/platform/garbage.ts', import.meta.url));

/** Runs it with what V8 is told, and returns what V8 tells of its full collections, a line each. */
function fullCollections(program: string, isTold = true): string[] {
  const told = isTold
    ? `import { limitGarbageCollection } from ${JSON.stringify(module)}; limitGarbageCollection();`
    : '';
  const flags = ['--expose-gc', '--trace-gc-nvp', '--input-type=module', '--eval', told + program];
  const { status, stdout, stderr } = spawnSync(process.execPath, flags, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  return stdout.split('\n').filter((line) => line.includes(' gc=mc '));
}

test('a heap may grow to twice of what is in use before all of it is collected', () => {
  // Little is allocated for long: V8 would leave a third more than what is in use.
  const last = fullCollections(`
    globalThis.kept = Array.from({ length: 150_000 }, (_, i) => ({ i, more: [i, i, i, i, i, i, i, i, i, i] }));
    for (let i = 0; i < 6; i++) {
      gc();
      await new Promise((done) => setTimeout(done, 1_000));
    }`).at(-1);
  const figure = (name: string) => Number(new RegExp(` ${name}=(\\d+)`).exec(last ?? '')?.[1]);
  const used = figure('end_object_size');
  const limit = figure('old_gen_allocation_limit');
  assert.ok(used > 20e6, `${used} bytes in use: ${last}`);
  assert.ok(limit >= 2 * used, `collected again at ${limit} bytes, ${used} in use`);
});

test('buffers that come and go begin no full collection while as much of them is kept', () => {
  const program = `
    globalThis.kept = Array.from({ length: 200 }, () => Buffer.alloc(1024 * 1024));
    for (let i = 0; i < 4_000; i++) {
      kept[i % 200] = Buffer.alloc(1024 * 1024);
      if (i % 50 === 0) await new Promise((done) => setImmediate(done));
    }`;
  const [told, untold] = [fullCollections(program).length, fullCollections(program, false).length];
  assert.ok(untold > 20 && told < untold / 2, `${told} with what V8 is told, ${untold} without`);
});
