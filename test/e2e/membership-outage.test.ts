/** P13: the data plane without membership: reads and writes, and restarts of everything else. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { hangMs, pause, settled, withClient } from './support.ts';

let cluster: Cluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster?.stop());

/** Writes and reads under way, until they are asked to end; each failure is kept. */
function startLoad(endpoints: readonly string[], direct: boolean) {
  const client = connect({ endpoints, direct });
  const failures: unknown[] = [];
  const written = new Map<string, string>();
  let isOver = false;
  const worker = async (index: number) => {
    for (let turn = 0; !isOver; turn++) {
      const key = `${direct ? 'direct' : 'router'}-${index}-${turn % 50}`;
      try {
        await client.update(key, () => `${turn}`);
        written.set(key, `${turn}`);
        assert.equal(await only(client, key), `${turn}`);
      } catch (error) {
        failures.push(error);
      }
      await pause(2);
    }
  };
  const working = Promise.all(Array.from({ length: 8 }, (_, index) => worker(index)));
  return {
    failures,
    written,
    async end() {
      isOver = true;
      await working;
      await client.close();
    },
  };
}

async function only(client: CartwheelClient, key: string): Promise<string> {
  const { siblings } = await client.get(key);
  return siblings.map(({ value }) => value.toString()).join(' | ');
}

async function restart(each: ClusterProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  await each.kill(signal);
  await each.start();
  await settled(cluster);
}

test('P13: with membership killed, puts and gets go on without a failure, to the router and direct', {
  timeout: hangMs,
}, async () => {
  await settled(cluster);
  const loads = [
    startLoad([cluster.router.address], false),
    startLoad(
      cluster.nodes.map(({ address }) => address),
      true,
    ),
  ];
  await pause(200);
  await cluster.membership.kill('SIGKILL');
  const before = loads.map(({ written }) => written.size);
  await pause(2_500); // two rounds of gossip and more
  for (const load of loads) await load.end();
  assert.equal(cluster.membership.running, false);
  for (const [i, { failures, written }] of loads.entries()) {
    assert.deepEqual(failures, []);
    assert.ok(written.size > (before[i] ?? 0), 'it has gone on');
  }
});

test('with membership dead, a storage node that was killed comes back with the ring of its disk', {
  timeout: hangMs,
}, async () => {
  const [node] = cluster.nodes as [ClusterProcess, ...ClusterProcess[]];
  await restart(node, 'SIGKILL');
  await withClient({ endpoints: [node.address] }, async (client) => {
    const { receipt } = await client.put('after a restart', 'whole', { w: 3 });
    assert.equal(receipt.acks.length, 3);
    assert.equal(await only(client, 'after a restart'), 'whole');
  });
});

test('with membership dead, a router that is started again learns the ring from a storage node', {
  timeout: hangMs,
}, async () => {
  await restart(cluster.router, 'SIGKILL');
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    await client.put('through a new router', 'whole', { w: 3 });
    assert.equal(await only(client, 'through a new router'), 'whole');
  });
});

test('with membership dead, storage nodes and router all stopped and started serve what they have', {
  timeout: hangMs,
}, async () => {
  const others = [...cluster.nodes, cluster.router];
  await Promise.all(others.map((each) => each.kill('SIGTERM')));
  await Promise.all(others.map((each) => each.start()));
  await settled(cluster);
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    assert.equal(await only(client, 'through a new router'), 'whole');
    await client.put('with everything started again', 'whole', { w: 3 });
  });
});

test('membership that comes back knows the same ring and cluster', { timeout: hangMs }, async () => {
  await cluster.membership.start();
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    const [membership, router] = await Promise.all([client.status(cluster.membership.address), client.status()]);
    assert.deepEqual([membership.ring, membership.clusterId], [router.ring, router.clusterId]);
    assert.notEqual(membership.ring, undefined);
  });
});
