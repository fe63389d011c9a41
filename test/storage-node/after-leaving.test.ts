import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type NodeStatusName } from '../../services/core/ring/ring.ts';
import { renewDirectory, watchLeaving } from '../../services/storage-node/after-leaving.ts';
import { until } from '../e2e/support.ts';
import { silentLog } from '../platform/recording-log.ts';

const scratch = await mkdtemp(join(tmpdir(), 'cartwheel-leaving-'));
after(() => rm(scratch, { recursive: true }));

async function directoryWithData(name: string): Promise<string> {
  const directory = join(scratch, name);
  await mkdir(join(directory, 'rocksdb'), { recursive: true });
  await writeFile(join(directory, 'rocksdb', '000001.log'), 'data');
  await writeFile(join(directory, 'FORMAT'), '1\n');
  return directory;
}

function ringWith(status: NodeStatusName) {
  const nodes = ['b', 'a'].map((id, index) => ({
    ...{ id, index, address: `${id}:1`, host: id, zone: id, status: id === 'a' ? status : ('UP' as const) },
  }));
  const owners = firstClaim({ nodes: nodes.slice(0, 1), partitions: 1, replicas: 1 });
  return createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 1, replicas: 1, nodes, owners, pending: new Map() },
  });
}

test('the directory of a node that has left is emptied at the next start, and no other', async () => {
  const directory = await directoryWithData('left');
  let owed = 1;
  const waits: (() => void)[] = [];
  let stillHere = 0;
  const clock = {
    now: () => 0,
    after(_: number, run: () => void) {
      waits.push(run);
      return () => {};
    },
  };
  const leaving = watchLeaving({
    ...{ id: 'a', directory, log: silentLog, owes: async () => owed, onStillHere: () => stillHere++ },
    clock: clock as never,
  });
  for (const status of ['JOINING', 'UP', 'LEAVING', 'DOWN'] as const) leaving.follow(ringWith(status));
  assert.equal(waits.length, 0);
  leaving.follow(ringWith('LEFT'));
  waits.shift()?.();
  // It still has records that others lack: it looks again.
  await until('it has looked', () => waits.length === 1);
  await renewDirectory(directory, silentLog);
  assert.deepEqual((await readdir(directory)).sort(), ['FORMAT', 'rocksdb']);

  owed = 0;
  waits.shift()?.();
  await until('it is marked', () => waits.length === 1);
  assert.deepEqual((await readdir(directory)).sort(), ['FORMAT', 'LEFT', 'rocksdb']);
  assert.equal(stillHere, 0);
  waits.shift()?.();
  assert.equal(stillHere, 1);
  await renewDirectory(directory, silentLog);
  assert.deepEqual(await readdir(directory), []);
});

test('what a crash has left of emptying it is emptied at the next start', async () => {
  const directory = await directoryWithData('half');
  await rm(join(directory, 'FORMAT'));
  await writeFile(join(directory, 'LEFT'), 'a\n');
  await renewDirectory(directory, silentLog);
  assert.deepEqual(await readdir(directory), []);
  await renewDirectory(join(scratch, 'none'), silentLog);
});
