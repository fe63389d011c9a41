/** A namespace where the last writer wins, with real processes: two writes that did not know of each other. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { CartwheelClient } from '../../client/index.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { cartwheel, retried, withClient } from './support.ts';

const hangMs = 120_000;
const namespace = 'profiles';
let cluster: Cluster;

before(async () => {
  cluster = await startCluster();
});
after(() => cluster.stop());

const run = (...args: string[]) => cartwheel([...args, '--namespace', namespace, '--endpoint', cluster.router.address]);
const at = <T>({ address }: ClusterProcess, work: (client: CartwheelClient) => Promise<T>) =>
  withClient({ endpoints: [address] }, work);

test('the later of two concurrent writes is what readers see, the other one is listed as a loser', {
  timeout: hangMs,
}, async ({ signal }) => {
  const until = <T>(attempt: () => Promise<T>) => retried(attempt, signal);
  const [a, b, c] = cluster.nodes as [ClusterProcess, ClusterProcess, ClusterProcess];
  await at(a, (client) => client.namespaces.create(namespace, { resolution: 'LAST_WRITER_WINS' }));
  await at(a, async (client) => {
    await until(() => client.put('user', 'first', { namespace, w: 3 }));
    const { siblings } = await client.put('user', 'second, without a context', { namespace, w: 3 });
    assert.equal(siblings, 1);
  });
  await Promise.all([b, c].map((node) => node.kill('SIGKILL')));
  await until(() => at(a, (client) => client.put('user', 'earlier', { namespace, w: 1 })));
  await a.kill('SIGKILL');
  await b.start();
  await until(() => at(b, (client) => client.put('user', 'later', { namespace, w: 1 })));
  await Promise.all([a, c].map((node) => node.start()));

  const line = await until(async () => {
    const { code, stdout, stderr } = await run('losers', 'user', '-o', 'json');
    assert.equal(code, 0, stderr);
    assert.notEqual(stdout, '', 'both have met');
    return stdout;
  });
  const loser = JSON.parse(line) as { key: string; value: string; lostTo: string };
  assert.deepEqual([loser.key, loser.value], ['user', 'earlier']);
  for (const node of cluster.nodes) {
    await at(node, async (client) => {
      const { siblings } = await until(() => client.get('user', { namespace, r: 3 }));
      assert.deepEqual(
        siblings.map(({ value, dot }) => [value.toString(), dot]),
        [['later', loser.lostTo]],
      );
    });
  }
  const shown = await run('losers');
  assert.match(shown.stdout, /^LOST AT +KEY +VALUE +DOT +LOST TO\n.* user +earlier +\S+ +\S+\n$/);
  const deleted = await run('delete', 'user');
  assert.equal(deleted.code, 0, deleted.stderr);
  assert.equal((await run('get', 'user')).code, 1);
  const router = await run('losers', '--limit', '0');
  assert.equal(router.code, 2);
});
