/**
 * Every row of bad input that concerns streams and transport, against a real router and a real storage node; and
 * what a stranger can send to the services that nodes have for each other.
 *
 * After each act: all processes are alive, no bug is in their logs, and another client's put and get work.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { type Client, type ClientDuplexStream, status } from '@grpc/grpc-js';
import { Outcome, Reason, type Result, type SessionResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import {
  GossipRequest,
  type GossipResponse,
  GossipResponse as GossipResponseMessage,
} from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import {
  type DeepPartial,
  ReplicaStatus,
  ReplicateRequest,
  ReplicateResponse,
  ScanKeysRequest,
  ScanKeysResponse,
} from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { createRecordCodec } from '../../services/core/codec/record.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { emptyRecord } from '../../services/core/versioning/record.ts';
import { applyPut } from '../../services/core/versioning/write.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';
import {
  assertGet,
  assertPut,
  cancelOperation,
  encode,
  newClient,
  openRawSession,
  operation,
  sessionDoor,
  sessionRequest,
} from './bad-input-doors.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { figureOf } from './figures.ts';
import { pause, residentBytes, until } from './support.ts';

const kib = 1024;
const mib = 1024 * kib;
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const sessionPath = '/cartwheel.kv.v1.KeyValueService/Session';

let cluster: Cluster;
/** The two kinds of server that clients talk to. */
let servers: readonly ClusterProcess[];
let node: ClusterProcess;
const opened: { close(): void }[] = [];
let acts = 0;
/** Begun first: it takes the servers half a minute to notice, while the other tests run. */
let pulledCables: Promise<unknown>;

before(async () => {
  cluster = await startCluster();
  node = cluster.nodes[0] as ClusterProcess;
  servers = [cluster.router, node];
  pulledCables = Promise.all(servers.map(pullCable));
});

after(async () => {
  for (const each of opened) each.close();
  await cluster?.stop();
});

afterEach(async () => {
  while (opened.length > 0) opened.pop()?.close();
  await assertAllIsWell();
});

async function assertAllIsWell(): Promise<void> {
  const act = ++acts;
  const hangs = performance.now() + 45_000;
  for (const each of cluster.processes) {
    assert.ok(each.running, `a process ended:\n${each.log().slice(-4_000)}`);
    assert.doesNotMatch(each.log(), /a bug: the process ends|nobody expected/);
  }
  for (const { address } of servers) {
    const door = sessionDoor('another client', address);
    try {
      const key = Buffer.from(`after act ${act} at ${address}`);
      // A node that was stopped is suspected until it has answered again.
      const put = () => door.call({ put: { key, value: key, w: 3 } });
      let written = await put();
      while (written.error?.reason === Reason.NOT_ENOUGH_REPLICAS && performance.now() < hangs) written = await put();
      assertPut(written, 'a put of another client');
      const { siblings } = assertGet(await door.call({ get: { key, r: 3 } }), 'a get of another client');
      assert.deepEqual(
        siblings.map(({ value }) => value.toString()),
        [key.toString()],
      );
    } finally {
      door.close();
    }
  }
}

function clientOf({ address }: ClusterProcess): Client {
  const client = newClient(address);
  opened.push(client);
  return client;
}

interface RawSession {
  readonly stream: ClientDuplexStream<Uint8Array, SessionResponse>;
  readonly results: Result[];
  send(...operations: Uint8Array[]): void;
  /** Resolves when there are this many results. */
  until(count: number): Promise<readonly Result[]>;
  /** Resolves with the status that ended it. */
  readonly ended: Promise<status>;
}

