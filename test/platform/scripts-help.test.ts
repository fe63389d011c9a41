/** --help and wrong flags of the commands that a developer runs: `npm test` and `npm run sim`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const scripts = { 'npm test': '../../bin/test.js', 'npm run sim': '../sim/main.ts' };

function run(script: string, ...args: string[]) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return spawnSync(process.execPath, [path, ...args], { encoding: 'utf8', timeout: 60_000 });
}

for (const [name, script] of Object.entries(scripts)) {
  test(`${name} says on stdout how it is used`, () => {
    for (const flag of ['--help', '-h']) {
      const { status, stdout, stderr } = run(script, flag);
      assert.deepEqual([status, stderr], [0, '']);
      assert.match(stdout, new RegExp(`^ {2}${name}`, 'm'));
    }
  });

  test(`${name} refuses a flag that it does not know, and says on stderr how it is used`, () => {
    const { status, stdout, stderr } = run(script, '--bogus');
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /--bogus/);
    assert.match(stderr, new RegExp(`^ {2}${name}`, 'm'));
    assert.doesNotMatch(stderr, /^ {4}at /m);
  });
}

test('npm run sim refuses numbers that are none, flags without their value, and words', () => {
  for (const args of [['--seeds', 'many'], ['--seed', ''], ['--first', '-1'], ['--seeds'], ['17']]) {
    const { status, stdout, stderr } = run(scripts['npm run sim'], ...args);
    assert.deepEqual([status, stdout], [2, ''], args.join(' '));
    assert.doesNotMatch(stderr, /^ {4}at /m);
  }
});
