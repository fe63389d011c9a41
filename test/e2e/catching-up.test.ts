/** Readiness of a storage node that was away. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { hangMs, withClient } from './support.ts';

const count = 3_000;
let cluster: Cluster;

before(async () => {
  cluster = await startCluster();
});
after(() => cluster?.stop());

test('a storage node that was away is ready only when nobody keeps anything for it any more', {
  timeout: hangMs,
}, async () => {
  const [first, second, away] = cluster.nodes as [ClusterProcess, ClusterProcess, ClusterProcess];
  await withClient({ endpoints: [first.address] }, async (client) => {
    const owed = async () => {
      const [one, ...others] = await Promise.all([away, first, second].map(({ address }) => client.status(address)));
      return others.flatMap(({ hints }) => hints).filter(({ nodeId }) => nodeId === one?.id);
    };
    assert.deepEqual(await owed(), []);
    await away.kill('SIGKILL');
    const value = Buffer.alloc(1_024);
    for (let i = 0; i < count; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => client.put(`key-${i + j}`, value)));
    }
    const keptFor = (await client.status(first.address)).hints.reduce((sum, { hints }) => sum + Number(hints), 0);
    assert.ok(keptFor > count / 2, `${keptFor} of ${count} are kept for it`);
    await away.start();
    assert.deepEqual(await owed(), []);
    assert.match(away.log(), /caught up/);
  });
});