function openSession(server: ClusterProcess): RawSession {
  const stream = openRawSession(clientOf(server));
  opened.push({ close: () => stream.cancel() });
  const results: Result[] = [];
  let changed = () => {};
  stream.on('data', (response: SessionResponse) => {
    results.push(...response.results);
    changed();
  });
  const ended = new Promise<status>((resolve) => {
    stream.on('error', (error: { code?: status }) => resolve(error.code ?? status.UNKNOWN));
    stream.on('end', () => resolve(status.OK));
  });
  void ended.then(() => changed());
  return {
    stream,
    results,
    ended,
    send: (...operations) => stream.write(sessionRequest(operations)),
    async until(count) {
      let code: status | undefined;
      void ended.then((seen) => {
        code = seen;
      });
      while (results.length < count) {
        assert.equal(code, undefined, `${results.length} of ${count} results, and the session ended`);
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
      return results;
    },
  };
}

const get = (key: string): Uint8Array => encode('get', { get: { key: Buffer.from(key) } });
const put = (key: string, value: Buffer = Buffer.from('v')): Uint8Array =>
  encode('put', { put: { key: Buffer.from(key), value } });

function errorsOf(results: readonly Result[], id: bigint): string[] {
  return results
    .filter((result) => result.id === id)
    .map(({ error }) => error && `${status[error.code]} ${error.field}: ${error.message}`)
    .filter((text) => text !== undefined);
}

test('an operation that makes no sense gets an error result, and its session lives', async () => {
  for (const server of servers) {
    const session = openSession(server);
    session.send(
      operation(0n, 'get', get('k')),
      operation(0n, 'put', put('id 0')),
      new BinaryWriter().uint32(8).uint64(7n).finish(),
      new Uint8Array(0),
      cancelOperation(8n, 12_345n),
      cancelOperation(0n, 0n),
      operation(9n, 'get', get('id 0')),
    );
    const results = await session.until(5);
    for (const text of errorsOf(results, 0n)) assert.match(text, /^INVALID_ARGUMENT id: .*not 0/);
    assert.equal(errorsOf(results, 0n).length, 3);
    assert.match(errorsOf(results, 7n)[0] ?? '', /^INVALID_ARGUMENT operation: operation 7 has no get, put/);
    const answer = results.find(({ id }) => id === 9n);
    assert.deepEqual(answer?.get?.siblings, []);
    session.send(operation(10n, 'get', get('k')));
    await session.until(6);
  }
});

test('an id that is in flight is refused for the second operation, and the first is answered', async () => {
  for (const server of servers) {
    const session = openSession(server);
    const [key, other] = ['first of an id', 'second of an id'].map((text) => `${text} at ${server.address}`);
    session.send(operation(5n, 'put', put(key as string)), operation(5n, 'put', put(other as string)));
    const results = await session.until(2);
    assert.match(errorsOf(results, 5n).join(), /^INVALID_ARGUMENT id: operation 5 is in flight already$/);
    assert.equal(results.filter(({ put: answer }) => answer !== undefined).length, 1);
    session.send(operation(6n, 'get', get(key as string)), operation(7n, 'get', get(other as string)));
    const all = await session.until(4);
    assert.equal(all.find(({ id }) => id === 6n)?.get?.siblings.length, 1);
    assert.equal(all.find(({ id }) => id === 7n)?.get?.siblings.length, 0);
    // Answered: the id is free again.
    session.send(operation(5n, 'get', get(key as string)));
    assert.equal((await session.until(5))[4]?.get?.siblings.length, 1);
  }
});

test('a cancelled operation is answered CANCELLED once, and its id can be used at once for another', async () => {
  for (const server of servers) {
    const session = openSession(server);
    const rounds = 200;
    for (let i = 1; i <= rounds; i++) {
      const id = BigInt(i);
      session.send(
        operation(id, 'put', put(`cancelled at ${server.address}`)),
        cancelOperation(id, id),
        operation(id, 'get', get(`not there at ${server.address}`)),
      );
    }
    const results = await session.until(2 * rounds);
    for (let i = 1; i <= rounds; i++) {
      const mine = results.filter(({ id }) => id === BigInt(i));
      assert.deepEqual(
        mine.map(({ error, get: answer }) => error?.code ?? answer?.siblings.length),
        [status.CANCELLED, 0],
        'the get gets its own answer, not that of the put',
      );
      assert.equal(mine[0]?.error?.outcome, Outcome.UNKNOWN);
    }
    session.send(operation(1n, 'get', get('k')));
    await session.until(2 * rounds + 1);
  }
});

test('a session that its client closes still gets every answer', async () => {
  const value = Buffer.alloc(mib, 'c');
  const door = sessionDoor('a client', cluster.router.address);
  assertPut(await door.call({ put: { key: Buffer.from('closing'), value, w: 3 } }), 'a put');
  door.close();
  for (const server of servers) {
    const session = openSession(server);
    session.stream.pause();
    for (let i = 1; i <= 24; i++) session.send(operation(BigInt(i), 'get', get('closing'), 60_000));
    session.stream.end();
    await pause(500);
    session.stream.resume();
    assert.equal(await session.ended, status.OK);
    const whole = session.results.filter((result) => result.get?.siblings[0]?.value.length === mib);
    assert.equal(whole.length, 24);
  }
});

test('more operations than a session may have in flight are refused with OVERLOADED, not dropped', async () => {
  for (const server of servers) {
    const session = openSession(server);
    // Cancelled ones run on: a flood of them must not get round the limit.
    const count = 6_000;
    const flood = Array.from({ length: count }, (_, i) => operation(BigInt(i + 1), 'get', get(`flood ${i % 50}`)));
    session.send(...flood, ...flood.map((_, i) => cancelOperation(BigInt(i + 1), BigInt(i + 1))));
    const results = await session.until(count);
    const overloaded = results.filter(({ error }) => error?.reason === Reason.OVERLOADED);
    assert.equal(overloaded.length, count - 4_096);
    assert.match(overloaded[0]?.error?.message ?? '', /4096 operations are in flight/);
    assert.ok(overloaded.every(({ error }) => error?.outcome === Outcome.NOT_APPLIED && error.retryAfter));
    assert.equal(new Set(results.map(({ id }) => id)).size, count);
  }
});

test('a session message above 4 MiB is RESOURCE_EXHAUSTED on its stream only, also where it is compressed', async () => {
  for (const server of servers) {
    const session = openSession(server);
    const beside = openSession(server);
    session.send(...[1n, 2n, 3n, 4n, 5n].map((id) => operation(id, 'put', put('too large', Buffer.alloc(mib)))));
    assert.equal(await session.ended, status.RESOURCE_EXHAUSTED);
    beside.send(operation(1n, 'get', get('too large')));
    assert.equal((await beside.until(1))[0]?.get?.siblings.length, 0, 'nothing of it was done');

    const bomb = gzipSync(Buffer.alloc(64 * mib));
    const http2 = openHttp2(server);
    const stream = http2.request({ ...sessionHeaders, 'grpc-encoding': 'gzip' });
    const code = statusOf(stream);
    stream.write(framed(bomb, 1));
    assert.equal(await code, status.RESOURCE_EXHAUSTED);
  }
});

test('a session message that is no protobuf ends its stream only, and costs one log line a second', async () => {
  for (const server of servers) {
    const beside = openSession(server);
    const logged = () => server.log().split('does not decode').length - 1;
    const before = logged();
    const startedAt = performance.now();
    const http2 = openHttp2(server);
    for (let i = 0; i < 100; i++) {
      const stream = http2.request(sessionHeaders);
      const code = statusOf(stream);
      stream.write(framed(Buffer.from([0x0f, i])));
      assert.equal(await code, status.INTERNAL);
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    assert.ok(logged() > before);
    assert.ok(logged() - before <= seconds + 2, `${logged() - before} lines in ${seconds} s`);
    beside.send(operation(1n, 'get', get('k')));
    await beside.until(1);
  }
});

test('a message of a million tiny operations is refused before it is taken apart', async () => {
  for (const server of [...servers, cluster.membership]) {
    const isMembership = server === cluster.membership;
    const many = Buffer.alloc(4 * mib - 64);
    const field = isMembership ? 4 : 2;
    for (let at = 0; at < many.length; at += 2) many[at] = (field << 3) | 2;
    const path = isMembership ? '/cartwheel.membership.v1.MembershipService/Gossip' : sessionPath;
    const http2 = openHttp2(server);
    const stream = http2.request({ ...sessionHeaders, ':path': path });
    const code = statusOf(stream);
    await pause(1_100); // the log takes a line a second of such
    stream.end(framed(many));
    assert.equal(await code, status.INTERNAL);
    await until('the log has a line of it', () => server.log().includes('more than 16384 fields'));
  }
});

test('a client that asks for much and never reads is held to a bound, and others work meanwhile', async () => {
  const door = sessionDoor('a client', cluster.router.address);
  for (let i = 0; i < 8; i++) {
    assertPut(await door.call({ put: { key: Buffer.from(`large ${i}`), value: Buffer.alloc(mib, i), w: 3 } }), 'a put');
  }
  door.close();
  for (const server of servers) {
    const before = residentBytesOf();
    const http2 = openHttp2(server);
    const stream = http2.request(sessionHeaders);
    stream.pause();
    const asked = Array.from({ length: 4_000 }, (_, i) =>
      operation(BigInt(i + 1), 'get', get(`large ${i % 8}`), 60_000),
    );
    stream.write(framed(sessionRequest(asked)));
    let most = 0;
    for (let i = 0; i < 4; i++) {
      await pause(250);
      await assertAllIsWell();
      most = Math.max(most, residentBytesOf() - before);
    }
    // V8 collects what lies outside its heap when that has grown by 64 MiB: a node has three threads that read values.
    assert.ok(most < 1_024 * mib, `${Math.round(most / mib)} MiB more for answers of 4,000 MiB`);
    assert.ok((await figureOf(server.admin, 'cartwheel_session_unread_bytes')) < 64 * mib);
    http2.destroy();
    await until('all is read', async () => (await figureOf(server.admin, 'cartwheel_session_unread_bytes')) === 0);
  }
});

test('a client that writes faster than the replicas is made to wait, and not taken into memory', async () => {
  const others = cluster.nodes.slice(1);
  for (const server of servers) {
    // Those that are suspected still, because they were stopped in the round before, no write would wait for.
    await assertAllIsWell();
    const stream = openHttp2(server).request(sessionHeaders);
    stream.on('error', () => {});
    const before = residentBytesOf();
    await Promise.all(others.map((each) => each.kill('SIGSTOP')));
    let running = 0;
    let resident = 0;
    try {
      for (let i = 0; i < 64; i++) {
        const value = Buffer.alloc(mib, i);
        const writes = [1, 2, 3].map((n) => operation(BigInt(3 * i + n), 'put', put(`fast ${i} ${n}`, value), 60_000));
        // Until the stopped nodes are noticed the writes wait for them; from then on they are refused.
        if (!stream.write(framed(sessionRequest(writes)))) await once(stream, 'drain');
        running = Math.max(running, await figureOf(server.admin, 'cartwheel_operations_running_bytes'));
        resident = Math.max(resident, residentBytesOf() - before);
      }
    } finally {
      await Promise.all(others.map((each) => each.kill('SIGCONT')));
    }
    // A session has 16 MiB, and the router's may still have what it sent on in the round before.
    const most = (16 * (await figureOf(server.admin, 'cartwheel_sessions')) + 1) * mib;
    assert.ok(running > mib && running < most, `${running} bytes ran at a time, ${most} can`);
    assert.ok(resident < 400 * mib, `${Math.round(resident / mib)} MiB more for writes of 192 MiB`);
    stream.close();
    // At whoever it was sent on to as well: a put that others may have is not cancelled.
    for (const each of servers)
      await until(
        'nothing runs any more',
        async () => (await figureOf(each.admin, 'cartwheel_operations_running_bytes')) === 0,
      );
  }
});

test('a thousand streams on one connection: as many sessions as one connection may have, the others are told', async () => {
  for (const server of servers) {
    const client = clientOf(server);
    const answers = Array.from({ length: 1_000 }, (_, i) => {
      const stream = openRawSession(client);
      opened.push({ close: () => stream.cancel() });
      return new Promise<string>((resolve) => {
        stream.on('data', ({ results }: SessionResponse) => {
          if (results.length > 0) resolve('answered');
        });
        stream.on('error', (error: { code?: status; message: string }) => {
          resolve(
            `${status[error.code ?? status.UNKNOWN]} ${/\d+ sessions of this connection/.exec(error.message)?.[0]}`,
          );
        });
        stream.write(sessionRequest([operation(1n, 'get', get(`stream ${i}`))]));
      });
    });
    const counts = new Map<string, number>();
    for (const answer of await Promise.all(answers)) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    assert.deepEqual(Object.fromEntries(counts), {
      answered: 256,
      'RESOURCE_EXHAUSTED 256 sessions of this connection': 744,
    });
    await assertAllIsWell();
    while (opened.length > 0) opened.pop()?.close();
    await until('most sessions have ended', async () => (await figureOf(server.admin, 'cartwheel_sessions')) < 256);
  }
});

test('a client that sends a byte at a time is served when its message is whole, and holds up nobody', async () => {
  const eachAtOnce = servers.map(async (server) => {
    const http2 = openHttp2(server);
    const stream = http2.request(sessionHeaders);
    const first = firstMessage(stream);
    for (const byte of framed(sessionRequest([operation(1n, 'get', get('slow'))]))) {
      stream.write(Buffer.from([byte]));
      await pause(20);
    }
    assert.ok((await first).length > 0);
    // And one that begins so slowly that it is no HTTP/2 client at all.
    const socket = connectTo(server);
    const closed = closeOf(socket);
    let sent = 0;
    for (const character of preface) {
      socket.write(character);
      sent++;
      if (await Promise.race([closed.then(() => true), pause(1_000).then(() => false)])) break;
    }
    await closed;
    assert.ok(sent < preface.length, `cut off before the ${preface.length} bytes of the preface are there`);
  });
  await Promise.all(eachAtOnce);
});

test('HTTP/1, TLS, garbage and an unknown service get a protocol error', async () => {
  for (const server of [...servers, cluster.membership]) {
    const http1 = await sendRaw(server, 'GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');
    assert.match(http1, /^HTTP\/1\.1 400 .*admin port/s);
    const tls = connectTls({ ...portOf(server), rejectUnauthorized: false });
    const [error] = await once(tls, 'error');
    assert.ok(error instanceof Error);
    for (let i = 0; i < 20; i++) assert.equal(await sendRaw(server, Buffer.alloc(100, 200 + i)), '');
    const http2 = openHttp2(server);
    for (const path of ['/cartwheel.kv.v1.Nothing/Get', '/', '/cartwheel.kv.v1.KeyValueService/Nothing', '/a//b']) {
      const stream = http2.request({ ...sessionHeaders, ':path': path });
      const code = statusOf(stream);
      stream.end(framed(Buffer.alloc(0)));
      assert.equal(await code, status.UNIMPLEMENTED, path);
    }
  }
});

test('connections that are reset in the middle of a message leave nothing behind', async () => {
  for (const server of servers) {
    const { connections, sessions } = await open(server);
    for (let i = 0; i < 100; i++) {
      const socket = connectTo(server);
      const http2 = openHttp2(server, socket);
      const stream = http2.request(sessionHeaders);
      stream.on('error', () => {});
      const whole = framed(sessionRequest([operation(1n, 'put', put('cut off', Buffer.alloc(100 * kib)))]));
      stream.write(whole.subarray(0, whole.length / 2));
      await new Promise((resolve) => setImmediate(resolve));
      if (i % 2 === 0) stream.close();
      else socket.resetAndDestroy();
      http2.destroy();
    }
    await until('what was cut off is let go', async () => {
      const now = await open(server);
      return now.connections <= connections && now.sessions <= sessions;
    });
    const door = sessionDoor('a client', server.address);
    assert.deepEqual(assertGet(await door.call({ get: { key: Buffer.from('cut off') } }), 'a get').siblings, []);
    door.close();
  }
});

test('a thousand idle connections are held, and let go when they close; others work meanwhile', async () => {
  for (const server of servers) {
    const sockets: Socket[] = [];
    for (let i = 0; i < 1_000; i += 100) {
      const some = Array.from({ length: 100 }, () => connectTo(server));
      await Promise.all(some.map((socket) => once(socket, 'connect')));
      for (const socket of some) socket.write(Buffer.concat([Buffer.from(preface), emptySettings]));
      sockets.push(...some);
    }
    await until('all are connected', async () => (await open(server)).connections >= 1_000);
    await assertAllIsWell();
    for (const socket of sockets) socket.destroy();
    await until('most are let go', async () => (await open(server)).connections < 100);
  }
});

test('a peer that is there no more, without a word, is cut off', async () => {
  await pulledCables;
  const door = sessionDoor('a client', node.address);
  const answer = assertGet(await door.call({ get: { key: Buffer.from('never arrives') } }), 'a get');
  assert.deepEqual(answer.siblings, []);
  door.close();
});

/** Resolves when the server has closed a connection whose other end is silent, as when a cable is pulled. */
async function pullCable(server: ClusterProcess): Promise<void> {
  let swallows = false;
  const closed = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const proxy = createServer((here) => {
    const there = connect(portOf(server));
    sockets.push(here, there);
    here.on('data', (bytes) => swallows || there.write(bytes));
    there.on('data', (bytes) => swallows || here.write(bytes));
    here.on('error', () => {});
    there.on('error', () => {});
    there.on('close', () => closed.resolve());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', () => resolve()));
  const bound = proxy.address();
  assert.ok(bound !== null && typeof bound === 'object');
  const door = sessionDoor('a client with a bad cable', `127.0.0.1:${bound.port}`);
  assertGet(await door.call({ get: { key: Buffer.from('k') } }), 'a get');
  swallows = true;
  void door.call({ put: { key: Buffer.from('never arrives') } });
  await closed.promise;
  door.close();
  proxy.close();
  for (const socket of sockets) socket.destroy();
}

// ---------------------------------------------------------------------------------------------------------------
// What a stranger can send to the services that nodes have for each other.

const codec = createRecordCodec(checksum32);
const replicatePath = '/cartwheel.replica.v1.ReplicaService/Replicate';

interface ReplicateStream {
  readonly stream: ClientDuplexStream<Uint8Array, ReplicateResponse>;
  readonly responses: ReplicateResponse[];
  readonly ended: Promise<{ readonly code: status; readonly message: string }>;
  send(request: DeepPartial<ReplicateRequest>): void;
  results(count: number): Promise<ReplicateResponse['results']>;
}

function openReplicate(client: Client): ReplicateStream {
  const stream = client.makeBidiStreamRequest(
    replicatePath,
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes: Buffer) => ReplicateResponse.decode(bytes),
  );
  opened.push({ close: () => stream.cancel() });
  const responses: ReplicateResponse[] = [];
  stream.on('data', (response: ReplicateResponse) => responses.push(response));
  const ended = new Promise<{ code: status; message: string }>((resolve) => {
    stream.on('error', (error: { code?: status; message: string }) => {
      resolve({ code: error.code ?? status.UNKNOWN, message: error.message });
    });
    stream.on('end', () => resolve({ code: status.OK, message: '' }));
  });
  return {
    stream,
    responses,
    ended,
    send: (request) => stream.write(ReplicateRequest.encode(ReplicateRequest.fromPartial(request)).finish()),
    async results(count) {
      const all = () => responses.flatMap(({ results }) => results);
      await until('the results are there', () => all().length >= count);
      return all();
    },
  };
}

async function gossip(client: Client, request: Partial<GossipRequest>): Promise<GossipResponse | status> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/cartwheel.membership.v1.MembershipService/Gossip',
      (message: GossipRequest) => Buffer.from(GossipRequest.encode(message).finish()),
      (bytes: Buffer) => GossipResponseMessage.decode(bytes),
      GossipRequest.fromPartial({ wireVersion: 1, ...request }),
      (error, response) => resolve(error ? error.code : (response as GossipResponse)),
    );
  });
}

