/** What each process shows of itself, and that it says goodbye: metrics, reflection, health, logs, drain. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { credentials } from '@grpc/grpc-js';
import {
  KeyValueServiceClient,
  type Operation,
  type Result,
  type SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { get } from '../storage-node/requests.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { figureIn, figureOf, metricsPageOf } from './figures.ts';
import { hangMs, settled, until, withClient } from './support.ts';
import { call, healthOf, reflectedDefinition, reflectedServices } from './support-grpc.ts';

const kv = 'cartwheel.kv.v1.KeyValueService';
const admin = 'cartwheel.admin.v1.AdminService';
const membership = 'cartwheel.membership.v1.MembershipService';
const replica = 'cartwheel.replica.v1.ReplicaService';

let cluster: Cluster;
let node: ClusterProcess;
before(async () => {
  cluster = await startCluster();
  node = cluster.nodes[0] as ClusterProcess;
  await settled(cluster);
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    const useOne = async (key: string) => {
      const { context } = await client.put(key, 'value', { w: 3 });
      await client.get(key, { r: 3 });
      await client.delete(key, context);
    };
    await Promise.all(Array.from({ length: 100 }, (_, i) => useOne(`key-${i}`)));
  });
});
after(() => cluster?.stop());

/** A gRPC client of others, which knows nothing but what reflection says. */
async function bufCurl(...args: readonly string[]): Promise<string> {
  const script = createRequire(import.meta.url).resolve('@bufbuild/buf/bin/buf');
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[script, 'curl', '--protocol', 'grpc', '--http2-prior-knowledge'],
    ...args,
  ]);
  return stdout;
}

/** Each histogram of ours by name: per label set the bounds in seconds and the count. */
async function histogramsOf({ admin }: ClusterProcess) {
  const page = await metricsPageOf(admin);
  const series = new Map<string, { labels: string; bounds: number[]; count: number }[]>();
  for (const [, name = '', labels = '', bound = '', count] of page.matchAll(
    /^(cartwheel_\w+)_bucket\{(?:(.*),)?le="([^"]+)"\} (\d+)$/gm,
  )) {
    const family = series.get(name) ?? [];
    series.set(name, family);
    if (family.at(-1)?.labels !== labels) family.push({ labels, bounds: [], count: 0 });
    const one = family.at(-1) as { bounds: number[]; count: number };
    if (bound !== '+Inf') one.bounds.push(Number(bound));
    one.count = Number(count);
  }
  return series;
}

test('a storage node shows histograms of calls, operations, engine and replication, and has counted', {
  timeout: hangMs,
}, async () => {
  let histograms = await histogramsOf(node);
  const counted = (name: string, labels: string) =>
    histograms.get(name)?.find((series) => series.labels.includes(labels))?.count ?? 0;
  for (const operation of ['get', 'put', 'delete']) {
    assert.ok(counted('cartwheel_coordination_seconds', `operation="${operation}"`) > 0, operation);
    assert.equal(counted('cartwheel_operation_seconds', `operation="${operation}"`), 0, 'the router counts them');
  }
  for (const stage of ['own', 'write_quorum', 'read_quorum', 'answer']) {
    assert.ok(counted('cartwheel_coordination_stage_seconds', `stage="${stage}"`) > 0, stage);
  }
  for (const name of ['cartwheel_siblings', 'cartwheel_clock_entries']) assert.ok(counted(name, '') > 0, name);
  for (const what of ['read', 'write']) assert.ok(counted('cartwheel_replication_seconds', `what="${what}"`) > 0, what);
  assert.ok(counted('cartwheel_engine_read_seconds', '') > 0);
  assert.ok(counted('cartwheel_engine_commit_seconds', 'sync="true"') > 0);
  // Whom a process gossips with is drawn by chance.
  await until('another process has gossiped with it', async () => {
    histograms = await histogramsOf(node);
    return counted('cartwheel_rpc_seconds', 'method="Gossip"') > 0;
  });

  const page = await metricsPageOf(node.admin);
  for (const direction of ['in', 'out']) {
    const value = (name: string) => figureIn(page, `cartwheel_replication_${name}_total`, `direction="${direction}"`);
    assert.ok(value('operations') >= value('frames') && value('frames') > 0, `operations by frames, ${direction}`);
  }
});

