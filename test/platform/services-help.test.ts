/** What an operator meets first: --help, and a wrong flag, of each service. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

function run(service: string, flag: string) {
  const main = fileURLToPath(new URL(`../../services/${service}/main.ts`, import.meta.url));
  return spawnSync(process.execPath, [main, flag], { encoding: 'utf8', timeout: 60_000 });
}

for (const service of ['storage-node', 'router', 'membership']) {
  test(`${service} explains its flags, with names that a shell can set in the environment`, () => {
    const { status, stdout, stderr } = run(service, '--help');
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /--listen HOST:PORT/);
    for (const [name] of stdout.matchAll(/CARTWHEEL_\S*?(?=[;)\s])/g)) assert.match(name, /^CARTWHEEL_[A-Z_]+$/);
  });

  test(`${service} refuses a flag that it does not know as usage, not as a bug`, () => {
    const { status, stdout, stderr } = run(service, '--bogus');
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /--bogus: no such flag/);
  });
}