async function hello(client: Client) {
  const answer = await gossip(client, {});
  assert.ok(typeof answer === 'object');
  return { wireVersion: 1, clusterId: answer.clusterId, nodeId: 'a stranger', replicas: 3, peerId: answer.responderId };
}

function recordOf(value: Buffer): Buffer {
  const { copy } = applyPut(
    { birth: undefined, record: emptyRecord },
    { context: [], value, requestId: Buffer.alloc(0), writtenAtMs: 0, ttlMs: 0, lastWriterWins: false },
    { lineage: 1n, newActor: () => 77n },
  );
  return Buffer.from(codec.encode(copy.record));
}

const keyBytes = (key: string): Buffer => Buffer.from(storageKey('default', Buffer.from(key), xxh64));

test('a replication stream without a handshake, or with a wrong one, is refused, and nothing of it is stored', async () => {
  const client = clientOf(node);
  const right = await hello(client);
  const write = { id: 1, key: keyBytes('stranger'), record: recordOf(Buffer.from('v')), sync: true };
  const writes = [{ ...write, timeoutMs: 0, more: false }];
  const wrong: readonly (readonly [DeepPartial<ReplicateRequest>, RegExp])[] = [
    [{ writes }, /no handshake/],
    [{ hello: { ...right, wireVersion: 99 }, writes }, /99 there, 1 here/],
    [{ hello: { ...right, wireVersion: 0 }, writes }, /0 there, 1 here/],
    [{ hello: { ...right, clusterId: 'another' }, writes }, /cluster id "another" there/],
    [{ hello: { ...right, clusterId: '' }, writes }, /cluster id "" there/],
    [{ hello: { ...right, replicas: 5 }, writes }, /5 replicas \(N\) there, 3 here/],
    [{ hello: { ...right, peerId: 'somebody' }, writes }, /node somebody was meant/],
  ];
  for (const [request, message] of wrong) {
    const replicate = openReplicate(client);
    for (let i = 0; i < 5; i++) replicate.send(request);
    const { code, message: seen } = await replicate.ended;
    assert.equal(status[code], 'FAILED_PRECONDITION');
    assert.match(seen, message);
    assert.equal(replicate.responses.length, 0);
  }
  const door = sessionDoor('a client', node.address);
  assert.deepEqual(assertGet(await door.call({ get: { key: Buffer.from('stranger'), r: 1 } }), 'a get').siblings, []);
  door.close();
});

