import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectivityState, credentials } from '@grpc/grpc-js';
import { KeyValueServiceClient } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { whenReady } from '../../services/platform/when-ready.ts';
import { hangMs } from '../e2e/support.ts';

test('a channel that is closed while it is waited for stays closed', async () => {
  // It takes connections, and never says a word.
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  for (const closedAfterMs of [0, 50]) {
    const client = new KeyValueServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
    const failure = new Promise<Error | undefined>((resolve) => whenReady(client, Date.now() + 60_000, resolve));
    if (closedAfterMs > 0) await sleep(closedAfterMs);
    client.close();
    assert.match((await failure)?.message ?? '', /closed/);
    await sleep(100);
    assert.equal(client.getChannel().getConnectivityState(false), connectivityState.SHUTDOWN);
  }
  for (const socket of sockets) socket.destroy();
  server.close();
});

test('a clock that is set back does not put the deadline off', { timeout: hangMs }, async (t) => {
  const client = new KeyValueServiceClient('127.0.0.1:1', credentials.createInsecure());
  const failure = new Promise<Error | undefined>((resolve) => whenReady(client, Date.now() + 50, resolve));
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() - 3_600_000 });
  assert.match((await failure)?.message ?? '', /deadline/);
  client.close();
});

test('what is not connected by the deadline is told so', async () => {
  const client = new KeyValueServiceClient('127.0.0.1:1', credentials.createInsecure());
  const failure = await new Promise<Error | undefined>((resolve) => whenReady(client, Date.now() + 50, resolve));
  client.close();
  assert.match(failure?.message ?? '', /deadline/);
});
