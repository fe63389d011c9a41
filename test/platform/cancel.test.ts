/** A cancel ends an operation for its client at once, and reaches whoever works for it, through a router too. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Server } from '@grpc/grpc-js';
import { connect } from '../../client/index.ts';
import { KeyValueServiceService, type Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Until } from '../../services/core/cancellation.ts';
import { createExtraBudget } from '../../services/core/quorum/extra-budget.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createRing } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createHotKeys } from '../../services/platform/hot-keys.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { createBalancer } from '../../services/platform/routing/balancer.ts';
import { createRequestIds } from '../../services/platform/routing/request-ids.ts';
import { createSessionPool } from '../../services/platform/routing/session-pool.ts';
import { createSessionServer, type Execute } from '../../services/platform/streams/session-server.ts';
import { createRouter } from '../../services/router/route.ts';
import { parsePrometheusText } from '../contract/prometheus-text.ts';
import { listenGrpc } from './listen-grpc.ts';
import { recordingLog } from './recording-log.ts';

const clock = createClock();
const random = createRandom();

async function serve(t: TestContext, execute: Execute) {
  const metrics = createMetrics({ service: 'test' });
  const sessions = createSessionServer({
    ...{ execute, clock, limits: requestLimits, log: recordingLog(), metrics },
    ringVersion: () => undefined,
  });
  const server = new Server();
  server.addService(KeyValueServiceService, {
    session: (stream: Parameters<typeof sessions.serve>[0]) => sessions.serve(stream),
  } as never);
  const address = await listenGrpc(server);
  t.after(() => server.forceShutdown());
  return { address, server, metrics };
}

/** A storage node that never answers, and a router before it. */
async function setup(t: TestContext) {
  const arrived = Promise.withResolvers<{ operation: Operation; until: Until }>();
  const node = await serve(t, (operation, until) => {
    arrived.resolve({ operation, until });
    return new Promise(() => {});
  });
  const ring = createRing({
    version: { term: 1n, sequence: 1n },
    partitions: 1,
    replicas: 1,
    nodes: [{ index: 0, id: 'n', address: node.address, host: 'h', zone: 'z', status: 'UP' }],
    owners: new Uint16Array(1),
    pending: new Map(),
  });
  const pool = createSessionPool({ name: 'router', clock, random, hop: 'routed' });
  const metrics = createMetrics({ service: 'test' });
  const router = createRouter({
    ...{ clock, metrics, limits: requestLimits, hash: xxh64, newRequestId: createRequestIds(random) },
    balancer: createBalancer({ pool, clock, random }),
    hotKeys: createHotKeys(clock, metrics),
    extra: createExtraBudget(10),
    ring: () => ring,
  });
  const front = await serve(t, router.run);
  const client = connect({ endpoints: [front.address] });
  t.after(async () => {
    await client.close();
    router.close();
    pool.close();
  });
  return { arrived: arrived.promise, client, front, node };
}

const heard = ({ cancellation }: Until) => new Promise<void>((resolve) => void cancellation.onCancel(resolve));

for (const [what, begin] of [
  ['get', (client, signal) => client.get('k', { signal, timeoutMs: 60_000 })],
  ['put', (client, signal) => client.put('k', 'v', { signal, timeoutMs: 60_000 })],
] as [string, (client: ReturnType<typeof connect>, signal: AbortSignal) => Promise<unknown>][]) {
  test(`a ${what} that is aborted ends for its caller, and is cancelled at the storage node`, async (t) => {
    const { arrived, client, front } = await setup(t);
    const abort = new AbortController();
    const answer = begin(client, abort.signal);
    const { operation, until } = await arrived;
    assert.ok(operation.get ?? operation.put);
    assert.equal(until.cancellation.cancelled, false);
    abort.abort(new Error('not wanted any more'));
    await assert.rejects(answer, /not wanted any more/);
    await heard(until);
    const failures = parsePrometheusText(await front.metrics.text()).get('cartwheel_failed_operations_total');
    assert.ok(
      failures?.samples.every(({ value }) => value === 0),
      'what is cancelled has not failed',
    );
  });
}

test('a client that is gone has cancelled all that it waited for', async (t) => {
  const { arrived, client } = await setup(t);
  const answer = client.get('k', { timeoutMs: 60_000 });
  answer.catch(() => {});
  const { until } = await arrived;
  await client.close();
  await assert.rejects(answer);
  await heard(until);
});

test('an abort before the operation is sent sends nothing', async (t) => {
  const { arrived, client } = await setup(t);
  await assert.rejects(client.get('k', { signal: AbortSignal.abort(new Error('before')) }), /before/);
  void client.get('later').catch(() => {});
  assert.equal((await arrived).operation.get?.key.toString(), 'later');
});
