/** A process that is stopped keeps its connections: its callers must not wait for it longer than they can. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '../../client/index.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { settled } from './support.ts';

const hangMs = 120_000;
const keys = Array.from({ length: 60 }, (_, i) => `key ${i}`);
let cluster: Cluster;

before(async () => {
  cluster = await startCluster({ partitions: 16 });
  await settled(cluster);
});
after(() => cluster.stop());

for (const direct of [false, true]) {
  const door = direct ? 'straight to the nodes' : 'through the router';
  test(`with one node stopped every key is read and written, ${door}`, { timeout: hangMs }, async () => {
    const endpoints = direct ? cluster.nodes.map(({ address }) => address) : [cluster.router.address];
    const client = connect({ endpoints, direct });
    const [stopped] = cluster.nodes;
    try {
      for (const key of keys) await client.update(key, () => `before, ${door}`);
      await stopped?.kill('SIGSTOP');
      for (const key of keys) {
        const { siblings, context } = await client.get(key, { timeoutMs: 6_000 });
        assert.deepEqual(
          siblings.map(({ value }) => value.toString()),
          [`before, ${door}`],
        );
        await client.put(key, 'after', { context, timeoutMs: 6_000 });
      }
    } finally {
      await stopped?.kill('SIGCONT');
      await client.close();
    }
  });
}

test('an operation on a cluster that has stopped fails at its time-out, with an unknown outcome', {
  timeout: hangMs,
}, async () => {
  const client = connect({ endpoints: [cluster.router.address] });
  try {
    await client.get('anything');
    await cluster.router.kill('SIGSTOP');
    const failed = client.put('anything', 'value', { timeoutMs: 500 });
    await assert.rejects(failed, { reason: 'DEADLINE', outcome: 'UNKNOWN' });
  } finally {
    await cluster.router.kill('SIGCONT');
    await client.close();
  }
});
