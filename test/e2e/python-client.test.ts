/** A generated client of another language, against a real cluster. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { basketWanted, makePythonClient } from './python-client.ts';
import { hangMs, settled } from './support.ts';

const made = await makePythonClient();
const skip = typeof made === 'string' ? made : false;
if (skip !== false) console.log(skip);

let cluster: Cluster;
before(async () => {
  if (skip !== false) return;
  cluster = await startCluster();
  await settled(cluster);
});
after(async () => {
  await cluster?.stop();
  if (typeof made !== 'string') await made.close();
});

test('a Python client generated from the contract puts, gets and merges', { skip, timeout: 2 * hangMs }, async () => {
  assert.ok(typeof made !== 'string');
  for (const { address } of [cluster.router, cluster.nodes[0] as ClusterProcess]) {
    assert.deepEqual(await made.run(address), basketWanted);
  }
});
