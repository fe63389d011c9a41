/** What a client that is closed leaves behind, where an address swallows packets. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const hangMs = 60_000;
const sockets: Socket[] = [];
const ends: (() => void)[] = [];
after(() => {
  for (const socket of sockets) socket.destroy();
  for (const end of ends) end();
});

/** Listens, and never takes a connection: once its queue is full Linux drops every packet that would begin one. */
const listener = `
  const server = require('node:net').createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

async function swallowingAddress(): Promise<string> {
  const child = spawn(process.execPath, ['--eval', listener], { stdio: ['ignore', 'pipe', 'inherit'] });
  ends.push(() => child.kill('SIGKILL'));
  const port = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
  await new Promise<void>((resolve) => {
    let queued = 0;
    for (let i = 0; i < 8; i++) {
      const socket = connect(port, '127.0.0.1', () => {
        if (++queued === 2) resolve();
      });
      sockets.push(socket.on('error', () => {}));
    }
  });
  return `127.0.0.1:${port}`;
}

/** Prints the sockets of its process before and after the client was closed. */
const program = (client: string, endpoint: string, direct: boolean) => `
  import { setImmediate as turn } from 'node:timers/promises';
  import { connect } from ${JSON.stringify(client)};
  const sockets = () => process.getActiveResourcesInfo().filter((name) => /TCP/.test(name));
  const client = connect({ endpoints: [${JSON.stringify(endpoint)}], direct: ${direct} });
  void client.status().catch(() => {});
  void client.put('k', 'v', { timeoutMs: 1_000 }).catch(() => {});
  while (sockets().length < 2) await turn();
  const before = sockets();
  await client.close({ timeoutMs: 0 });
  // The call of status is not waited for, and has its channel for three seconds.
  for (const giveUpAt = performance.now() + ${hangMs / 4}; sockets().length > 0 && performance.now() < giveUpAt; ) await turn();
  process.stdout.write(JSON.stringify({ before, after: sockets() }), () => process.exit());
`;

for (const direct of [false, true]) {
  test(`a client that is closed leaves no connection that is still being made${direct ? ', nor one for the ring' : ''}`, {
    timeout: hangMs,
  }, async () => {
    const client = fileURLToPath(new URL('../../client/index.ts', import.meta.url));
    const text = program(client, await swallowingAddress(), direct);
    const child = spawn(process.execPath, ['--input-type=module', '--eval', text], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    ends.push(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
    await new Promise((resolve) => child.once('close', resolve));
    const { before, after: left } = JSON.parse(output);
    assert.ok(before.length >= 2, `${before}`);
    assert.deepEqual(left, []);
  });
}
