/** What peers that are no gRPC clients, or bad ones, get on the gRPC port. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { GetRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { EMPTY_GET, startKvServer } from './kv-server.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** Everything that comes until the server closes. */
async function sendRaw(port: number, ...parts: (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  for (const part of parts) socket.write(part);
  return untilClosed(socket);
}

async function untilClosed(socket: Socket): Promise<string> {
  let received = '';
  socket.on('data', (bytes: Buffer) => {
    received += bytes.toString('latin1');
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.on('close', resolve));
  return received;
}

/** One unary call with whatever bytes as its request; the gRPC status. `isEnded` false leaves the request open. */
async function callRaw(port: number, body: Buffer, path = '/cartwheel.kv.v1.KeyValueService/Get', isEnded = true) {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  const code = new Promise<number>((resolve) => {
    const look = (headers: { readonly 'grpc-status'?: unknown }) => {
      if (headers['grpc-status'] !== undefined) resolve(Number(headers['grpc-status']));
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('close', () => resolve(Number.NaN));
  });
  stream.resume();
  if (isEnded) stream.end(body);
  else stream.write(body);
  const answer = await code;
  session.destroy();
  return answer;
}

function framed(message: Buffer, claimedBytes = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(claimedBytes, 1);
  return Buffer.concat([head, message]);
}

test('HTTP/1 on the gRPC port is told where it is', async () => {
  const kv = await startKvServer();
  const answer = await sendRaw(kv.port, 'GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.match(answer, /this port speaks gRPC .* admin port/);
  assert.match(kv.log.lines[0]?.message ?? '', /HTTP\/1/);
  await kv.close();
});

test('TLS on the plain port is refused', async () => {
  const kv = await startKvServer();
  const socket = connectTls({ port: kv.port, host: '127.0.0.1', rejectUnauthorized: false });
  const [error] = await once(socket, 'error').catch((thrown: Error) => [thrown]);
  assert.ok(error instanceof Error);
  assert.match(kv.log.lines[0]?.message ?? '', /TLS/);
  await kv.close();
});

test('a flood of garbage costs one log line, and others are served meanwhile', async () => {
  const kv = await startKvServer();
  const garbage = Buffer.alloc(100_000, 7);
  const startedAt = performance.now();
  const floods = Array.from({ length: 100 }, () => sendRaw(kv.port, garbage));
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await Promise.all(floods);
  const seconds = Math.floor((performance.now() - startedAt) / 1_000) + 1;
  assert.ok(kv.log.lines.length <= seconds, `${kv.log.lines.length} lines in ${seconds} s`);
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});

test('a frame that is none, after a good preface, ends that connection only', async () => {
  const kv = await startKvServer();
  await sendRaw(kv.port, PREFACE, 'garbage garbage garbage garbage');
  await sendRaw(kv.port, PREFACE, EMPTY_SETTINGS, Buffer.alloc(1_000, 0xff));
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});

test('a peer that says nothing, or not all of the preface, is cut off at the deadline', async () => {
  const kv = await startKvServer(undefined, { prefaceDeadlineMs: 50 });
  await Promise.all([sendRaw(kv.port), sendRaw(kv.port, PREFACE.slice(0, 10)), sendRaw(kv.port, 'P', 'R', 'I')]);
  assert.match(kv.log.lines[0]?.message ?? '', /no HTTP\/2 preface within 50 ms/);
  await kv.close();
});

test('a preface in pieces is as good as one', async () => {
  const kv = await startKvServer(undefined, { maxConnections: 2 });
  const socket = connect(kv.port, '127.0.0.1');
  socket.setNoDelay(true);
  for (const character of PREFACE) {
    socket.write(character);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.write(EMPTY_SETTINGS);
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.equal(first[3], 4, 'a SETTINGS frame');
  socket.destroy();
  await kv.close();
});

test('peers that stop answering, in the middle of a frame or after all of it, are cut off by keepalive', async () => {
  const kv = await startKvServer(undefined, { keepaliveIntervalMs: 50, keepaliveTimeoutMs: 50 });
  await Promise.all([
    sendRaw(kv.port, PREFACE),
    sendRaw(kv.port, PREFACE, EMPTY_SETTINGS.subarray(0, 4)),
    sendRaw(kv.port, PREFACE, EMPTY_SETTINGS),
  ]);
  assert.deepEqual(await kv.get(), EMPTY_GET, 'a peer that answers is not');
  await kv.close();
});

test('a unary request that never ends is answered at the deadline', async () => {
  const kv = await startKvServer(undefined, { unaryRequestDeadlineMs: 50 });
  const half = framed(Buffer.alloc(10), 1_000);
  assert.equal(await callRaw(kv.port, half, undefined, false), status.DEADLINE_EXCEEDED);
  assert.equal(await callRaw(kv.port, Buffer.alloc(0), undefined, false), status.DEADLINE_EXCEEDED);
  await kv.close();
});

test('a handler that takes longer than a request may take to arrive is not disturbed', async () => {
  const kv = await startKvServer(
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return EMPTY_GET;
    },
    { unaryRequestDeadlineMs: 20 },
  );
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});

test('a message that does not decode is INTERNAL, and logged', async () => {
  const kv = await startKvServer();
  assert.equal(await callRaw(kv.port, framed(Buffer.from([0x12, 0xff, 0xff]))), status.INTERNAL);
  assert.match(kv.log.lines[0]?.message ?? '', /does not decode/);
  assert.equal(kv.log.lines[0]?.fields.method, '/cartwheel.kv.v1.KeyValueService/Get');
  await kv.close();
});

test('a message above the limit is RESOURCE_EXHAUSTED, said from its length alone', async () => {
  const kv = await startKvServer(undefined, { maxReceiveMessageBytes: 1_000 });
  const large = await kv.get(Buffer.alloc(2_000));
  assert.ok(large instanceof Failure);
  assert.equal(large.reason, 'OVERLOADED');
  assert.match(large.message, /1000/);
  assert.equal(
    await callRaw(kv.port, framed(Buffer.alloc(1), 2 ** 32 - 1), undefined, false),
    status.RESOURCE_EXHAUSTED,
  );
  await kv.close();
});

test('an unknown service or method is UNIMPLEMENTED', async () => {
  const kv = await startKvServer();
  const empty = framed(Buffer.from(GetRequest.encode(GetRequest.fromPartial({})).finish()));
  assert.equal(await callRaw(kv.port, empty, '/no.such.Service/Get'), status.UNIMPLEMENTED);
  assert.equal(await callRaw(kv.port, empty, '/cartwheel.kv.v1.KeyValueService/Frobnicate'), status.UNIMPLEMENTED);
  await kv.close();
});

test('connections above the limit are closed, those below are served', async () => {
  const kv = await startKvServer(undefined, { maxConnections: 1 });
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await sendRaw(kv.port, PREFACE);
  assert.match(kv.log.lines[0]?.message ?? '', /too many/);
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});

test('a client that opens a thousand streams is held to the limit, and others are served', async () => {
  const limit = 10;
  const kv = await startKvServer(undefined, { maxConcurrentStreams: limit });
  const session = connectHttp2(`http://127.0.0.1:${kv.port}`);
  const [settings] = await once(session, 'remoteSettings');
  assert.equal(settings.maxConcurrentStreams, limit);
  let open = 0;
  for (let i = 0; i < 1_000; i++) {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/cartwheel.kv.v1.KeyValueService/Session',
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.on('ready', () => {
      open++;
    });
  }
  assert.deepEqual(await kv.get(), EMPTY_GET);
  assert.ok(open <= limit, `${open} streams`);
  session.on('error', () => {});
  session.destroy();
  await kv.close();
});

test('a connection that is reset in the middle of a message leaves nothing behind', async () => {
  const kv = await startKvServer();
  const session = connectHttp2(`http://127.0.0.1:${kv.port}`);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': '/cartwheel.kv.v1.KeyValueService/Session',
    'content-type': 'application/grpc',
  });
  stream.on('error', () => {});
  stream.write(framed(Buffer.alloc(10), 1_000));
  await once(session, 'remoteSettings');
  session.destroy();
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});
