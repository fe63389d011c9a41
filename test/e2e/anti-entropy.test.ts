/** P6 with real processes: a node that was away becomes equal to the others without hints and without a read. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import type { ExplainResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { cartwheel, retried } from './support.ts';

const hangMs = 180_000;
const keys = Array.from({ length: 400 }, (_, i) => `key ${i}`);
let cluster: Cluster;
let client: CartwheelClient;

before(async () => {
  cluster = await startCluster({ flags: { node: ['--hints-max', '0'] } });
  client = connect({ endpoints: [cluster.router.address] });
});

after(async () => {
  await client?.close();
  await cluster?.stop();
});

async function putAll(value: string, some: readonly string[], retry: <T>(attempt: () => Promise<T>) => Promise<T>) {
  await Promise.all(
    some.map((key) =>
      retry(async () => {
        const { context } = await client.get(key);
        await client.put(key, value, { context });
      }),
    ),
  );
}

const dotsOf = ({ replicas }: ExplainResponse) => replicas.map(({ dots }) => dots.join());

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a node that was away (${signal}) while keys were written, replaced and deleted becomes equal by itself`, {
    timeout: hangMs,
  }, async ({ signal: over }) => {
    const until = <T>(attempt: () => Promise<T>) => retried(attempt, over);
    const [, , away] = cluster.nodes as [ClusterProcess, ClusterProcess, ClusterProcess];
    await putAll('before', keys.slice(0, 300), until);
    await away.kill(signal);
    await putAll('meanwhile', keys.slice(100), until);
    for (const key of keys.slice(0, 20)) {
      await until(async () => {
        const { context } = await client.get(key);
        await client.delete(key, context);
      });
    }
    await away.start();
    for (const key of keys) {
      await until(async () => {
        const explained = await client.explain(key);
        const dots = dotsOf(explained);
        assert.equal(explained.replicas.filter(({ reachable }) => reachable).length, 3);
        assert.ok(
          dots.every((each) => each === dots[0]),
          `${key}: ${dots.join(' | ')}`,
        );
      });
    }
    for (const key of keys.slice(0, 20)) assert.deepEqual(dotsOf(await client.explain(key)), ['', '', '']);
    const status = await cartwheel(['repair', 'status', '-o', 'json', '--endpoint', cluster.router.address]);
    assert.equal(status.code, 0, status.stderr);
    const { nodes } = JSON.parse(status.stdout) as { nodes: { digestsBuilt: number; pairs: number }[] };
    assert.deepEqual(
      nodes.map(({ digestsBuilt, pairs }) => [digestsBuilt, pairs > 0]),
      Array(3).fill([1, true]),
    );
  });
}

test('the tables for people', { timeout: hangMs }, async () => {
  const endpoint = ['--endpoint', cluster.router.address];
  const status = await cartwheel(['repair', 'status', ...endpoint]);
  assert.match(
    status.stdout,
    /^NODE +DIGESTS +PAIRS +COMPARED +LONGEST AGO +DIFFERING +LAG +TO LET GO +OLDEST +WAITS FOR *\n(\S+ +complete .*\n){3}$/,
  );
  const tasks = await cartwheel(['tasks', ...endpoint]);
  assert.equal(tasks.code, 0, tasks.stderr);
});
