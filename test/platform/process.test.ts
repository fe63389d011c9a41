import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { type EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./process-child.ts', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]) {
  const child: ChildProcess = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let stdout = '';
  let stderr = '';
  let arrived = () => {};
  child.stdout?.on('data', (bytes: Buffer) => {
    stdout += bytes;
    arrived();
  });
  child.stderr?.on('data', (bytes: Buffer) => {
    stderr += bytes;
  });
  // Not 'close', which never comes after disconnect().
  const ends = [child, child.stdout, child.stderr].map((one, i) => once(one as EventEmitter, i === 0 ? 'exit' : 'end'));
  const ended: Promise<Ended> = Promise.all(ends).then(([exit]) => ({ code: exit?.[0], stdout, stderr }));
  return {
    child,
    ended,
    async saw(text: string): Promise<void> {
      while (!stdout.includes(text)) {
        await new Promise<void>((resolve) => {
          arrived = resolve;
        });
      }
    },
  };
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  test(`${signal} stops the service once, and the exit code is 0`, async () => {
    const { child, ended, saw } = start('serve');
    await saw('serving');
    child.kill(signal);
    child.kill(signal);
    const { code, stdout } = await ended;
    assert.equal(code, 0);
    assert.equal(stdout.match(/stopped by/g)?.length, 1);
    assert.match(stdout, new RegExp(`stopped by ${signal}`));
  });
}

test('a service that wants it is stopped and started again in its process', async () => {
  const { child, ended, saw } = start('start-again');
  await saw('start 2\nserving');
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.equal(stdout, 'start 1\nserving\nstopped by itself\nstart 2\nserving\nstopped by SIGTERM\n');
});

test('a signal while a service stops to start again ends the process, and nothing is started', async () => {
  const { child, ended, saw } = start('start-again-slowly');
  await saw('stopping for itself');
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.equal(stdout, 'serving\nstopping for itself\n');
});

test('a signal during the start stops the service when it has started', async () => {
  const { child, ended, saw } = start('start-slowly');
  await saw('starting');
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.match(stdout, /serving\nstopped by SIGTERM/);
});

test('a second signal ends at once a service that does not stop, with the code of the signal', async () => {
  const { child, ended, saw } = start('never-stop');
  await saw('serving');
  child.kill('SIGTERM');
  await saw('stopping');
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  child.kill('SIGINT');
  assert.equal((await ended).code, 130);
});

test('the end of the parent stops the service gracefully', async () => {
  const { child, ended, saw } = start('serve');
  await saw('serving');
  child.disconnect();
  const { code, stdout } = await ended;
  assert.equal(code, 0);
  assert.match(stdout, /stopped by the parent is gone/);
});

test('a bug nobody caught is logged and ends the process with 70', async () => {
  for (const kind of ['throw-later', 'reject-later']) {
    const { code, stdout } = await start(kind).ended;
    assert.equal(code, 70, kind);
    const line = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { level: string; err: { message: string } };
    assert.equal(line.level, 'fatal');
    assert.equal(line.err.message, 'a bug');
  }
});

test('problems of the configuration go to stderr, all of them, with exit code 2', async () => {
  const { code, stdout, stderr } = await start('configure', '--port', 'many', '--prot=1').ended;
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /child: 2 problems/);
  assert.match(stderr, /--prot: no such flag; did you mean --port\?/);
  assert.match(stderr, /--port: wanted a whole number/);
});

test('--help goes to stdout with exit code 0', async () => {
  const { code, stdout, stderr } = await start('configure', '--help').ended;
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /--port NUMBER/);
});

test('a service that cannot start says why, with exit code 1', async () => {
  const { code, stdout } = await start('fail').ended;
  assert.equal(code, 1);
  assert.match(stdout, /child did not start: the disk is gone/);
});

test('a failing stop is logged, with exit code 1', async () => {
  const { child, ended, saw } = start('fail-to-stop');
  await saw('serving');
  child.kill('SIGTERM');
  const { code, stdout } = await ended;
  assert.equal(code, 1);
  assert.match(stdout, /the sync failed/);
});
