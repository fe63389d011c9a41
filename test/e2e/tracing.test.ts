/** One trace for each operation, through processes of their own. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { credentials, Metadata } from '@grpc/grpc-js';
import { KeyValueServiceClient, type SessionResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../platform/otlp-receiver.ts';
import { get, put } from '../storage-node/requests.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { hangMs, settled, until, withClient } from './support.ts';

let receiver: OtlpReceiver;
let cluster: Cluster;
before(async () => {
  receiver = await startOtlpReceiver();
  const flags = ['--trace-endpoint', receiver.endpoint, '--trace-ratio', '0'];
  cluster = await startCluster({ flags: { router: flags, node: flags } });
  await settled(cluster);
});
after(async () => {
  await cluster?.stop();
  await receiver.close();
});

const callersId = '00f067aa0ba902b7';
let traces = 0;

/** A traceparent of a trace of its own. */
function newTrace(flags = '01'): { traceId: string; traceparent: string } {
  const traceId = (++traces).toString(16).padStart(32, '1');
  return { traceId, traceparent: `00-${traceId}-${callersId}-${flags}` };
}

/** The spans of a trace, once as many are there. */
async function traceOf(traceId: string, count: number): Promise<readonly ReceivedSpan[]> {
  const found = () => receiver.spans.filter((span) => span.traceId === traceId);
  await until(`${count} spans of trace ${traceId}`, () => found().length >= count);
  return found();
}

/** Below the caller: names and kinds, indented, siblings in order. */
function drawn(spans: readonly ReceivedSpan[], parentId = callersId, depth = 0): string[] {
  const children = spans.filter((span) => span.parentId === parentId);
  const texts = children.map((span) => {
    const line = `${'  '.repeat(depth)}${span.service}: ${span.name} (${span.kind})`;
    return [line, ...drawn(spans, span.id, depth + 1)];
  });
  return texts.sort((a, b) => (a.join() < b.join() ? -1 : 1)).flat();
}

test('a put is one trace from its caller through router and coordinator to each replica', {
  timeout: hangMs,
}, async () => {
  const { traceId, traceparent } = newTrace();
  const client = new KeyValueServiceClient(cluster.router.address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('traceparent', traceparent);
  await new Promise<void>((resolve, reject) => {
    client.put(put('key', 'value', { w: 3 }).put, metadata, (error) => (error ? reject(error) : resolve()));
  });
  client.close();
  const spans = await traceOf(traceId, 8);
  assert.deepEqual(drawn(spans), [
    'cartwheel-router: put (SERVER)',
    '  cartwheel-router: send to coordinator (CLIENT)',
    '    cartwheel-storage-node: put (SERVER)',
    '      cartwheel-storage-node: write own replica (INTERNAL)',
    '      cartwheel-storage-node: write replica (CLIENT)',
    '        cartwheel-storage-node: write replica (SERVER)',
    '      cartwheel-storage-node: write replica (CLIENT)',
    '        cartwheel-storage-node: write replica (SERVER)',
  ]);
  const asked = spans.filter(({ kind, name }) => kind === 'CLIENT' && name === 'write replica');
  for (const { id, attributes } of asked) {
    const did = spans.find(({ parentId }) => parentId === id);
    assert.equal(did?.instance, attributes['cartwheel.replica'], 'the replica that was asked did it');
  }
  assert.equal(new Set(spans.map(({ instance }) => instance)).size, 4, 'a router and three storage nodes');
});

test('each operation of a session is traced by its own context', { timeout: hangMs }, async () => {
  const [first, second, no] = [newTrace(), newTrace(), newTrace('00')];
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    await Promise.all([
      client.put('one', 'value', { w: 3, traceparent: first.traceparent }),
      client.get('two', { r: 3, traceparent: second.traceparent }),
      client.get('three', { traceparent: no.traceparent }),
      client.get('four'),
    ]);
  });
  assert.equal(drawn(await traceOf(first.traceId, 8)).length, 8);
  assert.deepEqual(drawn(await traceOf(second.traceId, 8)), [
    'cartwheel-router: get (SERVER)',
    '  cartwheel-router: send to coordinator (CLIENT)',
    '    cartwheel-storage-node: get (SERVER)',
    '      cartwheel-storage-node: read replica (CLIENT)',
    '        cartwheel-storage-node: read replica (SERVER)',
    '      cartwheel-storage-node: read replica (CLIENT)',
    '        cartwheel-storage-node: read replica (SERVER)',
    '      cartwheel-storage-node: read replica (INTERNAL)',
  ]);
  const known = new Set(Array.from({ length: traces }, (_, i) => (i + 1).toString(16).padStart(32, '1')));
  const others = receiver.spans.filter(({ traceId }) => !known.has(traceId) || traceId === no.traceId);
  assert.deepEqual(others, [], 'what nobody traces makes no span');
});

test('the metadata of a session is the context of operations that have none', { timeout: hangMs }, async () => {
  const [ofStream, own] = [newTrace(), newTrace()];
  const client = new KeyValueServiceClient(cluster.router.address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('traceparent', ofStream.traceparent);
  const session = client.session(metadata);
  const answered = new Promise<void>((resolve, reject) => {
    let results = 0;
    session.on('data', (response: SessionResponse) => {
      results += response.results.length;
      if (results === 2) resolve();
    });
    session.on('error', reject);
  });
  const operations = [
    { id: 1n, timeoutMs: 0, ...get('key') },
    { id: 2n, timeoutMs: 0, ...get('key'), traceparent: own.traceparent },
  ];
  session.write({ hello: undefined, operations, sentAtMs: 0 });
  await answered;
  session.end();
  client.close();
  for (const { traceId } of [ofStream, own]) {
    assert.equal(drawn(await traceOf(traceId, 6))[2], '    cartwheel-storage-node: get (SERVER)');
  }
});

test('a failure says in the trace where it was, and why', { timeout: hangMs }, async () => {
  const { traceId, traceparent } = newTrace();
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    await assert.rejects(client.get('key', { namespace: 'unknown', traceparent }));
  });
  const spans = await traceOf(traceId, 3);
  assert.deepEqual(
    spans.map(({ isError, attributes }) => [isError, attributes['error.type']]),
    Array.from({ length: 3 }, () => [true, 'NAMESPACE_UNKNOWN']),
  );
});

test('a traceparent that is none is no reason to refuse an operation', { timeout: hangMs }, async () => {
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    await client.put('key', 'value', { traceparent: 'garbage' });
  });
});
