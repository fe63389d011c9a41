import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  KeyValueServiceService,
  Result,
  type SessionRequest,
  SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { createClock } from '../../services/platform/clock.ts';
import {
  bytesInFlightMax,
  openSession,
  type SessionClient,
  type SessionClientOptions,
} from '../../services/platform/streams/session-client.ts';
import { hangMs, until } from '../e2e/support.ts';
import { listenGrpc } from './listen-grpc.ts';

const mebibyte = 1024 * 1024;
const messageBytesMax = 3 * mebibyte;
/** Bytes of the values that the server was sent, in order. */
const sent: number[] = [];
const frames: SessionRequest[] = [];
let streams: ServerDuplexStream<SessionRequest, SessionResponse>[] = [];
const clock = createClock();
/** A put of so many bytes is never answered. */
const unansweredBytes = 77;
/** How long the client's process was stopped, all in all. */
let stoppedMs = 0;
const server = new Server({ 'grpc.max_receive_message_length': -1 });
let address = '';

before(async () => {
  server.addService(KeyValueServiceService, {
    session: (stream: ServerDuplexStream<SessionRequest, SessionResponse>) => {
      streams.push(stream);
      stream.on('data', (frame: SessionRequest) => {
        const { operations } = frame;
        frames.push(frame);
        sent.push(...operations.map(({ put }) => put?.value.length ?? 0));
        const answered = operations.filter(({ put }) => put?.value.length !== unansweredBytes);
        const results = answered.map(({ id }) => Result.fromPartial({ id, put: {} }));
        stream.write(SessionResponse.fromPartial({ results }));
      });
      stream.on('end', () => stream.end());
    },
  } as never);
  address = await listenGrpc(server);
});
after(() => server.forceShutdown());

function begin(how: Partial<Pick<SessionClientOptions, 'strangerIn' | 'after'>> = {}): SessionClient {
  sent.length = 0;
  frames.length = 0;
  streams = [];
  return openSession({
    address,
    name: 'test',
    now: () => clock.now() + stoppedMs,
    endOfTurn: (run) => setImmediate(run),
    after: (ms, run) => clock.after(ms, run),
    ...how,
  });
}

/** `countedBytes`: as which the session counts it. */
function put(
  session: SessionClient,
  bytes: number,
  countedBytes = bytes + 65,
): { id: bigint; answer: Promise<Result | Failure> } {
  const { promise, resolve } = Promise.withResolvers<Result | Failure>();
  const body = {
    timeoutMs: 1000,
    put: {
      ...{ namespace: '', key: Buffer.from('k'), value: Buffer.alloc(bytes), context: Buffer.alloc(0), w: undefined },
      ...{ durability: 0 as const, requestId: Buffer.alloc(0), attempt: 0, ttl: undefined, require: undefined },
    },
  };
  return { id: session.send(body, countedBytes, resolve), answer: promise };
}

