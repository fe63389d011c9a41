/**
 * Bits of a node's data files turn. RocksDB refuses the blocks they are in: nothing of them is served, nothing in them is
 * taken for absent, and in the end all replicas are equal again.
 */
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { seededRandom } from '../sim/random.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { figureOf } from './figures.ts';
import { actorsOn, hangMs, settled, until } from './support.ts';

const all = Array.from({ length: 3_000 }, (_, i) => `key-${i}`);
const bits = 50;
const contentOf = (key: string) => `${key} `.repeat(120);

/** The last one mends itself without being restarted. */
const flagsOf = (name: string) => ['--rebuild-every', name.endsWith('3') ? '2s' : '0s'];

let cluster: Cluster;
let client: CartwheelClient;
before(async () => {
  cluster = await startCluster({ partitions: 16, node: (name) => ({ flags: flagsOf(name) }) });
  client = connect({ endpoints: [cluster.router.address] });
  await putAll(all);
});
async function putAll(keys: readonly string[]): Promise<void> {
  for (let i = 0; i < keys.length; i += 100)
    await Promise.all(keys.slice(i, i + 100).map((key) => client.put(key, contentOf(key), { w: 3 })));
}

after(async () => {
  await client?.close();
  await cluster?.stop();
});

const second = () => cluster.nodes[1] as ClusterProcess;
const third = () => cluster.nodes[2] as ClusterProcess;

/** A node that was killed writes its log into data files when it starts, and has nothing in memory. */
async function restart(node: ClusterProcess): Promise<void> {
  await node.kill('SIGKILL');
  await node.start();
  await settled(cluster);
}

/**
 * In files of at least so many bytes, where the data blocks are: behind them come the index and the filter, without which
 * the database does not open.
 */
function flipBits(node: ClusterProcess, seed: number, bytesMin: number): void {
  const random = seededRandom(seed, 'bits');
  const directory = join(node.data, 'data', 'rocksdb');
  const large = readdirSync(directory).filter(
    (name) => name.endsWith('.sst') && statSync(join(directory, name)).size >= bytesMin,
  );
  assert.ok(large.length > 0, 'there are data files');
  for (let i = 0; i < bits; i++) {
    const path = join(directory, random.pick(large));
    flipBit(path, random.below(Math.floor(statSync(path).size * 0.9)), random.below(8));
  }
}

function flipBit(path: string, at: number, bit: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8() ^ (1 << bit));
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}

/** In the middle of what was written last. */
function flipBitOfLog(node: ClusterProcess): void {
  const directory = join(node.data, 'data', 'rocksdb');
  const logs = readdirSync(directory).filter((name) => name.endsWith('.log'));
  const path = join(directory, logs.sort().at(-1) as string);
  flipBit(path, Math.floor(statSync(path).size / 2), 3);
}

/** Each read rests on one replica, the node's own wherever that answers. */
async function allIsServedBy(node: ClusterProcess, keys = all): Promise<void> {
  const direct = connect({ endpoints: [node.address] });
  try {
    for (let i = 0; i < keys.length; i += 250) {
      await Promise.all(
        keys.slice(i, i + 250).map(async (key) => {
          const { siblings } = await direct.get(key, { r: 1 });
          assert.deepEqual(
            siblings.map(({ value }) => Buffer.from(value).toString()),
            [contentOf(key)],
          );
        }),
      );
    }
  } finally {
    await direct.close();
  }
}

test(`P12: of ${bits} bits that turn in the data files of a node none is served, and all is repaired`, {
  timeout: 3 * hangMs,
}, async (t) => {
  await restart(second());
  await restart(second());
  await second().kill('SIGKILL');
  // Those of records: what else there is the node reads when it starts.
  flipBits(second(), 1, 1024 * 1024);
  await second().start();
  await settled(cluster);
  await allIsServedBy(second());
  const refused = await figureOf(second().admin, 'cartwheel_engine_damaged_reads_total');
  const repaired = await figureOf(second().admin, 'cartwheel_corrupt_records_repaired_total');
  t.diagnostic(`${refused} reads were refused by RocksDB, ${repaired} records were written again`);
  assert.ok(refused > 0);

  await restart(second());
  assert.equal(
    second()
      .log()
      .match(/the database was rebuilt/g)?.length,
    1,
  );
  await allIsServedBy(second());
  await allIsRepaired(second(), t);
});

test('P12: where bits turn in what a node reads when it starts, it starts on what can be read, and is repaired', {
  timeout: 3 * hangMs,
}, async (t) => {
  await second().kill('SIGKILL');
  flipBits(second(), 2, 16 * 1024);
  await second().start();
  await settled(cluster);
  await allIsServedBy(second());
  await restart(second());
  await allIsServedBy(second());
  await allIsRepaired(second(), t);
});

test('P12: a node that meets damage rebuilds its database by itself, in its process', {
  timeout: 3 * hangMs,
}, async (t) => {
  await restart(third());
  await restart(third());
  await third().kill('SIGKILL');
  flipBits(third(), 3, 1024 * 1024);
  await third().start();
  const { pid } = third();
  await settled(cluster);
  const isRebuilt = () => third().log().includes('the database was rebuilt');
  await until('it is rebuilt', async () => {
    if (!isRebuilt()) await allIsServedBy(third()).catch(() => {}); // a read meets the damage, or the node as it stops
    return isRebuilt();
  });
  await settled(cluster);
  assert.deepEqual([third().running, third().pid], [true, pid]);
  await allIsServedBy(third());
  await allIsRepaired(third(), t);
});

test('P12: where a bit turns in the log of a node, nothing that was synced behind it is called absent', {
  timeout: 3 * hangMs,
}, async (t) => {
  const late = Array.from({ length: 500 }, (_, i) => `late-${i}`);
  await putAll(late);
  await second().kill('SIGKILL');
  flipBitOfLog(second());
  await second().start();
  assert.match(second().log(), /a write-ahead log is damaged/);
  await settled(cluster);
  await allIsServedBy(second(), late);
  await allIsRepaired(second(), t);
  await allIsServedBy(second(), late);
});

/** Once it has pulled again what it could not read every replica has all, and none of it is damaged. */
async function allIsRepaired(node: ClusterProcess, t: TestContext): Promise<void> {
  await until('all is pulled again', async () => {
    return (await figureOf(node.admin, 'cartwheel_refill_partitions_waiting')) === 0;
  });
  await until('that is on its disk', () => !existsSync(join(node.data, 'data', 'INCOMPLETE')));
  t.diagnostic(`${await figureOf(node.admin, 'cartwheel_refilled_records_total')} records were pulled again`);
  for (const key of all) {
    const [first, ...others] = await actorsOn(client, key);
    for (const other of others) assert.deepEqual(other, first, key);
    assert.equal(others.length, 2);
  }
  const before = await figureOf(node.admin, 'cartwheel_engine_damaged_reads_total');
  await allIsServedBy(node);
  assert.equal(await figureOf(node.admin, 'cartwheel_engine_damaged_reads_total'), before);
}
