/** Streams to other storage nodes, where names lead elsewhere and others listen at old addresses. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import {
  ExchangeRequest,
  ReplicaServiceClient,
  ScanKeysRequest,
} from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import type { Failure } from '../../services/core/failure.ts';
import { settingsOf } from '../../services/core/membership/settings.ts';
import type { Replica } from '../../services/core/quorum/peers.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import { fromServiceError } from '../../services/platform/errors.ts';
import { type GrpcServer, startGrpcServer } from '../../services/platform/grpc-server.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { createRingSource } from '../../services/platform/ring-source.ts';
import { type HandshakeTerms, identityOf } from '../../services/platform/streams/handshake.ts';
import { type ConnectedPeers, createPeers } from '../../services/platform/streams/peers.ts';
import { createReplicaService, replicaDefinition } from '../../services/platform/streams/replica-service.ts';
import { freePorts } from '../e2e/ports.ts';
import { hangMs, until } from '../e2e/support.ts';
import { createReadableMetrics } from '../storage-node/metrics.ts';
import { startMute, startNameService } from './name-service.ts';
import { recordingLog } from './recording-log.ts';

const settings = settingsOf(xxh64);
const clock = createClock();
/** What waits for a time-out waits for a twentieth of it. */
const hastyClock = { ...clock, after: (ms: number, run: () => void) => clock.after(ms / 20, run) };
const nothingStored = { building: false, differences: [], leavesListed: 0, entries: [], records: [], behind: false };

function termsOf(nodeId: string, changes: Partial<HandshakeTerms> = {}): HandshakeTerms {
  return { nodeId, clusterId: 'c1', replicas: 2, settings, ...changes };
}

function ringWith(address: string): Ring {
  const node = (index: number, id: string, at: string) => {
    return { index, id, address: at, host: id, zone: id, status: 'UP' as const };
  };
  const nodes = [node(0, 'a', 'a.test:1'), node(1, 'b', address)];
  const owners = Uint16Array.of(0, 1);
  return createRing({
    version: { term: 1n, sequence: 1n },
    partitions: 1,
    replicas: 2,
    nodes,
    owners,
    pending: new Map(),
  });
}

/** A storage node as the others see it, which says so when it is asked for something. */
async function startNode(t: TestContext, listen: string, terms: HandshakeTerms) {
  const log = recordingLog();
  const metrics = createReadableMetrics();
  const asked: string[] = [];
  const replica: Replica = {
    write: async () => {},
    async read() {
      asked.push('read');
      return undefined;
    },
    inspect: async () => ({ record: undefined, owed: [] }),
    async scan() {
      asked.push('scan');
      return { keys: [], next: undefined };
    },
    async exchange() {
      asked.push('exchange');
      const rest = { kept: [], next: Buffer.alloc(0), partitionBytes: 0n, requests: [], losses: [], agreed: [] };
      return { ...nothingStored, ...rest, partitions: [], era: 0n };
    },
  };
  const service = createReplicaService({ replica, terms: () => terms, clock, log, metrics });
  const server: GrpcServer = await startGrpcServer({
    ...{ listen, log, metrics: createMetrics({ service: 'test' }) },
    services: [{ definition: replicaDefinition, implementation: service.service }],
  });
  const stop = async () => {
    service.end();
    await server.drain(0);
  };
  t.after(stop);
  return { asked, log, metrics, stop, address: server.address };
}

function connect(t: TestContext, address: string, terms = termsOf('a')) {
  const log = recordingLog();
  const metrics = createReadableMetrics();
  const rings = createRingSource(ringWith(address));
  const peers: ConnectedPeers = createPeers({
    ...{ rings, terms: () => terms, clock: hastyClock, random: createRandom(), log, metrics },
  });
  t.after(() => peers.close());
  return { peers, log, metrics };
}

const refusals = ({ lines }: ReturnType<typeof recordingLog>) =>
  lines.filter(({ message }) => message === 'a handshake of replication was refused').map(({ fields }) => fields);

async function reading(peers: ConnectedPeers): Promise<unknown> {
  return peers.replica('b').read({ key: Buffer.alloc(12), deadline: clock.now() + hangMs });
}

test('a node made anew at another address is found under its old name', { timeout: hangMs }, async (t) => {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  names.set('b.test', '127.0.0.1');
  const before = await startNode(t, `127.0.0.1:${port}`, termsOf('b'));
  const { peers } = connect(t, `b.test:${port}`);
  await until('b is reached', () => peers.reachable('b'));
  await reading(peers);
  await before.stop();
  await until('b is lost', () => !peers.reachable('b'));
  const after = await startNode(t, `127.0.0.2:${port}`, termsOf('b'));
  names.set('b.test', '127.0.0.2');
  await until('b is reached again', () => peers.reachable('b'));
  await reading(peers);
  assert.deepEqual([before.asked, after.asked], [['read'], ['read']]);
});

test('a node is found where its name leads, though another one has its old address by then', {
  timeout: hangMs,
}, async (t) => {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  // As a name service says for a while, where pods are made anew: b's old address, which c has got.
  names.set('b.test', '127.0.0.1');
  const other = await startNode(t, `127.0.0.1:${port}`, termsOf('c'));
  const right = await startNode(t, `127.0.0.2:${port}`, termsOf('b'));
  const { peers, log, metrics } = connect(t, `b.test:${port}`);
  await until('c has refused', () => metrics.valueOf('cartwheel_handshakes_refused_total') > 2);
  assert.equal(peers.reachable('b'), false);
  names.set('b.test', '127.0.0.2');
  await until('b is reached', () => peers.reachable('b'));
  await reading(peers);
  assert.deepEqual([other.asked, right.asked], [[], ['read']]);
  const refusal = 'node b was meant, this is c';
  assert.deepEqual(refusals(log), [{ other: 'b', by: 'the other one', refusal, address: `b.test:${port}` }]);
  assert.equal(refusals(other.log).length, 1);
});