async function welcome(clockMs = 0, nodeId = ''): Promise<void> {
  while (streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  streams[0]?.write(
    SessionResponse.fromPartial({ welcome: { maxInFlight: 100, maxMessageBytes: messageBytesMax, nodeId }, clockMs }),
  );
}

const isTooLarge = (bytes: number, most: number) => (answer: Result | Failure) => {
  assert.ok(answer instanceof Failure);
  assert.equal(answer.reason, 'VALUE_TOO_LARGE');
  assert.equal(answer.outcome, 'NOT_APPLIED');
  assert.ok(answer.message.includes(`${bytes} bytes`) && answer.message.includes(`${most} bytes`), answer.message);
};

test('an operation larger than a message of the server is refused here, and the session lives on', async () => {
  const session = begin();
  const small = put(session, 1);
  const fits = put(session, 2.5 * mebibyte);
  const large = put(session, 3.5 * mebibyte);
  await put(session, bytesInFlightMax).answer.then(isTooLarge(bytesInFlightMax, bytesInFlightMax));
  await welcome();
  assert.ok(!((await small.answer) instanceof Failure));
  await large.answer.then(isTooLarge(3.5 * mebibyte, messageBytesMax));
  assert.ok(!((await fits.answer) instanceof Failure));
  await put(session, 5 * mebibyte).answer.then(isTooLarge(5 * mebibyte, messageBytesMax));
  assert.ok(!((await put(session, 2).answer) instanceof Failure));
  assert.deepEqual(sent, [1, 2.5 * mebibyte, 2]);
  assert.equal(session.inFlight, 0);
  session.close();
});

test('operations that are not answered hold up none that come after them', { timeout: hangMs }, async () => {
  const session = begin();
  await welcome();
  for (let i = 0; i < 20; i++) {
    void put(session, unansweredBytes);
    await new Promise(setImmediate);
  }
  assert.ok(!((await put(session, 1).answer) instanceof Failure));
  session.close();
});

test('an operation that is cancelled while it waits for the welcome is never sent', async () => {
  const session = begin();
  const { id, answer } = put(session, 2);
  session.cancel(id);
  const failure = await answer;
  assert.ok(failure instanceof Failure && failure.outcome === 'NOT_APPLIED');
  await welcome();
  assert.ok(!((await put(session, 1).answer) instanceof Failure));
  assert.deepEqual(sent, [1]);
  session.close();
});

test('a cancel for which there is no room is not taken for one that was sent', { timeout: hangMs }, async () => {
  const session = begin({ after: () => () => {} }); // what is held back waits for its frame to fill
  await welcome();
  await until('it is ready', () => session.ready);
  const many = Array.from({ length: 16 }, () => put(session, 1, bytesInFlightMax / 16));
  for (const { id } of many) session.cancel(id);
  await Promise.all(many.map(({ answer }) => answer));
  frames.length = 0;
  for (let i = 0; i < 16; i++) {
    void put(session, unansweredBytes);
    await new Promise(setImmediate);
  }
  await until('all are sent', () => frames.reduce((sum, { operations }) => sum + operations.length, 0) === 16);
  assert.deepEqual(
    frames.map(({ operations }) => operations.length),
    [...new Array(8).fill(1), 8],
  );
  session.close();
});

test('an operation that waits for the welcome fails with the session', async () => {
  const session = begin();
  const { answer } = put(session, 2.5 * mebibyte);
  session.close();
  assert.ok((await answer) instanceof Failure);
});

test('P5: the first message too says when it was sent by the clock of the server', async () => {
  const session = begin();
  const { answer } = put(session, 1);
  while (streams.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(sent, [], 'nothing is sent before the server has told its clock');
  await welcome(1e6);
  await answer;
  const first = frames.at(-1)?.sentAtMs as number;
  stoppedMs += 500;
  await put(session, 1).answer;
  const second = frames.at(-1)?.sentAtMs as number;
  assert.ok(first >= 1e6, `sent at ${first}`);
  assert.ok(second >= first + 500, `sent at ${first}, then at ${second}`);
  session.close();
});

test('what an operation has waited is taken from its deadline', async () => {
  const session = begin();
  const { answer } = put(session, 2.5 * mebibyte);
  stoppedMs += 600;
  await welcome();
  assert.ok(!((await answer) instanceof Failure));
  const timeoutMs = frames.at(-1)?.operations[0]?.timeoutMs as number;
  assert.ok(timeoutMs > 0 && timeoutMs <= 400, `${timeoutMs} ms are left of 1,000`);
  session.close();
});

test('another node than was meant is sent nothing, and what waited for its welcome is known not to be applied', async () => {
  const session = begin({ strangerIn: ({ nodeId }) => `it is ${nodeId}, and b was meant` });
  const { answer } = put(session, 10);
  await welcome(0, 'c');
  const failure = await answer;
  assert.ok(failure instanceof Failure);
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
  assert.match(failure.message, /it is c, and b was meant$/);
  assert.deepEqual([session.open, sent], [false, []]);
});

test('the node that was meant is sent what is to be sent', async () => {
  const session = begin({ strangerIn: () => undefined });
  const { answer } = put(session, 10);
  await welcome(0, 'b');
  assert.ok(!((await answer) instanceof Failure));
  session.close();
});
