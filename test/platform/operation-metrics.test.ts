/** What the objectives are computed from: each operation of a client once, with its time or with why it failed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server } from '@grpc/grpc-js';
import { KeyValueServiceService, type Operation, type Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createClock } from '../../services/platform/clock.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { type Hop, openSession } from '../../services/platform/streams/session-client.ts';
import { createSessionServer, type SessionServer } from '../../services/platform/streams/session-server.ts';
import { parsePrometheusText } from '../contract/prometheus-text.ts';
import { get, put, remove } from '../storage-node/requests.ts';
import { listenGrpc } from './listen-grpc.ts';
import { recordingLog } from './recording-log.ts';

const clock = createClock();
let metrics: ReturnType<typeof createMetrics>;
let sessions: SessionServer;
let server: Server;
let address = '';

/** Values of puts say what becomes of them. */
async function execute({ put: request }: Operation): Promise<Omit<Result, 'id'>> {
  const value = request?.value.toString() ?? '';
  if (value === 'bug') throw new Error('a bug');
  if (value === 'too large') throw new Failure('VALUE_TOO_LARGE', 'too large');
  if (value === 'alone') throw new Failure('NOT_ENOUGH_REPLICAS', 'alone', { outcome: 'UNKNOWN' });
  return {};
}

before(async () => {
  server = new Server();
  server.addService(KeyValueServiceService, {
    session: (stream: Parameters<SessionServer['serve']>[0]) => sessions.serve(stream),
  } as never);
  address = await listenGrpc(server);
});
after(() => server.forceShutdown());

function fresh(): void {
  metrics = createMetrics({ service: 'test' });
  const log = recordingLog();
  sessions = createSessionServer({ execute, clock, limits: requestLimits, log, metrics, ringVersion: () => undefined });
}

async function runAll(operations: readonly Partial<Operation>[], hop?: Hop): Promise<void> {
  const session = openSession({
    ...{ address, name: 'test', hop, now: clock.now },
    ...{ endOfTurn: (run) => setImmediate(run), after: clock.after },
  });
  await Promise.all(
    operations.map((body) => new Promise((resolve) => session.send({ timeoutMs: 10_000, ...body }, 100, resolve))),
  );
  session.close();
}

/** Those that have counted anything. */
async function counted(name: string, ...labels: string[]): Promise<Record<string, number>> {
  const samples = parsePrometheusText(await metrics.text()).get(name)?.samples ?? [];
  const of = samples.filter((sample) => [name, `${name}_count`].includes(sample.name) && sample.value > 0);
  return Object.fromEntries(
    of.map((sample) => [labels.map((label) => sample.labels.get(label)).join(' '), sample.value]),
  );
}

const some = [get('k'), get('k'), put('k', 'v'), remove('k', Buffer.alloc(0))];

test('what is answered is timed by its operation, and how long it waited', async () => {
  fresh();
  await runAll(some);
  assert.deepEqual(await counted('cartwheel_operation_seconds', 'operation'), { get: 2, put: 1, delete: 1 });
  assert.deepEqual(await counted('cartwheel_operation_wait_seconds'), { '': 4 });
  assert.deepEqual(await counted('cartwheel_failed_operations_total', 'operation'), {});
});

test('what fails is counted by whose fault it is, and not timed', async () => {
  fresh();
  await runAll(['bug', 'too large', 'alone', 'alone'].map((value) => put('k', value)));
  assert.deepEqual(await counted('cartwheel_failed_operations_total', 'operation', 'reason', 'fault'), {
    'put INTERNAL service': 1,
    'put NOT_ENOUGH_REPLICAS service': 2,
    'put VALUE_TOO_LARGE client': 1,
  });
  assert.deepEqual(await counted('cartwheel_operation_seconds', 'operation'), {});
});

test('what is refused before it begins has failed', async () => {
  fresh();
  await runAll([{}]);
  assert.deepEqual(await counted('cartwheel_failed_operations_total', 'operation', 'reason'), {
    'none OPERATION_INVALID': 1,
  });
});

test('what a router or a storage node sends on was counted there already', async () => {
  for (const hop of ['routed', 'forwarded'] as const) {
    fresh();
    await runAll([...some, put('k', 'bug')], hop);
    for (const name of ['operation_seconds', 'operation_wait_seconds', 'failed_operations_total']) {
      assert.deepEqual(await counted(`cartwheel_${name}`), {}, `${name}, ${hop}`);
    }
  }
});

test('one call without a session counts the same', async () => {
  fresh();
  const asked = (body: Partial<Operation>) =>
    sessions.runOne('peer', { id: 0n, timeoutMs: 0, ...body }, clock.now() + 10_000, new Promise(() => {}));
  await asked(get('k'));
  await assert.rejects(asked(put('k', 'alone')), Failure);
  assert.deepEqual(await counted('cartwheel_operation_seconds', 'operation'), { get: 1 });
  assert.deepEqual(await counted('cartwheel_failed_operations_total', 'reason'), { NOT_ENOUGH_REPLICAS: 1 });
});

test('a failure that is the service’s fault has its series before the first one', async () => {
  fresh();
  const samples = parsePrometheusText(await metrics.text()).get('cartwheel_failed_operations_total')?.samples ?? [];
  const reasons = new Set(samples.map(({ labels }) => labels.get('reason')));
  for (const reason of ['DEADLINE', 'OVERLOADED', 'NOT_ENOUGH_REPLICAS', 'STORAGE_FAILED', 'INTERNAL', 'NO_RING']) {
    assert.ok(reasons.has(reason), reason);
  }
  assert.deepEqual([...new Set(samples.map(({ labels }) => labels.get('fault')))], ['service']);
});