test('records and keys that make no sense are refused one by one, and do not stand in the way of listings', async () => {
  const client = clientOf(node);
  const replicate = openReplicate(client);
  replicate.send({ hello: await hello(client) });
  const record = recordOf(Buffer.from('v'));
  const flipped = Buffer.from(record);
  flipped[10] = (flipped[10] as number) ^ 1;
  const key = keyBytes('a bad record');
  const wrongHash = keyBytes('wrong hash');
  wrongHash[7] = (wrongHash[7] as number) ^ 1;
  const hashed = (rest: Buffer): Buffer => {
    const hash = Buffer.alloc(8);
    hash.writeBigUInt64BE(xxh64(rest));
    return Buffer.concat([hash, rest]);
  };
  const bad: readonly (readonly [Buffer, Buffer])[] = [
    [key, Buffer.alloc(0)],
    [key, Buffer.from('not a record')],
    [key, flipped],
    [key, record.subarray(0, -1)],
    [key, Buffer.concat([record, Buffer.alloc(1)])],
    [Buffer.alloc(0), record],
    [Buffer.alloc(7), record],
    [Buffer.alloc(8), record],
    [wrongHash, record],
    [hashed(Buffer.from('no end of the namespace')), record],
    [hashed(Buffer.from('\0no namespace')), record],
    [hashed(Buffer.from('no-key\0')), record],
    [hashed(Buffer.concat([Buffer.from('default\0'), Buffer.alloc(4_097, 'k')])), record],
    [hashed(Buffer.concat([Buffer.alloc(64, 'n'), Buffer.from('\0k')])), record],
  ];
  replicate.send({
    writes: bad.map(([key, record], i) => ({
      id: i,
      key,
      record,
      sync: true,
      timeoutMs: 0,
      more: false,
      hintedFor: '',
      buffered: false,
    })),
    reads: [{ id: 1_000, key: Buffer.alloc(3), timeoutMs: 0 }],
  });
  const results = await replicate.results(bad.length + 1);
  assert.deepEqual(
    results.filter((result) => result.status === ReplicaStatus.OK).map(({ id }) => id),
    [],
  );
  // One id twice, and id 0: each has its own answer.
  replicate.send({
    writes: [0, 1, 1].map((id) => ({ id, key, record, sync: true, timeoutMs: 0, more: false })),
  });
  const more = (await replicate.results(bad.length + 4)).slice(-3);
  assert.deepEqual(
    more.map((result) => result.status),
    [ReplicaStatus.OK, ReplicaStatus.OK, ReplicaStatus.OK],
  );

  const listed: string[] = [];
  const scan = await new Promise<ScanKeysResponse>((resolve, reject) => {
    client.makeUnaryRequest(
      '/cartwheel.replica.v1.ReplicaService/ScanKeys',
      (message: ScanKeysRequest) => Buffer.from(ScanKeysRequest.encode(message).finish()),
      (bytes: Buffer) => ScanKeysResponse.decode(bytes),
      ScanKeysRequest.fromPartial({ namespace: 'default', limit: 0xffff_ffff }),
      (error, response) => (error ? reject(error) : resolve(response as ScanKeysResponse)),
    );
  });
  for (const each of scan.keys) listed.push(each.key.toString('latin1'));
  assert.ok(listed.length > 0);
});

