/** Sessions to storage nodes whose names lead elsewhere. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  KeyValueServiceService,
  Result,
  type SessionRequest,
  SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { neverCancelled } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createRing, type NodeStatusName, type Ring } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import { bidi, startGrpcServer, unary } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { createRingSource } from '../../services/platform/ring-source.ts';
import { createSessionPool } from '../../services/platform/routing/session-pool.ts';
import type { OperationBody } from '../../services/platform/streams/session-client.ts';
import { createSessionServer } from '../../services/platform/streams/session-server.ts';
import { createForwarding } from '../../services/storage-node/forwarding.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { freePorts } from '../e2e/ports.ts';
import { hangMs, until } from '../e2e/support.ts';
import { get, put } from '../storage-node/requests.ts';
import { startNameService } from './name-service.ts';
import { silentLog } from './recording-log.ts';

type Stream = ServerDuplexStream<SessionRequest, SessionResponse>;

const clock = createClock();

async function serveSessions(t: TestContext, listen: string, session: (stream: Stream) => void): Promise<void> {
  const notServed = unary<unknown, never>(silentLog, async () => {
    throw new Failure('NOT_IMPLEMENTED', 'not in this test');
  });
  const server = await startGrpcServer({
    ...{ listen, log: silentLog, metrics: createMetrics({ service: 'test' }) },
    services: [
      {
        definition: KeyValueServiceService,
        implementation: {
          ...{ get: notServed, put: notServed, delete: notServed, explain: notServed },
          ...{ listKeys: notServed, watchRing: notServed },
          session: bidi(silentLog, session),
        },
      },
    ],
  });
  t.after(() => server.drain(0));
}

/** Welcomes every session, and says then what the test does. */
async function startScripted(t: TestContext) {
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const sessions: { stream: Stream; readonly asked: bigint[]; isOver: boolean }[] = [];
  await serveSessions(t, address, (stream) => {
    const session = { stream, asked: [] as bigint[], isOver: false };
    sessions.push(session);
    const over = () => {
      session.isOver = true;
    };
    stream.on('data', ({ operations }: SessionRequest) => {
      for (const { id, cancel } of operations) if (cancel === undefined) session.asked.push(id);
    });
    stream.on('cancelled', over).on('end', over);
    stream.write(SessionResponse.fromPartial({ welcome: { maxInFlight: 100 } }));
  });
  const answer = (i: number) => {
    const results = sessions[i]?.asked.map((id) => Result.fromPartial({ id, get: {} })) ?? [];
    sessions[i]?.stream.write(SessionResponse.fromPartial({ results }));
  };
  const tellToGo = (i: number) =>
    sessions[i]?.stream.write(SessionResponse.fromPartial({ goAway: { reason: 'test' } }));
  return { address, sessions, answer, tellToGo };
}

/** Two sessions to one address: an operation is on its way on the first, which was told to go, and one on the second. */
async function setUpTwo(t: TestContext, patienceMs: readonly [number, number]) {
  const scripted = await startScripted(t);
  const { address, sessions, tellToGo } = scripted;
  const time = createManualClock();
  const pool = createSessionPool({ name: 'test', clock: time, random: createRandom() });
  t.after(() => pool.close());
  const send = (ms: number) => pool.send(address, { timeoutMs: 0, ...get('k') }, ms);
  const first = send(patienceMs[0]);
  await until('the first is asked', () => sessions[0]?.asked.length === 1);
  tellToGo(0);
  await until('it is told to go', () => !pool.ready(address));
  const second = send(patienceMs[1]);
  await until('the second is asked', () => sessions[1]?.asked.length === 1);
  assert.equal(pool.ready(address), true);
  return { ...scripted, time, pool, first, second };
}

/** Answers each get with nothing, and counts them; not before `answers`. Without a `nodeId` it is a router. */
async function startNode(t: TestContext, listen: string, nodeId: string, clusterId = '', answers = Promise.resolve()) {
  const metrics = createMetrics({ service: 'test' });
  const asked = { count: 0 };
  const execute = async () => {
    asked.count++;
    await answers;
    return { get: { siblings: [], omitted: [], context: Buffer.alloc(0), certificate: undefined } };
  };
  const sessions = createSessionServer({
    ...{ execute, clock, limits: requestLimits, log: silentLog, metrics, ringVersion: () => undefined, nodeId },
    clusterId: () => clusterId,
  });
  await serveSessions(t, listen, (stream) => sessions.serve(stream));
  return asked;
}

