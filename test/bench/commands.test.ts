/** The benchmarks as commands: what they say of themselves, and what they refuse before anything is started. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { scripts } = JSON.parse(readFileSync(here('../../package.json'), 'utf8')) as { scripts: Record<string, string> };
const benchmarks = Object.entries(scripts).filter(([name]) => name.startsWith('bench:'));

function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  return spawnSync(process.execPath, [here(`${file}.ts`), ...args], { encoding: 'utf8', timeout: 60_000, env });
}

test('each benchmark says how it is used, refuses what it does not know, and writes nothing for it', () => {
  const pages = ['../../docs/load-balance.md', '../../docs/benchmarks.md'].map(here);
  const times = () => pages.map((page) => statSync(page).mtimeMs);
  const before = times();
  for (const [name, script] of benchmarks) {
    const file = script.split(' ').at(-1) as string;
    const help = run(file, ['--help']);
    assert.deepEqual([help.status, help.stderr], [0, ''], name);
    assert.match(help.stdout, new RegExp(`^Usage: npm run ${name} -- `));
    const refused = run(file, ['--bogus']);
    assert.deepEqual([refused.status, refused.stdout], [2, ''], name);
    assert.match(refused.stderr, /^error: unknown option '--bogus'\n$/, name);
  }
  assert.deepEqual(times(), before);
});

test('values that make no sense are refused before anything is started', () => {
  for (const [file, args, named] of [
    ['growth', ['--partitions', '1000'], /--partitions.*power of two/],
    ['flame', ['--out', '/no/such/directory/flame.svg'], /--out.*cannot be written.*no such file or directory/],
    ['faults', ['--sync-ms', '5'], /--sync-ms goes with --only durability/],
    ['ring', ['--only', 'bogus'], /--only.*moves, transfer, exchange/],
    ['peers', ['--stores', 'redis'], /--stores.*cartwheel, etcd/],
  ] as const) {
    const { status, stdout, stderr } = run(file, args);
    assert.deepEqual([status, stdout], [2, ''], stderr);
    assert.match(stderr, named);
  }
});

test('a program that is missing is said at once, and leaves nothing that runs', () => {
  const { status, stderr } = run('cores', ['--seconds', '1', '--warmup', '0', '--rounds', '1'], { PATH: '/nowhere' });
  assert.deepEqual([status, stderr], [1, 'cores: taskset cannot be run (on Debian: apt-get install util-linux)\n']);
});