test('the router and membership show histograms of what they do', { timeout: hangMs }, async () => {
  const router = await histogramsOf(cluster.router);
  for (const { labels, count } of router.get('cartwheel_operation_seconds') ?? []) assert.ok(count >= 100, labels);
  assert.equal(router.get('cartwheel_operation_seconds')?.length, 3);
  assert.ok(((await histogramsOf(cluster.membership)).get('cartwheel_rpc_seconds')?.length ?? 0) > 0);
});

test('the buckets of every histogram of times are steps of at most 1.25 from 1 to 500 ms', {
  timeout: hangMs,
}, async () => {
  for (const each of [cluster.router, cluster.membership, node]) {
    for (const [name, family] of await histogramsOf(each)) {
      if (!name.endsWith('_seconds')) continue;
      for (const { labels, bounds } of family) {
        const from = bounds.findLastIndex((bound) => bound <= 0.001);
        const to = bounds.findIndex((bound) => bound >= 0.5);
        assert.ok(from >= 0 && to > from, `${name}{${labels}} does not reach from 1 to 500 ms`);
        for (let i = from; i < to; i++) {
          const step = (bounds[i + 1] ?? 0) / (bounds[i] ?? 0);
          assert.ok(step > 1 && step <= 1.25 + 1e-9, `${name}{${labels}}: ${bounds[i]} to ${bounds[i + 1]}`);
        }
      }
    }
  }
});

test('reflection lists the services of every process', { timeout: hangMs }, async () => {
  const wanted: readonly (readonly [ClusterProcess, readonly string[]])[] = [
    [cluster.router, [kv, admin]],
    [cluster.membership, [membership, admin]],
    ...cluster.nodes.map((each) => [each, [kv, replica, membership, admin]] as const),
  ];
  for (const [{ address }, services] of wanted) {
    const listed = await reflectedServices(address);
    for (const service of [...services, 'grpc.health.v1.Health'])
      assert.ok(listed.includes(service), `${service} at ${address}`);
  }
});

test('a client that knows nothing but reflection puts, gets and asks for the status', { timeout: hangMs }, async () => {
  const { address } = cluster.router;
  const definition = await reflectedDefinition(address, kv);
  const key = Buffer.from('by reflection');
  await call(definition, address, kv, 'Put', { key, value: Buffer.from('works') });
  const { siblings } = await call(definition, address, kv, 'Get', { key });
  assert.deepEqual(
    (siblings as { value: Buffer }[]).map(({ value }) => value.toString()),
    ['works'],
  );
  for (const each of cluster.processes) {
    const status = await call(await reflectedDefinition(each.address, admin), each.address, admin, 'GetStatus');
    assert.equal(status.address, each.address);
  }
});

test('a client that is strict about descriptors finds every method, and speaks by them', {
  timeout: hangMs,
}, async () => {
  for (const { address } of cluster.processes) {
    const methods = (await bufCurl('--list-methods', `http://${address}`)).trim().split('\n');
    for (const service of await reflectedServices(address))
      assert.ok(
        methods.some((method) => method.startsWith(`${service}/`)),
        `${service} at ${address}`,
      );
  }
  const url = `http://${cluster.router.address}/${kv}`;
  const [key, value] = ['by buf curl', 'works'].map((text) => Buffer.from(text).toString('base64'));
  await bufCurl('--data', JSON.stringify({ key, value, request_id: 'AAEC', ttl: '60s' }), `${url}/Put`);
  const { siblings } = JSON.parse(await bufCurl('--data', JSON.stringify({ key, max_bytes: 10 }), `${url}/Get`));
  assert.deepEqual([siblings.length, siblings[0].value], [1, value]);
});

test('grpc.health.v1 says SERVING of every process and each of its services', { timeout: hangMs }, async () => {
  for (const { address } of cluster.processes) {
    assert.equal(await healthOf(address), 'SERVING');
    assert.equal(await healthOf(address, admin), 'SERVING');
  }
  assert.equal(await healthOf(cluster.router.address, kv), 'SERVING');
  await assert.rejects(healthOf(node.address, 'no.such.Service'), /NOT_FOUND/);
});