test('pieces that never end, in number or in size, are bounded', async () => {
  const client = clientOf(node);
  const greeting = await hello(client);
  const before = residentBytesOf([node]);
  const key = keyBytes('pieces');
  const piece = (id: number, record: Buffer) => ({
    id,
    key,
    record,
    sync: true,
    timeoutMs: 0,
    more: true,
    hintedFor: '',
    buffered: false,
  });
  const kinds: readonly ((frame: number) => DeepPartial<ReplicateRequest>)[] = [
    (frame) => ({ writes: Array.from({ length: 3_000 }, (_, i) => piece(frame * 3_000 + i, Buffer.alloc(0))) }),
    () => ({ writes: Array.from({ length: 3_000 }, () => piece(1, Buffer.alloc(1))) }),
    () => ({ writes: [piece(1, Buffer.alloc(3 * mib)), piece(2, Buffer.alloc(kib))] }),
  ];
  for (const framesOf of kinds) {
    const replicate = openReplicate(client);
    replicate.send({ hello: greeting });
    for (let frame = 0; frame < 80; frame++) {
      if (!replicate.stream.write(ReplicateRequest.encode(ReplicateRequest.fromPartial(framesOf(frame))).finish())) {
        await once(replicate.stream, 'drain');
      }
    }
    replicate.send({ reads: [{ id: 9, key, timeoutMs: 0 }] });
    await replicate.results(1);
    replicate.stream.cancel();
  }
  const more = residentBytesOf([node]) - before;
  assert.ok(more < 400 * mib, `${Math.round(more / mib)} MiB more`);
});