function ringOf(
  nodes: readonly (readonly [id: string, address: string, status?: NodeStatusName])[],
  sequence = 1n,
): Ring {
  return createRing({
    ...{ version: { term: 1n, sequence }, partitions: 1, replicas: 1, pending: new Map() },
    nodes: nodes.map(([id, address, status = 'UP'], index) => {
      return { index, id, address, host: id, zone: id, status };
    }),
    owners: Uint16Array.of(0),
  });
}

function poolBy(t: TestContext, ring: () => Ring | undefined, clusterId = '') {
  const pool = createSessionPool({ name: 'test', clock, random: createRandom(), ring, clusterId: () => clusterId });
  t.after(() => pool.close());
  return (address: string): Promise<Result | Failure> => pool.send(address, { timeoutMs: 10_000, ...get('k') }, hangMs);
}

test('operations are for the node that the ring has at an address, and reach it once its name leads there', {
  timeout: hangMs,
}, async (t) => {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  const address = `b.test:${port}`;
  names.set('b.test', '127.0.0.1');
  const stranger = await startNode(t, `127.0.0.1:${port}`, 'of another cluster');
  const right = await startNode(t, `127.0.0.2:${port}`, 'b');
  const send = poolBy(t, () => ringOf([['b', address]]));
  const refused = await send(address);
  assert.ok(refused instanceof Failure && refused.outcome === 'NOT_APPLIED', String(refused));
  names.set('b.test', '127.0.0.2');
  await until('it is answered', async () => !((await send(address)) instanceof Failure));
  assert.deepEqual([stranger.count, right.count], [0, 1]);
});

test('a node that takes the place of a lost one at its address is meant too, and whoever the ring does not have', {
  timeout: hangMs,
}, async (t) => {
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  await startNode(t, address, 'new');
  for (const ring of [
    ringOf([
      ['old', address, 'DOWN'],
      ['new', address, 'JOINING'],
    ]),
    ringOf([['old', address, 'LEFT']]),
    ringOf([['other', 'c.test:1']]),
    undefined,
  ]) {
    const answer = await poolBy(t, () => ring)(address);
    assert.ok(!(answer instanceof Failure), String(answer));
  }
});

test('a router of another cluster than the ring is of is sent nothing, and one that names none is', {
  timeout: hangMs,
}, async (t) => {
  const ports = await freePorts(3);
  const [own, other, old] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string];
  const asked = [
    await startNode(t, own, '', 'ours'),
    await startNode(t, other, '', 'theirs'),
    await startNode(t, old, ''),
  ];
  const ring = ringOf([['a', 'a.test:1']]);
  const send = poolBy(t, () => ring, 'ours');
  const refused = await send(other);
  assert.ok(refused instanceof Failure && refused.outcome === 'NOT_APPLIED', String(refused));
  assert.match(refused.message, /it is of cluster theirs, and cluster ours was meant$/);
  for (const address of [own, old]) assert.ok(!((await send(address)) instanceof Failure));
  assert.ok(!((await poolBy(t, () => undefined)(other)) instanceof Failure), 'who knows of no cluster goes by none');
  assert.deepEqual(
    asked.map(({ count }) => count),
    [1, 1, 1],
  );
});

test('a process that owes an answer is not ready again by what is refused here, before it is asked', {
  timeout: hangMs,
}, async (t) => {
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  await startNode(t, address, '', '', promise);
  const pool = createSessionPool({ name: 'test', clock, random: createRandom() });
  t.after(() => pool.close());
  const waited = pool.send(address, { timeoutMs: 10_000, ...get('k') }, hangMs);
  await until('there is a session', async () => pool.ready(address));
  const late = await pool.send(address, { timeoutMs: 10_000, ...get('k') }, 1);
  assert.ok(late instanceof Failure && late.reason === 'DEADLINE', String(late));
  assert.equal(pool.ready(address), false);
  const refused = await pool.send(address, { timeoutMs: 10_000, ...put('k', Buffer.alloc(5 * 1024 * 1024)) }, hangMs);
  assert.ok(refused instanceof Failure && refused.reason === 'VALUE_TOO_LARGE', String(refused));
  assert.equal(pool.ready(address), false);
  resolve();
  await waited;
  assert.equal(pool.ready(address), true);
});

