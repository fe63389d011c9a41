import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { type Client, credentials, loadPackageDefinition, makeClientConstructor, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { GetRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { parsePrometheusText } from '../contract/prometheus-text.ts';
import { EMPTY_GET, startKvServer } from './kv-server.ts';
import { recordingLog } from './recording-log.ts';

const KV = 'cartwheel.kv.v1.KeyValueService';

test('a failure reaches the client with reason, field, outcome and code', async () => {
  const kv = await startKvServer(async () => {
    throw new Failure('KEY_TOO_LARGE', 'key: wanted at most 4096 bytes, saw 5000', { field: 'key' });
  });
  const failure = await kv.get();
  assert.ok(failure instanceof Failure);
  assert.deepEqual(
    [failure.reason, failure.message, failure.details],
    ['KEY_TOO_LARGE', 'key: wanted at most 4096 bytes, saw 5000', { field: 'key', outcome: 'NOT_APPLIED' }],
  );
  await kv.close();
});

test('a handler that throws is answered with an id that the log has, at once or later, unary or stream', async () => {
  for (const get of [
    async () => Promise.reject(new Error('a bug')),
    () => {
      throw new Error('a bug');
    },
  ]) {
    const kv = await startKvServer(get);
    const failure = await kv.get();
    assert.ok(failure instanceof Failure);
    assert.equal(failure.reason, 'INTERNAL');
    const id = kv.log.lines[0]?.fields.id;
    assert.equal(typeof id, 'string');
    assert.ok(failure.message.includes(String(id)));
    await kv.close();
  }
  const kv = await startKvServer();
  const code = await new Promise((resolve) => {
    const stream = kv.client.listKeys({
      namespace: '',
      prefix: Buffer.alloc(0),
      pageToken: Buffer.alloc(0),
      pageSize: 0,
    });
    stream.on('data', () => {});
    stream.on('error', (error: Error & { code?: number }) => resolve(error.code));
  });
  assert.equal(code, status.INTERNAL);
  assert.equal(kv.log.lines.length, 1);
  assert.deepEqual(await kv.get(), EMPTY_GET);
  await kv.close();
});

test('calls are counted by service, method and code; a stream by its life', async () => {
  let isFailing = false;
  const kv = await startKvServer(async () => {
    if (isFailing) throw new Failure('NO_RING', 'none');
    return EMPTY_GET;
  });
  await kv.get();
  await kv.get();
  isFailing = true;
  await kv.get();
  const session = kv.client.session();
  session.on('error', () => {});
  session.write({ hello: undefined, operations: [], sentAtMs: 0 });
  await new Promise((resolve) => session.once('data', resolve));
  const counts = async () =>
    Object.fromEntries(
      (parsePrometheusText(await kv.metrics.text()).get('cartwheel_rpc_seconds')?.samples ?? [])
        .filter(({ name }) => name.endsWith('_count'))
        .map(({ labels, value }) => [[...'service method code'.split(' ').map((l) => labels.get(l))].join(' '), value]),
    );
  assert.deepEqual(await counts(), { [`${KV} Get OK`]: 2, [`${KV} Get UNAVAILABLE`]: 1 });
  session.end();
  await new Promise((resolve) => session.once('end', resolve));
  assert.deepEqual(await counts(), {
    [`${KV} Get OK`]: 2,
    [`${KV} Get UNAVAILABLE`]: 1,
    [`${KV} Session OK`]: 1,
  });
  await kv.close();
});

test('a call that the client gives up is counted as CANCELLED', async () => {
  let entered = () => {};
  const inside = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const kv = await startKvServer(() => {
    entered();
    return new Promise(() => {});
  });
  const call = kv.client.get(GetRequest.fromPartial({}), () => {});
  await inside;
  call.cancel();
  const codes = async () =>
    (parsePrometheusText(await kv.metrics.text()).get('cartwheel_rpc_seconds')?.samples ?? []).map(({ labels }) =>
      labels.get('code'),
    );
  while ((await codes()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([...new Set(await codes())], ['CANCELLED']);
  await kv.close();
});

test('health is NOT_SERVING until it is set, per service and for the whole', async () => {
  const kv = await startKvServer();
  const health = new (makeClientConstructor(healthService, 'Health'))(kv.server.address, credentials.createInsecure());
  const check = (service: string) =>
    new Promise((resolve) => {
      health.check?.({ service }, (error: { code: number } | null, answer: { status: string }) =>
        resolve(error ? error.code : answer.status),
      );
    });
  assert.deepEqual([await check(''), await check(KV)], ['NOT_SERVING', 'NOT_SERVING']);
  kv.server.setServing(true);
  assert.deepEqual([await check(''), await check(KV)], ['SERVING', 'SERVING']);
  assert.equal(await check('no.such.Service'), status.NOT_FOUND);
  health.close();
  await kv.close();
});

test('a reflection client sees the services that are there, and their messages', async () => {
  const kv = await startKvServer();
  const folder = dirname(createRequire(import.meta.url).resolve('@grpc/reflection/package.json'));
  const definition = loadPackageDefinition(loadSync(join(folder, 'build/proto/grpc/reflection/v1/reflection.proto')));
  // biome-ignore lint/suspicious/noExplicitAny: a client that is made at run time, from the contract of others
  const { ServerReflection } = (definition as any).grpc.reflection.v1;
  const client = new ServerReflection(kv.server.address, credentials.createInsecure()) as Client & {
    // biome-ignore lint/suspicious/noExplicitAny: as above
    ServerReflectionInfo(): any;
  };
  const stream = client.ServerReflectionInfo();
  const ask = (request: object) =>
    new Promise<Record<string, Record<string, { name: string }[]>>>((resolve) => {
      stream.once('data', resolve);
      stream.write(request);
    });
  const listed = await ask({ listServices: '' });
  assert.deepEqual(listed.listServicesResponse?.service?.map(({ name }) => name).sort(), [KV, 'grpc.health.v1.Health']);
  for (const symbol of [KV, 'grpc.health.v1.Health']) {
    const { fileDescriptorResponse } = await ask({ fileContainingSymbol: symbol });
    const files = (fileDescriptorResponse?.fileDescriptorProto ?? []) as unknown as Buffer[];
    const [file, ...imported] = files.map((each) => fromBinary(FileDescriptorProtoSchema, each));
    assert.ok(file);
    // It throws where a type is not named in full, or is in no file that is imported.
    const registry = createFileRegistry(file, (wanted) => imported.find(({ name }) => name === wanted));
    assert.ok(registry.getService(symbol));
    if (symbol === KV) {
      const fields = registry.getMessage('cartwheel.kv.v1.PutRequest')?.fields ?? [];
      assert.ok(fields.some(({ name }) => name === 'request_id'));
      assert.equal(fields.find(({ name }) => name === 'ttl')?.message?.typeName, 'google.protobuf.Duration');
    }
  }
  stream.end();
  await new Promise((resolve) => stream.once('end', resolve));
  client.close();
  await kv.close();
});

test('a port that is taken is an error with the flag and the address', async () => {
  const kv = await startKvServer();
  await assert.rejects(
    startGrpcServer({
      listen: kv.server.address,
      services: [],
      log: recordingLog(),
      metrics: createMetrics({ service: 'test' }),
    }),
    new RegExp(`--listen: cannot listen on ${kv.server.address}: another process listens there`),
  );
  await kv.close();
});

test('a drain lets calls in flight finish, and takes no new connection', async () => {
  let release = () => {};
  let entered = () => {};
  const inside = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const kv = await startKvServer(async () => {
    entered();
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return EMPTY_GET;
  });
  const answer = kv.get();
  await inside;
  const drained = kv.server.drain(60_000);
  assert.equal(kv.server.drain(60_000), drained);
  const other = await fetch(`http://${kv.server.address}/`).then(
    () => 'served',
    () => 'refused',
  );
  assert.equal(other, 'refused');
  release();
  assert.deepEqual(await answer, EMPTY_GET);
  await drained;
  kv.client.close();
});

test('a drain cuts off at its deadline what does not finish', async () => {
  let entered = () => {};
  const inside = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const kv = await startKvServer(() => {
    entered();
    return new Promise(() => {});
  });
  const answer = kv.get();
  await inside;
  await kv.server.drain(50);
  const failure = await answer;
  assert.ok(failure instanceof Failure);
  assert.equal(failure.outcome, 'UNKNOWN');
  kv.client.close();
});