test('a stranger that reads much and takes no answer is held to a bound', async () => {
  const client = clientOf(node);
  const replicate = openReplicate(client);
  replicate.send({ hello: await hello(client) });
  const key = keyBytes('a large record');
  const record = recordOf(Buffer.alloc(900 * kib, 1));
  replicate.send({ writes: [{ id: 1, key, record, sync: true, timeoutMs: 0, more: false }] });
  assert.equal((await replicate.results(1))[0]?.status, ReplicaStatus.OK);
  const before = residentBytesOf([node]);
  replicate.stream.pause();
  for (let i = 0; i < 4; i++) {
    replicate.send({
      reads: Array.from({ length: 1_000 }, (_, n) => ({ id: 2 + n, key, timeoutMs: 60_000 })),
    });
    await pause(300);
    await assertAllIsWell();
  }
  const more = residentBytesOf([node]) - before;
  // A third of what all of them are; what is garbage already counts too, and more of it on a busy machine.
  assert.ok(more < 1_024 * mib, `${Math.round(more / mib)} MiB more for 4,000 answers of 900 KiB`);
});

test('gossip that makes no sense is refused whole, and the ring stays', async () => {
  for (const server of [node, cluster.membership]) {
    const client = clientOf(server);
    const known = await gossip(client, {});
    assert.ok(typeof known === 'object');
    const { clusterId, ring } = known;
    assert.ok(ring);
    const about = { address: '127.0.0.1:1', host: 'x', zone: 'x', weight: 1 };
    const member = { id: 'x', incarnation: 1n, status: 1, ...about } as const;
    const newer = { ...ring, version: { term: 99n, sequence: 1n } };
    const wrong: readonly Partial<GossipRequest>[] = [
      { wireVersion: 0 },
      { wireVersion: 2 },
      { clusterId: 'another' },
      { clusterId: 'x'.repeat(1_000) },
      { clusterId, members: [{ ...member, incarnation: 0n }] },
      { clusterId, members: [{ ...member, incarnation: 2n ** 64n - 1n }] },
      { clusterId, members: [{ ...member, id: '' }] },
      { clusterId, members: [{ ...member, id: 'x'.repeat(100_000) }] },
      { clusterId, members: [{ ...member, address: 'no port' }] },
      { clusterId, members: [{ ...member, status: 99 as 1 }] },
      { clusterId, members: [{ ...member, weight: 101 }] },
      { clusterId, digests: Array.from({ length: 5_000 }, (_, i) => ({ id: `${i}`, incarnation: 1n, status: 1 })) },
      { clusterId, ringVersion: { term: 0n, sequence: 0n } },
      { clusterId: '', ring: newer },
      { clusterId, ring: { ...newer, partitions: 3 } },
      { clusterId, ring: { ...newer, partitions: 0 } },
      { clusterId, ring: { ...newer, partitions: 2 ** 31 } },
      { clusterId, ring: { ...newer, replicas: 99 } },
      { clusterId, ring: { ...newer, owners: newer.owners.map((row) => ({ ...row, owners: [7, 8, 9] })) } },
      { clusterId, ring: { ...newer, owners: newer.owners.map((row) => ({ ...row, owners: [0, 0, 0] })) } },
      { clusterId, ring: { ...newer, owners: newer.owners.slice(1) } },
      { clusterId, ring: { ...newer, nodes: newer.nodes.map((each) => ({ ...each, index: 0 })) } },
      { clusterId, ring: { ...newer, nodes: newer.nodes.map((each) => ({ ...each, id: 'one' })) } },
      { clusterId, ring: { ...newer, nodes: newer.nodes.map((each) => ({ ...each, address: '' })) } },
      { clusterId, ring: { ...newer, nodes: newer.nodes.map((each) => ({ ...each, address: ':::: no address' })) } },
      { clusterId, ring: { ...newer, nodes: newer.nodes.map((each) => ({ ...each, address: 'unix:/tmp/x:1' })) } },
      { clusterId, ring: { ...newer, hash: 0 } },
      { clusterId, ring: { ...newer, version: undefined } },
    ];
    for (const [i, request] of wrong.entries()) {
      const answer = await gossip(client, request);
      const isRefused = answer === status.FAILED_PRECONDITION || answer === status.INVALID_ARGUMENT;
      assert.ok(isRefused, `${i}: ${typeof answer === 'object' ? 'taken' : status[answer]}`);
    }
    const still = await gossip(client, {});
    assert.ok(typeof still === 'object');
    assert.deepEqual(still.ring?.version, ring.version);
    assert.equal(
      still.members.find(({ id }) => id === 'x'),
      undefined,
    );
  }
});

