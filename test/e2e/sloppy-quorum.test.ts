/** P8 and hinted handoff with real processes: all three homes of a key stopped, and back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import type { ExplainResponse } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { retried } from './support.ts';

const hangMs = 120_000;
let cluster: Cluster;
let client: CartwheelClient;

before(async () => {
  cluster = await startCluster({ nodes: 6 });
  client = connect({ endpoints: [cluster.router.address] });
});

after(async () => {
  await client?.close();
  await cluster?.stop();
});

async function homesOf(key: string): Promise<{ ids: string[]; homes: ClusterProcess[] }> {
  const [{ replicas }, { nodes }] = await Promise.all([client.explain(key), client.ring()]);
  const ids = replicas.filter(({ home }) => home).map(({ nodeId }) => nodeId);
  const addresses = ids.map((id) => nodes.find((node) => node.id === id)?.address);
  return { ids, homes: cluster.nodes.filter(({ address }) => addresses.includes(address)) };
}

const held = ({ replicas }: ExplainResponse) => replicas.map(({ dots }) => dots.join());

for (const [signal, back] of [
  ['SIGKILL', 'start'],
  ['SIGSTOP', 'SIGCONT'],
] as const) {
  test(`with all homes of a key gone (${signal}) puts and gets go on, and homes that are back get what they missed`, {
    timeout: hangMs,
  }, async ({ signal: over }) => {
    const until = <T>(attempt: () => Promise<T>) => retried(attempt, over);
    const key = `cart, ${signal}`;
    const { ids, homes } = await homesOf(key);
    // On all three: what a home misses of a coordinator that dies at once, only an exchange could bring it.
    await until(() => client.put(key, 'before', { w: 3 }));
    await Promise.all(homes.map((home) => home.kill(signal)));
    try {
      // With a new request id each time: a client that has given one up does not know what became of it.
      const { receipt, siblings } = await until(() => client.put(key, 'meanwhile', { timeoutMs: 9_000 }));
      assert.ok(siblings >= 1);
      assert.ok(receipt.acks.length >= 2);
      for (const { nodeId, hintedFor } of receipt.acks) {
        assert.ok(!ids.includes(nodeId) && ids.includes(hintedFor), `${nodeId} for ${hintedFor || 'itself'}`);
      }
      const { siblings: read, certificate } = await client.get(key);
      assert.ok(read.some(({ value }) => value.toString() === 'meanwhile'));
      assert.equal(certificate.homesAnswered, 0);
    } finally {
      await Promise.all(homes.map((home) => (back === 'start' ? home.start() : home.kill(back))));
    }
    const explained = await until(async () => {
      const now = await client.explain(key);
      const [first, ...others] = held(now);
      assert.equal(now.replicas.length, 3, 'no fallback keeps anything');
      assert.ok(first !== '' && others.every((dots) => dots === first), held(now).join(' | '));
      return now;
    });
    assert.ok(explained.replicas.every(({ hintedFor }) => hintedFor.length === 0));
    const values = (await client.get(key)).siblings.map(({ value }) => value.toString());
    assert.ok(values.includes('before') && values.includes('meanwhile'), values.join());
  });
}
