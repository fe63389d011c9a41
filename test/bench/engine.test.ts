/** `bench:engine` cut off while it measures. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isAlive, until } from '../e2e/support.ts';
import { root } from './program.ts';

const engine = fileURLToPath(new URL('engine.ts', import.meta.url));

/** A run that would take long, once its first process has data. */
async function measuring(t: TestContext) {
  const flags = ['--keys', '1000', '--operations', '1000000000', '--rounds', '1'];
  const bench = spawn(process.execPath, [engine, ...flags], { stdio: 'ignore' });
  t.after(() => bench.kill('SIGKILL'));
  const pid = bench.pid as number;
  const directory = join(root, '.cartwheel', `engine-${pid}`);
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  await until(
    'there is data',
    () => bench.exitCode !== null || (existsSync(directory) && readdirSync(directory).length > 0),
  );
  const [measure] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  return { bench, measure: measure as number, directory };
}

const ended = (bench: ChildProcess) => once(bench, 'exit') as Promise<[code: number | null]>;

test('an interrupted measurement leaves no process and no data', async (t) => {
  const { bench, measure, directory } = await measuring(t);
  bench.kill('SIGINT');
  assert.deepEqual(await ended(bench), [130, null]);
  assert.equal(isAlive(measure), false);
  assert.equal(existsSync(directory), false);
});

test('the process that measures ends when the benchmark is killed', async (t) => {
  const { bench, measure } = await measuring(t);
  bench.kill('SIGKILL');
  await ended(bench);
  await until('it has ended', () => !isAlive(measure));
});
