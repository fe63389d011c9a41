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
import { createManualClock } from '../core/manual-clock.ts';
import { hangMs, until } from '../e2e/support.ts';
import { recordingLog } from './recording-log.ts';

const clock = createClock();
const log = recordingLog();

/** A server that serves WatchRing alone. */
async function serve(clusterId: string) {
  const rings = createRingSource();
  const { address, drain } = await startGrpcServer({
    listen: '127.0.0.1:0',
    services: [
      {
        definition: KeyValueServiceService,
        implementation: createKeyValueService({
          sessions: {} as SessionServer,
          rings,
          clusterId: () => clusterId,
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
  after(() => drain(0));
  return { address, rings };
}

const { address: serverAddress, rings } = await serve('ours');
const client = new KeyValueServiceClient(serverAddress, credentials.createInsecure());
after(() => client.close());

/** An address that leads to where `dial` says, at each connection. */
async function relay(dialled: (connections: number) => string | undefined) {
  const sockets: Socket[] = [];
  const service = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    const to = dialled(sockets.length);
    if (to === undefined) return;
    const { hostname, port } = new URL(`http://${to}`);
    const other = dial(Number(port), hostname).on('error', () => {});
    sockets.push(other);
    socket.pipe(other).pipe(socket);
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  after(() => {
    cut();
    service.close();
  });
  return { address: `127.0.0.1:${(service.address() as AddressInfo).port}`, cut };
}

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
  const [one, two] = await twoAnswers(
    { known: undefined, deltas: true, clusterId: '' },
    ringAt(1n),
    ringAt(2n, 'DOWN'),
  );
  assert.ok(one?.ring !== undefined && one.delta === undefined);
  assert.ok(two?.ring === undefined && two?.delta !== undefined);
  assert.deepEqual(Object.keys(two.delta.owners), []);
  assert.deepEqual(
    two.delta.nodes.map(({ id }) => id),
    ['node-0'],
  );
});

test('a caller that does not ask for deltas gets every ring whole', async () => {
  const answers = await twoAnswers({ known: undefined, deltas: false, clusterId: '' }, ringAt(3n), ringAt(4n, 'DOWN'));
  assert.ok(answers.every(({ ring, delta }) => ring !== undefined && delta === undefined));
});

test("the client's watch follows the ring by what has changed", async () => {
  rings.set(ringAt(5n));
  const heard: Ring[] = [];
  let wake = () => {};
  const watch = followRing({ channel: () => client }, [serverAddress], clock, (ring) => {
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

test("the client's watch asks the next endpoint where one knows no ring", { timeout: hangMs }, async () => {
  const [ignorant, knowing] = [await serve('ours'), await serve('ours')];
  knowing.rings.set(ringAt(1n));
  const time = createManualClock();
  const channels = createUnaryChannels(clock);
  const watch = followRing(channels, [ignorant.address, knowing.address], time, () => {});
  try {
    const first = watch.first(60_000);
    time.advance(5_000);
    assert.ok(ringsEqual(await first, ringAt(1n)));
  } finally {
    watch.close();
    channels.close();
  }
});

test('whoever waits for the first ring of a watch is told when that is closed', { timeout: hangMs }, async () => {
  const { address } = await serve('ours');
  const channels = createUnaryChannels(clock);
  const watch = followRing(channels, [address], createManualClock(), () => {});
  const first = watch.first(60_000);
  watch.close();
  channels.close();
  await assert.rejects(first, { reason: 'DRAINING' });
});

test("the client's watch does not wait for a connection that leads nowhere", async () => {
  rings.set(ringAt(8n));
  // As a Service of Kubernetes, where one of two routers is gone: what was dialled stays silent, the next one works.
  const { address } = await relay((connections) => (connections === 1 ? undefined : serverAddress));
  const channels = createUnaryChannels(clock);
  const watch = followRing(channels, [address], clock, () => {});
  try {
    // Long after the second attempt, and before gRPC gives the first connection up.
    assert.ok(ringsEqual(await watch.first(60_000), ringAt(8n)));
  } finally {
    watch.close();
    channels.close();
  }
});

test('of the rings that a caller was sent its watch keeps no listener', { timeout: hangMs }, async (t) => {
  rings.set(ringAt(9n));
  const call = client.watchRing({ known: undefined, deltas: false, clusterId: '' });
  call.on('error', () => {}); // cancelled below
  await once(call, 'data');
  const { mock } = t.mock.method(EventTarget.prototype, 'addEventListener');
  for (let sequence = 10n; sequence < 20n; sequence++) {
    rings.set(ringAt(sequence));
    await once(call, 'data');
  }
  call.cancel();
  assert.equal(mock.callCount(), 0);
});

for (const [what, sequence] of [
  ['newer', 90n],
  ['older', 1n],
] as const) {
  test(`the client's watch takes no ring of another cluster, ${what} as it may look, says so once, and goes on`, async () => {
    const [own, other] = [await serve('own'), await serve('other')];
    own.rings.set(ringAt(10n));
    other.rings.set(ringAt(sequence, 'DOWN'));
    let target = own.address;
    const router = await relay(() => target);
    const warnings: Error[] = [];
    const warned = (warning: Error) => {
      if (warning.name === 'CartwheelClusterWarning') warnings.push(warning);
    };
    process.on('warning', warned);
    const heard: Ring[] = [];
    let wake = () => {};
    const channels = createUnaryChannels(clock);
    const asked: string[] = [];
    const counting = {
      channel(address: string) {
        asked.push(address);
        return channels.channel(address);
      },
    };
    const watch = followRing(counting, [router.address], clock, (ring) => {
      heard.push(ring);
      wake();
    });
    try {
      await watch.first(60_000);
      target = other.address;
      router.cut();
      const since = asked.length;
      await until('it was tried several times', () => warnings.length > 0 && asked.length > since + 3);
      assert.deepEqual(
        warnings.map(({ message }) => message),
        [`${router.address}: it is of cluster other, and this client goes by the ring of cluster own`],
      );
      assert.ok(ringsEqual(watch.current() as Ring, ringAt(10n)));
      const back = new Promise<void>((resolve) => {
        wake = resolve;
      });
      target = own.address;
      router.cut();
      own.rings.set(ringAt(11n));
      await back;
      assert.deepEqual(
        heard.map(({ version }) => version.sequence),
        [10n, 11n],
      );
    } finally {
      process.off('warning', warned);
      watch.close();
      channels.close();
    }
  });
}
