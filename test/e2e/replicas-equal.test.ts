/** P6 with real processes: a node that was away while thousands of keys changed, and that nobody owes a hint. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { credentials, Metadata } from '@grpc/grpc-js';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { ReplicaServiceClient, type ScannedKey } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { figureOf } from './figures.ts';
import { hangMs, until } from './support.ts';

const count = 3_000;
const keyOf = (i: number) => `key ${i}`;
/** P6's bound, of a far larger change. */
const equalWithinMs = 60_000;
let cluster: Cluster;
let client: CartwheelClient;

before(async () => {
  // With three nodes all are homes of all keys. An hour between exchanges: only its return can begin them.
  cluster = await startCluster({ flags: { node: ['--hints-max', '0', '--exchange-every', '1h'] } });
  client = connect({ endpoints: [cluster.router.address] });
});

after(async () => {
  await client?.close();
  await cluster?.stop();
});

/** All that the node has, straight from its replica: no read, so nothing that a read would mend. */
async function recordsOf({ address }: ClusterProcess): Promise<Map<string, number>> {
  const channel = new ReplicaServiceClient(address, credentials.createInsecure());
  const records = new Map<string, number>();
  const none = Buffer.alloc(0);
  for (let start: Buffer = none; ; ) {
    const request = { start, end: none, namespace: 'default', prefix: none, limit: 512, hello: undefined };
    const { keys, next } = await new Promise<{ keys: ScannedKey[]; next: Buffer }>((resolve, reject) => {
      channel.scanKeys(request, new Metadata(), { deadline: Date.now() + 10_000 }, (error, page) => {
        if (error) reject(error);
        else resolve(page);
      });
    });
    for (const { key, checksum } of keys) records.set(key.toString('latin1'), checksum);
    if (next.length === 0) break;
    start = next;
  }
  channel.close();
  return records;
}

async function sumOf(nodes: readonly ClusterProcess[], name: string): Promise<number> {
  const values = await Promise.all(nodes.map(({ admin }) => figureOf(admin, name)));
  return values.reduce((sum, value) => sum + value, 0);
}

const sumOfAll = (name: string) => sumOf(cluster.nodes, name);

async function forAll(from: number, to: number, work: (key: string, i: number) => Promise<unknown>): Promise<void> {
  for (let i = from; i < to; i += 100) {
    await Promise.all(Array.from({ length: Math.min(100, to - i) }, (_, j) => work(keyOf(i + j), i + j)));
  }
}

async function untilEqual(): Promise<number> {
  const startedAt = performance.now();
  await until(
    'all replicas are equal, record by record',
    async () => {
      const [first, ...others] = await Promise.all(cluster.nodes.map(recordsOf));
      return others.every(
        (other) => other.size === first?.size && [...other].every(([key, checksum]) => first.get(key) === checksum),
      );
    },
    250,
  );
  return performance.now() - startedAt;
}

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`P6: without hints and without a read, a node ended by ${signal} gets what changed while it was away`, {
    timeout: hangMs,
  }, async (t) => {
    const [first, second, away] = cluster.nodes as [ClusterProcess, ClusterProcess, ClusterProcess];
    const contexts: Uint8Array[] = [];
    await forAll(0, count, async (key, i) => {
      contexts[i] = (await client.put(key, `before ${signal}`, { w: 3 })).context;
    });
    await until('all nodes have their digests', async () => (await sumOfAll('cartwheel_digests_built')) === 3);
    await away.kill(signal);
    // Of 3,000 keys: a third replaced, some deleted, some new.
    const changed = count / 3;
    await forAll(0, changed, (key, i) => {
      const context = contexts[i] as Uint8Array;
      return i % 10 === 0 ? client.delete(key, context) : client.put(key, 'meanwhile', { context });
    });
    await forAll(count, count + 50, (key) => client.put(`${key} ${signal}`, 'new'));
    // Those of the node that is away begin at 0 when it is back.
    const listed = await sumOf([first, second], 'cartwheel_exchange_keys_total');
    await away.start();
    const ms = await untilEqual();
    t.diagnostic(`${changed + 50} keys of ${count + 50}: equal ${Math.round(ms)} ms after the node was ready`);
    assert.ok(ms <= equalWithinMs, `${Math.round(ms)} ms`);
    assert.equal(await sumOfAll('cartwheel_hints_delivered_total'), 0, 'no hint brought anything');
    const read = (await sumOfAll('cartwheel_exchange_keys_total')) - listed;
    t.diagnostic(`${read} keys listed, on both sides of each exchange`);
    const records = await recordsOf(away);
    assert.ok(records.size >= count, `${records.size} records`);
    await until('no partition is marked any more', async () => (await sumOfAll('cartwheel_partitions_marked')) === 0);
  });
}
