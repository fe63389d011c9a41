/** What a restart keeps: births after a clean stop, and nothing but the data after a crash or in a copied directory. */
import assert from 'node:assert/strict';
import { cpSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { actorOf, actorsOn, hangMs, settled } from './support.ts';

const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);

let cluster: Cluster;
let client: CartwheelClient;
before(async () => {
  cluster = await startCluster();
});
beforeEach(async () => {
  await settled(cluster);
  client = connect({ endpoints: [coordinator()] });
});
afterEach(() => client.close());
after(() => cluster?.stop());

/** One node, a home of every key: a router would choose among them, and each has births of its own. */
function coordinator(): string {
  return (cluster.nodes[0] as Cluster['nodes'][number]).address;
}

async function stopAll(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  await client.close();
  await Promise.all(cluster.processes.map((each) => each.kill(signal)));
}

async function startAll(): Promise<void> {
  await Promise.all(cluster.processes.map((each) => each.start()));
  await settled(cluster);
  client = connect({ endpoints: [coordinator()] });
}

/** Replaces the value of each key; the actors of the new dots, by key. */
async function replaceAll(value: string): Promise<ReadonlyMap<string, string>> {
  const answers = keys.map(async (key) => {
    const { context } = await client.get(key);
    const { receipt } = await client.put(key, value, { context, w: 3 });
    return [key, actorOf(receipt.dot)] as const;
  });
  return new Map(await Promise.all(answers));
}

test('after SIGTERM to all processes a key written before and after has no new clock entry', {
  timeout: hangMs,
}, async (t) => {
  const before = await replaceAll('before the stop');
  const stopAt = performance.now();
  await stopAll('SIGTERM');
  const stoppedAt = performance.now();
  await startAll();
  t.diagnostic(
    `stopped in ${(stoppedAt - stopAt).toFixed(0)} ms, up in ${(performance.now() - stoppedAt).toFixed(0)} ms`,
  );

  for (const each of cluster.processes) assert.ok(!each.log().includes('"level":"error"'), each.log());
  assert.deepEqual(await replaceAll('after the start'), before);
  for (const key of keys) assert.deepEqual(await actorsOn(client, key), Array(3).fill([before.get(key)]), key);
});

test('after kill -9 of all processes the next put of every key mints under a new actor', {
  timeout: hangMs,
}, async () => {
  const before = await replaceAll('before the crash');
  await stopAll('SIGKILL');
  await startAll();
  const afterwards = await replaceAll('after the crash');
  for (const key of keys) {
    const [old, fresh] = [before.get(key) ?? '', afterwards.get(key) ?? ''];
    assert.notEqual(fresh, old, key);
    for (const actors of await actorsOn(client, key))
      assert.ok(
        [old, fresh].every((actor) => actors.includes(actor)),
        key,
      );
  }
});

test('a copy of the data directories, started in place of the originals, mints under new actors', {
  timeout: hangMs,
}, async () => {
  const before = await replaceAll('in the original');
  await stopAll('SIGTERM');
  for (const { data } of cluster.nodes) {
    renameSync(join(data, 'data'), join(data, 'original'));
    cpSync(join(data, 'original'), join(data, 'data'), { recursive: true, preserveTimestamps: true });
  }
  await startAll();
  const afterwards = await replaceAll('in the copy');
  for (const key of keys) assert.notEqual(afterwards.get(key), before.get(key), key);
  assert.deepEqual(
    (await Promise.all(keys.map((key) => client.get(key)))).map(({ siblings }) =>
      siblings.map(({ value }) => `${value}`),
    ),
    keys.map(() => ['in the copy']),
  );
});