test('a process that was given up before it was connected is ready once it welcomes the session', {
  timeout: hangMs,
}, async (t) => {
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const pool = createSessionPool({ name: 'test', clock, random: createRandom() });
  t.after(() => pool.close());
  const late = await pool.send(address, { timeoutMs: 10_000, ...get('k') }, 1);
  assert.ok(late instanceof Failure && late.reason === 'DEADLINE', String(late));
  await startNode(t, address, '');
  await until('it is ready, though nothing is sent there', () => pool.ready(address));
});

test('what an earlier session owes says nothing of the process that welcomed a later one', {
  timeout: hangMs,
}, async (t) => {
  const { address, time, pool, first } = await setUpTwo(t, [1_000, 60_000]);
  time.advance(2_000);
  const late = await first;
  assert.ok(late instanceof Failure && late.reason === 'DEADLINE', String(late));
  assert.equal(pool.ready(address), true);
});

test('what an earlier session answers says nothing of the process that owes an answer on a later one', {
  timeout: hangMs,
}, async (t) => {
  const { address, time, pool, first, second, answer } = await setUpTwo(t, [60_000, 1_000]);
  time.advance(2_000);
  await second;
  assert.equal(pool.ready(address), false);
  answer(0);
  assert.ok(!((await first) instanceof Failure));
  assert.equal(pool.ready(address), false);
});

test('a pool that is closed fails what is on its way on a session that was told to go', {
  timeout: hangMs,
}, async (t) => {
  const { pool, first, second } = await setUpTwo(t, [60_000, 60_000]);
  pool.close();
  assert.ok((await first) instanceof Failure);
  assert.ok((await second) instanceof Failure);
});

test('what is sent once more to an address that is not kept any more leaves nothing that dials it for ever', {
  timeout: hangMs,
}, async (t) => {
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const time = createManualClock();
  const pool = createSessionPool({ name: 'test', clock: time, random: createRandom() });
  t.after(() => pool.close());
  pool.keep([]);
  const sent = pool.send(address, { timeoutMs: 0, ...get('k') }, 60_000);
  const timers = time.timers;
  await serveSessions(t, address, (stream) => stream.end());
  assert.ok((await sent) instanceof Failure);
  assert.equal(time.timers, timers, 'none is to open another session');
});

test('a node is not connected to any more by what was sent on to it, once it has left the ring', {
  timeout: hangMs,
}, async (t) => {
  const { address, sessions, answer } = await startScripted(t);
  const rings = createRingSource(ringOf([['b', address]]));
  const forwarding = createForwarding(rings, clock, createRandom(), 'a', undefined);
  t.after(() => forwarding.close());
  const until60s = { deadline: clock.now() + 60_000, cancellation: neverCancelled };
  const sent = forwarding.forward('b', { id: 1n, timeoutMs: 0, ...get('k') }, until60s);
  await until('it is asked', () => sessions[0]?.asked.length === 1);
  answer(0);
  assert.ok((await sent).get !== undefined);
  rings.set(ringOf([['b', address, 'LEFT']], 2n));
  await until('its session is over', () => sessions[0]?.isOver === true);
});

test('what has no size is refused, and leaves no alarm that would end the process', () => {
  const clock = createManualClock();
  const pool = createSessionPool({ name: 'test', clock, random: createRandom() });
  const { get: request } = get('k');
  const body = { timeoutMs: 1_000, get: { ...request, dots: [7] as unknown as string[] } } as OperationBody;
  assert.throws(() => pool.send('127.0.0.1:1', body, 1_000), TypeError);
  clock.advance(2_000);
  pool.close();
});
