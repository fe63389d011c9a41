/** Values that expire, on a real cluster, from the command line and from a program. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { cartwheel, pause, until } from './support.ts';

let cluster: Cluster;
let client: CartwheelClient;
before(async () => {
  cluster = await startCluster();
  client = connect({ endpoints: [cluster.router.address] });
});
after(async () => {
  await client.close();
  await cluster.stop();
});

test('a value with a ttl is there, with what is left of it, and then it is not', async () => {
  const asked = ['--endpoint', cluster.router.address];
  const put = await cartwheel(['put', 'session', 'token', '--ttl', '20s', ...asked]);
  assert.equal(put.code, 0, put.stderr);
  assert.match((await cartwheel(['get', 'session', ...asked])).stdout, /, expires in \d+(\.\d)? s\n/);
  const shown = JSON.parse((await cartwheel(['get', 'session', '-o', 'json', ...asked])).stdout);
  assert.ok(shown.siblings[0].ttlLeftMs > 0 && shown.siblings[0].ttlLeftMs <= 20_000);
  await client.put('brief', 'v', { ttlMs: 500 });
  await until('it has expired', async () => (await client.get('brief', { r: 3 })).siblings.length === 0, 50);
  const gone = await cartwheel(['get', 'brief', ...asked]);
  assert.deepEqual([gone.code, gone.stderr], [1, 'cartwheel: brief: not found: it was deleted, or has expired\n']);
  const keys = [];
  for await (const { key } of client.keys()) keys.push(key.toString());
  assert.deepEqual(keys, ['session']);
});

test('the expiry survives a restart, and the ttl of a namespace is that of its puts', async () => {
  await client.namespaces.create('brief', { ttlMs: 60_000 });
  await client.put('k', 'v', { namespace: 'brief', w: 3 });
  const [before] = (await client.get('k', { namespace: 'brief' })).siblings;
  for (const node of cluster.nodes) {
    await node.kill('SIGKILL');
    await node.start();
  }
  await pause(20);
  let left: number | undefined;
  await until('it can be read', async () => {
    const answer = await client.get('k', { namespace: 'brief', r: 3 }).catch(() => undefined);
    left = answer?.siblings[0]?.ttlLeftMs;
    return left !== undefined;
  });
  assert.ok((left ?? 0) < (before?.ttlLeftMs ?? 0) && (left ?? 0) > 0);
});
