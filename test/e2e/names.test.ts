/**
 * A cluster whose processes know each other by names, on one port, each at an address of its own, as pods are: and the addresses
 * change, one after the other, with each other's, and all at once.
 */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, mock, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { startNameService } from '../platform/name-service.ts';
import { type Cluster, type ClusterProcess, startCluster } from './cluster.ts';
import { freePorts } from './ports.ts';
import { hangMs, removeDirectory, retried, temporaryDirectory } from './support.ts';

const addresses = new Map<string, string>();
let directory: string;
let cluster: Cluster;
let client: CartwheelClient;

/** From now on the processes have these addresses, by their names. */
function moveTo(moves: Readonly<Record<string, string>>): void {
  for (const [name, address] of Object.entries(moves)) addresses.set(`${name}.test`, address);
  const file = join(directory, 'names');
  writeFileSync(`${file}.new`, JSON.stringify(Object.fromEntries(addresses)));
  renameSync(`${file}.new`, file);
}

before(async () => {
  directory = await temporaryDirectory();
  startNameService({ mock }).follow((name) => addresses.get(name));
  const [port] = await freePorts(1);
  moveTo({ membership: '127.0.1.9', router: '127.0.1.8' });
  moveTo({ 'node-1': '127.0.1.1', 'node-2': '127.0.1.2', 'node-3': '127.0.1.3' });
  const environment = {
    NODE_OPTIONS: `--import ${new URL('./names-preload.ts', import.meta.url).href}`,
    NAMES_FILE: join(directory, 'names'),
  };
  cluster = await startCluster({
    address: (name) => `${name}.test:${port}`,
    environment: () => environment,
    node: () => ({ environment }),
  });
  client = connect({ endpoints: [cluster.router.address] });
});

after(async () => {
  await client?.close();
  await cluster?.stop();
  await removeDirectory(directory);
});

/** Stops them, moves them, and starts them again. */
async function move(processes: readonly ClusterProcess[], moves: Readonly<Record<string, string>>): Promise<void> {
  await Promise.all(processes.map((each) => each.kill('SIGKILL')));
  moveTo(moves);
  await Promise.all(processes.map((each) => each.start()));
}

/** Resolves once all three nodes take a write, and shows what was written before. */
async function assertWhole(written: string, next: string, signal: AbortSignal): Promise<void> {
  const { receipt } = await retried(() => client.put(next, next, { w: 3 }), signal);
  assert.equal(receipt.acks.length, 3);
  const { siblings } = await retried(() => client.get(written, { r: 3 }), signal);
  assert.deepEqual(
    siblings.map(({ value }) => value.toString()),
    [written],
  );
}

const [one, two] = [() => cluster.nodes[0] as ClusterProcess, () => cluster.nodes[1] as ClusterProcess];

test('a storage node that comes back at another address is found by its name', { timeout: hangMs }, async (t) => {
  await retried(() => client.put('first', 'first', { w: 3 }), t.signal);
  await move([one()], { 'node-1': '127.0.1.11' });
  await assertWhole('first', 'after one has moved', t.signal);
});

test('of two storage nodes each comes back at the address of the other, and they are told apart', {
  timeout: hangMs,
}, async (t) => {
  await move([one(), two()], { 'node-1': '127.0.1.2', 'node-2': '127.0.1.11' });
  await assertWhole('after one has moved', 'after two have changed places', t.signal);
});

test('all storage nodes and the seed come back at other addresses, and the router finds them', {
  timeout: hangMs,
}, async (t) => {
  const all = { 'node-1': '127.0.2.1', 'node-2': '127.0.2.2', 'node-3': '127.0.2.3' };
  await move([cluster.membership, ...cluster.nodes], { membership: '127.0.2.9', ...all });
  await assertWhole('after two have changed places', 'after all have moved', t.signal);
  const { members } = await client.status(cluster.membership.address);
  assert.deepEqual(members.map(({ address }) => address).sort(), cluster.nodes.map(({ address }) => address).sort());
});