test('a router and a storage node that drain say NOT_SERVING and not ready, answer all that is in flight, and exit with 0', {
  timeout: hangMs,
}, async () => {
  for (const draining of [cluster.router, node]) {
    const others = cluster.nodes.filter((each) => each !== node);
    await settled(cluster);
    const session = openSession(draining.address);
    await session.answered([put(1n, 'before')]);
    // Without the other two no put gets its second copy: all stay in flight until they go on.
    for (const other of others) await other.kill('SIGSTOP');
    const ids = Array.from({ length: 200 }, (_, i) => BigInt(i + 2));
    const all = session.answered(ids.map((id) => put(id, `in flight ${id}`)));
    const inFlight = () => figureOf(draining.admin, 'cartwheel_session_operations_in_flight');
    await until('they are in flight', async () => (await inFlight()) === ids.length);
    const ended = draining.kill('SIGTERM');
    await until('it says NOT_SERVING', async () => (await healthOf(draining.address)) === 'NOT_SERVING');
    assert.ok(draining.running);
    assert.equal((await fetch(`http://${draining.admin}/readyz`)).status, 503);
    // What was on its way still is taken for a moment: a get, which the process answers itself, says when that is over.
    let id = 1_000n;
    await until('it takes nothing new', async () => {
      const [answer] = await session.answered([{ id: id++, ...get('k', { r: 1 }), timeoutMs: 1_000 }]);
      return /going away/.test(answer?.error?.message ?? '');
    });
    for (const other of others) await other.kill('SIGCONT');

    const results = await all;
    assert.deepEqual(
      results.flatMap(({ error }) => (error === undefined ? [] : [error.message])),
      [],
    );
    assert.equal(await session.status, 'OK');
    await ended;
    assert.equal(draining.exitCode, 0);
    await draining.start();
  }
});

test('membership exits with 0 on SIGTERM', { timeout: hangMs }, async () => {
  await cluster.membership.kill('SIGTERM');
  assert.equal(cluster.membership.exitCode, 0);
  await cluster.membership.start();
});

test('logs are JSON lines with time, level, service and message', { timeout: hangMs }, async () => {
  for (const each of cluster.processes) {
    const lines = each.log().trimEnd().split('\n');
    assert.ok(lines.length > 1);
    for (const line of lines) {
      const { time, level, service, msg, pid } = JSON.parse(line);
      assert.ok(!Number.isNaN(Date.parse(time)), line);
      assert.ok(['debug', 'info', 'warn'].includes(level), line);
      assert.ok(['router', 'storage-node', 'membership'].includes(service), line);
      assert.ok(typeof msg === 'string' && msg.length > 0 && pid > 0, line);
    }
  }
});

function put(id: bigint, key: string): Operation {
  return {
    id,
    timeoutMs: 60_000,
    put: {
      namespace: '',
      key: Buffer.from(key),
      value: Buffer.from('value'),
      context: Buffer.alloc(0),
      w: undefined,
      durability: 0,
      requestId: Buffer.alloc(0),
      attempt: 0,
      ttl: undefined,
      require: undefined,
    },
  };
}

/** A Session by hand: nothing between the test and the stream. */
function openSession(address: string) {
  const client = new KeyValueServiceClient(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const stream = client.session();
  const waiting = new Map<bigint, (result: Result) => void>();
  stream.on('data', ({ results }: SessionResponse) => {
    for (const result of results) waiting.get(result.id)?.(result);
  });
  const status = new Promise<string>((resolve) => {
    stream.on('error', (error) => resolve(error.message));
    stream.on('end', () => resolve('OK'));
  }).finally(() => client.close());
  return {
    status,
    answered(operations: Operation[]): Promise<Result[]> {
      const results = operations.map(({ id }) => new Promise<Result>((resolve) => waiting.set(id, resolve)));
      stream.write({ hello: undefined, operations, sentAtMs: 0 });
      return Promise.all(results);
    },
  };
}
