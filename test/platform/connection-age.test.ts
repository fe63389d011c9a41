/** Connections that are asked to go, because they are old or their server stops, lose no operation. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { KeyValueServiceService, type Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createClock } from '../../services/platform/clock.ts';
import { bidi, startGrpcServer, unary } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { createSessionPool } from '../../services/platform/routing/session-pool.ts';
import { createSessionServer } from '../../services/platform/streams/session-server.ts';
import { get } from '../storage-node/requests.ts';
import { recordingLog } from './recording-log.ts';

const clock = createClock();

async function setup(t: TestContext, ageMs: number) {
  const log = recordingLog();
  const metrics = createMetrics({ service: 'test' });
  const peers = new Set<string>();
  const execute = async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { get: { siblings: [], omitted: [], context: Buffer.alloc(0), certificate: undefined } };
  };
  const sessions = createSessionServer({
    ...{ execute, clock, limits: requestLimits, log, metrics, ringVersion: () => undefined },
    sessionAgeMs: 1.2 * ageMs,
  });
  const notServed = unary<unknown, never>(log, async () => {
    throw new Failure('NOT_IMPLEMENTED', 'not in this test');
  });
  const server = await startGrpcServer({
    listen: '127.0.0.1:0',
    ...{ log, metrics, limits: { maxConnectionAgeMs: ageMs, maxConnectionAgeGraceMs: 60_000 } },
    services: [
      {
        definition: KeyValueServiceService,
        implementation: {
          ...{ get: notServed, put: notServed, delete: notServed, explain: notServed },
          ...{ listKeys: notServed, watchRing: notServed },
          session: bidi(log, (stream: Parameters<typeof sessions.serve>[0]) => {
            peers.add(stream.getPeer());
            sessions.serve(stream);
          }),
        },
      },
    ],
  });
  const pool = createSessionPool({ name: 'test', clock, random: createRandom() });
  t.after(async () => {
    pool.close();
    await server.drain(0);
  });
  const ask = () => pool.send(server.address, { timeoutMs: 10_000, ...get('k') }, 60_000);
  return { ask, peers, sessions };
}

function assertAnswered(answers: readonly (Result | Failure)[]): void {
  for (const answer of answers) assert.ok(!(answer instanceof Failure) && answer.error === undefined, String(answer));
}

test('a session that grows old goes on over another connection, and every operation is answered', async (t) => {
  const { ask, peers } = await setup(t, 150);
  const answers: Promise<Result | Failure>[] = [];
  while (peers.size < 4) {
    for (let i = 0; i < 20; i++) answers.push(ask());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertAnswered(await Promise.all(answers));
});

test('a server that stops answers what was on its way when it told its clients to go', async (t) => {
  const { ask, sessions } = await setup(t, 60_000);
  assertAnswered([await ask()]);
  const drained = sessions.drain();
  // The client has not read of it yet.
  assertAnswered(await Promise.all(Array.from({ length: 50 }, ask)));
  await drained;
  assert.equal(sessions.sessions, 0);
});