// ---------------------------------------------------------------------------------------------------------------

const sessionHeaders = { ':method': 'POST', ':path': sessionPath, 'content-type': 'application/grpc', te: 'trailers' };

function portOf({ address }: Pick<ClusterProcess, 'address'>): { host: string; port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

function connectTo(server: ClusterProcess): Socket {
  const socket = connect(portOf(server));
  socket.on('error', () => {});
  opened.push({ close: () => socket.destroy() });
  return socket;
}

function openHttp2(server: ClusterProcess, socket?: Socket): ClientHttp2Session {
  const session = connectHttp2(`http://${server.address}`, socket && { createConnection: () => socket });
  session.on('error', () => {});
  session.on('stream', (stream) => stream.on('error', () => {}));
  opened.push({ close: () => session.destroy() });
  return session;
}

function framed(message: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The gRPC status in the headers or the trailers; NaN where it ends without. */
function statusOf(stream: ClientHttp2Stream): Promise<number> {
  stream.on('error', () => {});
  stream.resume();
  return new Promise((resolve) => {
    const look = (headers: { readonly 'grpc-status'?: unknown }) => {
      if (headers['grpc-status'] !== undefined) resolve(Number(headers['grpc-status']));
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('close', () => resolve(Number.NaN));
  });
}

/** The first answer that has a result in it; the welcome has none. */
function firstMessage(stream: ClientHttp2Stream): Promise<Buffer> {
  stream.on('error', () => {});
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0);
    stream.on('data', (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes]);
      const welcome = seen.length >= 5 ? 5 + seen.readUInt32BE(1) : Number.POSITIVE_INFINITY;
      if (seen.length > welcome) resolve(seen.subarray(welcome));
    });
    stream.on('close', () => reject(new Error('the stream ended without an answer')));
  });
}

async function sendRaw(server: ClusterProcess, bytes: string | Buffer): Promise<string> {
  const socket = connectTo(server);
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  const closed = closeOf(socket);
  socket.write(bytes);
  await closed;
  return received;
}

/** However it ends: a server that closes while bytes are under way to it resets the connection. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** Of the given processes, together. */
function residentBytesOf(processes: readonly ClusterProcess[] = cluster.processes): number {
  return processes.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
}

async function open({ admin }: ClusterProcess): Promise<{ readonly connections: number; readonly sessions: number }> {
  return {
    connections: await figureOf(admin, 'cartwheel_grpc_connections'),
    sessions: await figureOf(admin, 'cartwheel_sessions'),
  };
}