test('a machine that is gone without a word does not keep its node from being found elsewhere', {
  timeout: hangMs,
}, async (t) => {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  t.after(await startMute('127.0.0.1', port as number));
  names.set('b.test', '127.0.0.1');
  const { peers } = connect(t, `b.test:${port}`);
  await until('it was dialled', () => names.asked('b.test') > 0);
  await startNode(t, `127.0.0.2:${port}`, termsOf('b'));
  names.set('b.test', '127.0.0.2');
  await until('b is reached', () => peers.reachable('b'));
});

test('a name that leads nowhere for a while is asked for until it leads to its node', {
  timeout: hangMs,
}, async (t) => {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  const { peers } = connect(t, `b.test:${port}`);
  await until('it was asked for again', () => names.asked('b.test') > 2);
  await startNode(t, `127.0.0.1:${port}`, termsOf('b'));
  names.set('b.test', '127.0.0.1');
  await until('b is reached', () => peers.reachable('b'));
});

test('calls beside the stream are for the node that was meant, and for no other', { timeout: hangMs }, async (t) => {
  const { asked, address, metrics } = await startNode(t, '127.0.0.1:0', termsOf('c'));
  const client = new ReplicaServiceClient(address, credentials.createInsecure());
  t.after(() => client.close());
  const answerTo = (terms: HandshakeTerms | undefined, meant: string) => {
    const hello = terms && identityOf(terms, meant);
    const outcome = (call: (done: (error: Parameters<typeof fromServiceError>[0] | null) => void) => unknown) =>
      new Promise<string>((resolve) => {
        call((error) => resolve(error === null ? 'answered' : failureText(fromServiceError(error, address))));
      });
    return Promise.all([
      outcome((done) => client.exchange(ExchangeRequest.fromPartial({ hello }), done)),
      outcome((done) => client.scanKeys(ScanKeysRequest.fromPartial({ hello }), done)),
    ]);
  };
  const wrong: [HandshakeTerms, string, string][] = [
    [termsOf('a'), 'b', 'node b was meant, this is c'],
    [termsOf('a', { clusterId: 'c2' }), 'c', 'cluster id "c2" there, "c1" here'],
    [termsOf('a', { replicas: 3 }), 'c', '3 replicas (N) there, 2 here'],
  ];
  for (const [terms, meant, text] of wrong) {
    const said = `NOT_ENOUGH_REPLICAS: ${text}`;
    assert.deepEqual(await answerTo(terms, meant), [said, said]);
  }
  assert.deepEqual(asked, []);
  assert.equal(metrics.valueOf('cartwheel_handshakes_refused_total'), 2 * wrong.length);
  assert.deepEqual(await answerTo(termsOf('a'), 'c'), ['answered', 'answered']);
  // As a build says it that does not know of this.
  assert.deepEqual(await answerTo(undefined, ''), ['answered', 'answered']);
  assert.deepEqual(asked.sort(), ['exchange', 'exchange', 'scan', 'scan']);
});

test('nothing is asked beside a stream that is not up: nobody has said who is there', {
  timeout: hangMs,
}, async (t) => {
  const { asked, address } = await startNode(t, '127.0.0.1:0', termsOf('c'));
  const { peers, metrics } = connect(t, address);
  await until('c has refused', () => metrics.valueOf('cartwheel_handshakes_refused_total') > 0);
  const b = peers.replica('b');
  const range = { start: Buffer.alloc(0), end: undefined, namespace: '', prefix: Buffer.alloc(0), limit: 1 };
  for (const call of [() => b.exchange(ExchangeRequest.fromPartial({})), () => b.scan(range)]) {
    await assert.rejects(call, /^Failure: no answer from node b: there is no stream$/);
  }
  assert.deepEqual(asked, []);
});

const others: [string, Partial<HandshakeTerms>, string][] = [
  ['another cluster', { clusterId: 'c2' }, 'cluster id "c1" there, "c2" here'],
  ['another N', { replicas: 3 }, '2 replicas (N) there, 3 here'],
  [
    'another hash of keys',
    { settings: new Map(settings).set('hash of a key', '0') },
    `hash of a key: "${settings.get('hash of a key')}" there, "0" here`,
  ],
  [
    'another tree of digests',
    { settings: new Map(settings).set('levels of a digest tree', '8') },
    'levels of a digest tree: "20" there, "8" here',
  ],
];

for (const [what, changes, refusal] of others) {
  test(`nodes of ${what} refuse each other, count it, and say why once`, { timeout: hangMs }, async (t) => {
    const node = await startNode(t, '127.0.0.1:0', termsOf('b', changes));
    const { peers, log, metrics } = connect(t, node.address);
    await until('it was tried again', () => metrics.valueOf('cartwheel_handshakes_refused_total') > 2);
    assert.equal(peers.reachable('b'), false);
    assert.ok(node.metrics.valueOf('cartwheel_handshakes_refused_total') > 2);
    assert.deepEqual(refusals(log), [{ other: 'b', by: 'the other one', refusal, address: node.address }]);
    const [line, ...more] = refusals(node.log);
    assert.deepEqual([line?.other, line?.by, line?.refusal, more], ['a', 'this process', refusal, []]);
  });
}

function failureText(failure: Failure): string {
  return `${failure.reason}: ${failure.message}`;
}
