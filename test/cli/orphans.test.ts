import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startFakeStore } from './fake-store.ts';

const command = fileURLToPath(new URL('../../bin/cartwheel.js', import.meta.url));
const store = await startFakeStore();
after(() => store.close());

test('a command ends when the npm that started it is killed', { timeout: 30_000 }, async () => {
  const began = new Promise<void>((resolve) => {
    store.refuse = () => {
      resolve();
      return undefined;
    };
  });
  const args = [command, 'bench', '--seconds', '60', '--concurrency', '1', '--endpoint', store.address];
  const script = `require('node:child_process').spawn(process.execPath, ${JSON.stringify(args)}, { stdio: 'inherit' })`;
  const npm = spawn(process.execPath, ['-e', script], {
    env: { ...process.env, npm_lifecycle_event: 'start' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // Closed when nobody holds the output of the command any more.
  const over = new Promise<number>((resolve) => npm.stdout.once('close', () => resolve(performance.now())));
  npm.stdout.resume();
  await began;
  const killed = performance.now();
  npm.kill('SIGKILL');
  assert.ok((await over) - killed < 10_000);
});
