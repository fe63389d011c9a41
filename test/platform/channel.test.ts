import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import net, { createServer, type NetConnectOpts } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import { GossipRequest, MembershipServiceClient } from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import { channelOptions, openChannel } from '../../services/platform/channel.ts';
import { freePorts } from '../e2e/ports.ts';
import { hangMs, until } from '../e2e/support.ts';

/** By itself gRPC dials again this long after a failure, give or take a fifth. */
const backoffMs = 1_000;

test('a channel that is closed after a failed call leaves no connection to who listens there later', {
  timeout: hangMs,
}, async (t) => {
  const [port] = await freePorts(1);
  for (let i = 0; i < 10; i++) {
    const client = openChannel(MembershipServiceClient, `127.0.0.1:${port}`);
    const failure = await new Promise<ServiceError | null>((resolve) => {
      const deadline = Date.now() + hangMs;
      client.gossip(GossipRequest.fromPartial({}), new Metadata(), { deadline }, resolve);
    });
    assert.ok(failure);
    client.close();
  }
  let open = 0;
  const server = createServer((socket) => {
    open++;
    socket.resume().on('error', () => {});
    socket.on('close', () => open--);
  }).listen(port, '127.0.0.1');
  t.after(() => server.close());
  await sleep(2 * backoffMs);
  await until('all are closed', () => open === 0);
});

test('a channel that dials again and again keeps nothing of the dials before', { timeout: hangMs }, async (t) => {
  const [port] = await freePorts(1);
  const dialled: (AbortSignal | undefined)[] = [];
  const connect = net.connect as (options: NetConnectOpts, connected?: () => void) => net.Socket;
  t.mock.method(net, 'connect', (options: NetConnectOpts, connected?: () => void) => {
    // The signal is made where it is read.
    const read = { ...options };
    dialled.push(read.signal);
    return connect(read, connected);
  });
  const soon = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 100 };
  const client = openChannel(MembershipServiceClient, `127.0.0.1:${port}`, { ...channelOptions, ...soon });
  t.after(() => client.close());
  await until('it has dialled often', () => {
    client.getChannel().getConnectivityState(true);
    return dialled.length >= 5;
  });
  const listening = dialled.map((signal) => (signal === undefined ? 0 : getEventListeners(signal, 'abort').length));
  assert.ok(Math.max(...listening) <= 2, `they listen: ${listening}`);
  assert.equal(new Set(dialled).size, dialled.length);
});
