/** WatchRing between a real server and the client's watch, and a caller that knows of no deltas. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { followRing } from '../../client/ring-watch.ts';
import {
  KeyValueServiceClient,
  KeyValueServiceService,
  type WatchRingRequest,
  type WatchRingResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createRing, type Ring, ringsEqual } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createKeyValueService } from '../../services/platform/kv-service.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRingSource } from '../../services/platform/ring-source.ts';
import { createUnaryChannels } from '../../services/platform/routing/unary-channels.ts';
import type { SessionServer } from '../../services/platform/streams/session-server.ts';
import { recordingLog } from './recording-log.ts';

const clock = createClock();
const log = recordingLog();
const rings = createRingSource();
const server = await startGrpcServer({
  listen: '127.0.0.1:0',
  services: [
    {
      definition: KeyValueServiceService,
      implementation: createKeyValueService({
        sessions: {} as SessionServer, // WatchRing has none
        rings,
        clock,
        limits: requestLimits,
        log,
        explain: () => Promise.reject(new Error('not in this test')),
        async *listKeys() {},
      }),
    },
  ],
  log,
  metrics: createMetrics({ service: 'test' }),
});
const client = new KeyValueServiceClient(server.address, credentials.createInsecure());
after(async () => {
  client.close();
  await server.drain(0);
});

function ringAt(sequence: bigint, status: 'UP' | 'DOWN' = 'UP'): Ring {
  const node = (index: number) => ({
    ...{ index, id: `node-${index}`, address: `127.0.0.1:${7000 + index}`, host: `h${index}`, zone: 'z' },
    status: index === 0 ? status : ('UP' as const),
  });
  return createRing({
    version: { term: 1n, sequence },
    ...{ partitions: 4, replicas: 2, nodes: [node(0), node(1)] },
    owners: Uint16Array.of(0, 1, 1, 0, 0, 1, 1, 0),
    pending: new Map(),
  });
}

async function twoAnswers(request: WatchRingRequest, first: Ring, second: Ring): Promise<WatchRingResponse[]> {
  rings.set(first);
  const call = client.watchRing(request);
  call.on('error', () => {}); // cancelled below
  const [one] = (await once(call, 'data')) as [WatchRingResponse];
  rings.set(second);
  const [two] = (await once(call, 'data')) as [WatchRingResponse];
  call.cancel();
  return [one, two];
}

test('a caller that takes deltas gets the ring whole, and then what has changed', async () => {
  const [one, two] = await twoAnswers({ known: undefined, deltas: true }, ringAt(1n), ringAt(2n, 'DOWN'));
  assert.ok(one?.ring !== undefined && one.delta === undefined);
  assert.ok(two?.ring === undefined && two?.delta !== undefined);
  assert.deepEqual(Object.keys(two.delta.owners), []);
  assert.deepEqual(
    two.delta.nodes.map(({ id }) => id),
    ['node-0'],
  );
});

test('a caller that does not ask for deltas gets every ring whole', async () => {
  const answers = await twoAnswers({ known: undefined, deltas: false }, ringAt(3n), ringAt(4n, 'DOWN'));
  assert.ok(answers.every(({ ring, delta }) => ring !== undefined && delta === undefined));
});

test("the client's watch follows the ring by what has changed", async () => {
  rings.set(ringAt(5n));
  const heard: Ring[] = [];
  let wake = () => {};
  const watch = followRing({ channel: () => client }, [server.address], clock, (ring) => {
    heard.push(ring);
    wake();
  });
  try {
    await watch.first(10_000);
    for (const next of [ringAt(6n, 'DOWN'), ringAt(7n)]) {
      const told = new Promise<void>((resolve) => {
        wake = resolve;
      });
      rings.set(next);
      await told;
      assert.ok(ringsEqual(heard.at(-1) as Ring, next));
    }
  } finally {
    watch.close();
  }
});

test("the client's watch does not wait for a connection that leads nowhere", async () => {
  rings.set(ringAt(8n));
  // As a Service of Kubernetes, where one of two routers is gone: what was dialled stays silent, the next one works.
  const sockets: Socket[] = [];
  const { hostname, port } = new URL(`http://${server.address}`);
  const service = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    if (sockets.length === 1) return;
    const router = dial(Number(port), hostname).on('error', () => {});
    socket.pipe(router).pipe(socket);
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const channels = createUnaryChannels(clock);
  const address = `127.0.0.1:${(service.address() as AddressInfo).port}`;
  const watch = followRing(channels, [address], clock, () => {});
  try {
    // Long after the second attempt, and before gRPC gives the first connection up.
    assert.ok(ringsEqual(await watch.first(60_000), ringAt(8n)));
  } finally {
    watch.close();
    channels.close();
    for (const socket of sockets) socket.destroy();
    service.close();
  }
});
