/** When an operation of a session is due: what its message took on its way counts. And when it is read on. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { after, before, test } from 'node:test';
import { type ClientDuplexStream, credentials, Metadata, Server } from '@grpc/grpc-js';
import {
  KeyValueServiceClient,
  KeyValueServiceService,
  Reason,
  type Result,
  SessionRequest,
  type SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createClock } from '../../services/platform/clock.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import {
  createSessionServer,
  type SessionServer,
  waitingBytesPause,
} from '../../services/platform/streams/session-server.ts';
import { get, put } from '../storage-node/requests.ts';
import { listenGrpc } from './listen-grpc.ts';
import { recordingLog } from './recording-log.ts';

const real = createClock();
/** Of a process that has run for a while. */
const clock = { ...real, now: () => real.now() + 1e6 };
const deadlines: number[] = [];
const server = new Server();
let client: KeyValueServiceClient;

before(async () => {
  const sessions = createSessionServer({
    execute: async (_, { deadline }) => {
      deadlines.push(deadline);
      return {};
    },
    ...{ clock, limits: requestLimits, log: recordingLog(), metrics: createMetrics({ service: 'test' }) },
    ringVersion: () => undefined,
  });
  server.addService(KeyValueServiceService, {
    session: (stream: Parameters<SessionServer['serve']>[0]) => sessions.serve(stream),
  } as never);
  client = new KeyValueServiceClient(await listenGrpc(server), credentials.createInsecure());
});
after(() => {
  client.close();
  server.forceShutdown();
});

function next(stream: ClientDuplexStream<SessionRequest, SessionResponse>): Promise<SessionResponse> {
  return new Promise((resolve) => stream.once('data', resolve));
}

async function ask(sentAtMs: (clockMs: number) => number, timeoutMs: number): Promise<Result> {
  const stream = client.session();
  stream.on('error', () => {});
  const { clockMs } = await next(stream);
  const operations = [{ id: 1n, ...put('k', 'v'), timeoutMs }];
  stream.write(SessionRequest.fromPartial({ operations, sentAtMs: sentAtMs(clockMs) }));
  const { results } = await next(stream);
  stream.end();
  return results[0] as Result;
}

test('an operation whose message came after its deadline is never begun', async () => {
  deadlines.length = 0;
  const { error } = await ask((clockMs) => clockMs - 60_000, 59_000);
  assert.equal(error?.reason, Reason.DEADLINE);
  assert.deepEqual(deadlines, []);
});

test('what is left of the time of an operation is what its message did not take', async () => {
  deadlines.length = 0;
  const { error } = await ask((clockMs) => clockMs - 20_000, 60_000);
  assert.equal(error, undefined);
  const left = (deadlines[0] as number) - clock.now();
  assert.ok(left <= 40_000, `${left} ms are left of 60,000`);
});

test('a message that does not say when it was sent, or says what cannot be, takes no time', async () => {
  for (const wrong of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e300]) {
    const { error } = await ask(() => wrong, 10_000);
    assert.equal(error, undefined, `sent at ${wrong}`);
  }
});

test('a client whose answers are too many is read again once the last of them has gone, whatever that waited for', async () => {
  const value = Buffer.alloc(waitingBytesPause + 1);
  const siblings = [{ value, dot: 'a:1', writtenAtMs: 0n, ttlLeft: undefined }];
  const sessions = createSessionServer({
    execute: async () => ({ get: { siblings, omitted: [], context: Buffer.alloc(0), certificate: undefined } }),
    ...{ clock, limits: requestLimits, log: recordingLog(), metrics: createMetrics({ service: 'paused' }) },
    ringVersion: () => undefined,
  });
  const answered = Promise.withResolvers<void>();
  const stream = Object.assign(new EventEmitter(), {
    ...{ metadata: new Metadata(), getPeer: () => 'peer', isFlowing: true, isPaused: false },
    write({ results }: SessionResponse) {
      if (results.length > 0) answered.resolve();
      return stream.isFlowing;
    },
    pause: () => void Object.assign(stream, { isPaused: true }),
    resume: () => void Object.assign(stream, { isPaused: false }),
    end() {},
  });
  sessions.serve(stream as unknown as Parameters<SessionServer['serve']>[0]);
  stream.isFlowing = false;
  stream.emit('data', SessionRequest.fromPartial({ operations: [{ id: 1n, ...get('k') }] }));
  await answered.promise;
  assert.equal(stream.isPaused, true);
  stream.isFlowing = true;
  stream.emit('drain');
  assert.equal(stream.isPaused, false);
  stream.emit('cancelled');
});
