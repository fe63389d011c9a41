import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { credentials } from '@grpc/grpc-js';
import { AdminServiceClient, type GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { ask } from '../../services/core/membership/exchange.ts';
import { createMembership } from '../../services/core/membership/membership.ts';
import { openDirectory } from '../../services/membership/directory.ts';
import type { Gossip } from '../../services/platform/gossip/gossip.ts';
import { createGrpcGossipTransport, membershipService } from '../../services/platform/gossip/transport-grpc.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { silentLog } from '../platform/recording-log.ts';
import { startFakeNode } from './fake-node.ts';
import { figureOf } from './figures.ts';
import { freePorts } from './ports.ts';
import { hangMs, removeDirectory, temporaryDirectory, until } from './support.ts';

const MAIN = fileURLToPath(new URL('../../services/membership/main.ts', import.meta.url));

const cleanUps: (() => unknown)[] = [];
after(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

async function ownDirectory(): Promise<string> {
  const path = await temporaryDirectory();
  cleanUps.push(() => removeDirectory(path));
  return path;
}

async function freeAddress(): Promise<string> {
  return `127.0.0.1:${(await freePorts(1))[0]}`;
}

interface Child {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly exited: Promise<number | null>;
}

function startMembership(flags: readonly string[]): Child {
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  cleanUps.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return { process: child, output: () => output, exited };
}

async function startNode(id: string, seed: string): Promise<Gossip> {
  const { gossip, stop } = await startFakeNode({ id, seed });
  cleanUps.push(stop);
  return gossip;
}

function statusOf(address: string): Promise<GetStatusResponse | undefined> {
  const client = new AdminServiceClient(address, credentials.createInsecure());
  return new Promise((resolve) => {
    client.getStatus({}, (error, status) => {
      client.close();
      resolve(error === null ? status : undefined);
    });
  });
}

function ringOf(gossip: Gossip): string {
  const { ring } = gossip.state();
  return ring === undefined ? 'none' : `${ring.version.term}.${ring.version.sequence}`;
}

test('a membership process forms the ring at the third node and keeps it over kill -9 and a lost disk', {
  timeout: 2 * hangMs,
}, async () => {
  const seed = await freeAddress();
  const admin = await freeAddress();
  const flags = (data: string) => ['--listen', seed, '--admin', admin, '--data', data, '--partitions', '16'];
  const data = await ownDirectory();
  const first = startMembership(flags(data));

  const nodes = [await startNode('a', seed), await startNode('b', seed)];
  await until('two nodes joined', async () => (await statusOf(seed))?.claimant?.joinedNodes === 2);
  assert.equal((await statusOf(seed))?.claimant?.waitingFor, '2 of 3 storage nodes have joined');
  assert.deepEqual(nodes.map(ringOf), ['none', 'none']);

  nodes.push(await startNode('c', seed));
  await until('all nodes know the ring', () => nodes.every((node) => ringOf(node) === '1.1'));
  const clusterId = nodes[0]?.state().clusterId ?? '';
  assert.match(clusterId, /^[0-9a-f]{32}$/);
  assert.equal(await figureOf(admin, 'cartwheel_ring_sequence'), 1);

  const late = await startNode('d', seed);
  await until('the late node knows the ring', () => ringOf(late) === '1.1');
  assert.equal(late.state().members.get('d')?.status, 'JOINING');
  assert.deepEqual(
    late.state().ring?.nodes.map(({ id }) => id),
    ['a', 'b', 'c'],
  );

  first.process.kill('SIGKILL');
  await first.exited;
  const second = startMembership(flags(data));
  await until('membership is back', async () => (await statusOf(seed))?.ring !== undefined);
  const back = await statusOf(seed);
  assert.deepEqual([back?.ring, back?.clusterId], [{ term: 1n, sequence: 1n }, clusterId]);
  assert.deepEqual([back?.partitions, back?.replicas], [16, 3]);

  second.process.kill('SIGKILL');
  await second.exited;
  startMembership(flags(await ownDirectory()));
  await until('membership learns the ring from the nodes', async () => (await statusOf(seed))?.ring !== undefined);
  const relearned = await statusOf(seed);
  assert.deepEqual([relearned?.ring, relearned?.clusterId], [{ term: 1n, sequence: 1n }, clusterId]);

  const where = ['--listen', await freeAddress(), '--admin', await freeAddress(), '--data', await ownDirectory()];
  const other = startMembership([...where, '--seeds', seed, '--claimant', 'false', '--partitions', '32']);
  await until('one with other settings says that they are not used', () =>
    other.output().includes('--partitions and --replicas are for the first ring'),
  );
});

test('a second process on one directory is refused, and one after a kill -9 is not', { timeout: hangMs }, async () => {
  const data = await ownDirectory();
  const flags = async () => [...['--listen', await freeAddress(), '--admin', await freeAddress()], ...['--data', data]];
  const first = startMembership(await flags());
  await until('the first one serves', () => first.output().includes('membership serves'));
  const second = startMembership(await flags());
  assert.notEqual(await second.exited, 0);
  assert.ok(second.output().includes(`another membership process uses the directory ${data}`));
  first.process.kill('SIGKILL');
  await first.exited;
  const third = startMembership(await flags());
  await until('the third one serves', () => third.output().includes('membership serves'));
  third.process.kill('SIGTERM');
  assert.equal(await third.exited, 0);
});

test('a configuration that cannot be is refused with every problem and exit code 2', { timeout: hangMs }, async () => {
  const child = startMembership(['--partitions', '12', '--replicas', '4', '--data', await ownDirectory()]);
  assert.equal(await child.exited, 2);
  assert.match(child.output(), /--partitions: wanted a power of two, saw 12/);
  assert.match(child.output(), /--replicas: 4 replicas need as many nodes, and --expected-nodes is 3/);
});

test('a process of another cluster is refused with both names over the wire', { timeout: hangMs }, async () => {
  const gossip = await startNode('x', '127.0.0.1:9');
  const address = [...gossip.state().members.values()][0]?.address ?? '';
  const transport = createGrpcGossipTransport();
  cleanUps.push(() => transport.close());
  const stranger = (clusterId: string) =>
    ask(createMembership({ clusterId, members: [], ring: undefined, namespaces: [] }, undefined));
  await transport.exchange(address, stranger('one'), hangMs);
  await assert.rejects(
    transport.exchange(address, stranger('other'), hangMs),
    /^GossipRefused: the other process is of cluster other, and this one of cluster one$/,
  );
});

test('nobody listening is an error within the time, and the next call finds who listens by then', {
  timeout: hangMs,
}, async () => {
  const address = await freeAddress();
  const transport = createGrpcGossipTransport();
  cleanUps.push(() => transport.close());
  const request = ask(createMembership({ clusterId: '', members: [], ring: undefined, namespaces: [] }, undefined));
  await assert.rejects(transport.exchange(address, request, hangMs), /UNAVAILABLE/);
  const server = await startGrpcServer({
    listen: address,
    services: [membershipService({ handle: () => answer }, silentLog)],
    log: silentLog,
    metrics: createMetrics({ service: 'test' }),
  });
  cleanUps.push(() => server.drain(0));
  const answer = {
    clusterId: 'c',
    responderId: 'r',
    members: [],
    wanted: [],
    ringVersion: undefined,
    ring: undefined,
    namespaces: [],
    wantedNamespaces: [],
    settings: [],
  };
  assert.equal((await transport.exchange(address, request, hangMs)).responderId, 'r');
});

for (const platform of ['linux', 'darwin'] as const) {
  test(`a directory keeps what it was given, whole, for one process at a time (${platform})`, async () => {
    const path = join(await ownDirectory(), 'deeper');
    const directory = await openDirectory(path, platform);
    assert.equal(directory.state.kept, undefined);
    await assert.rejects(openDirectory(path, platform), /another membership process uses the directory/);
    await directory.state.keep(Buffer.from('first'));
    await directory.state.keep(Buffer.from('second'));
    assert.deepEqual(await readdir(path), ['state']);
    await directory.close();
    await writeFile(join(path, 'state.new'), 'torn');
    const again = await openDirectory(path, platform);
    assert.equal(Buffer.from(again.state.kept ?? []).toString(), 'second');
    await again.state.keep(Buffer.from('third'));
    assert.equal(await readFile(join(path, 'state'), 'utf8'), 'third');
    await again.close();
  });
}

for (const platform of ['linux', 'darwin'] as const) {
  test(`the lock of a directory goes with a process that is killed (${platform})`, { timeout: hangMs }, async () => {
    const path = await temporaryDirectory();
    const module = new URL('../../services/membership/directory.ts', import.meta.url).href;
    const script = `const { openDirectory } = await import(${JSON.stringify(module)});
      await openDirectory(${JSON.stringify(path)}, ${JSON.stringify(platform)});
      setInterval(() => {}, 1_000);
      console.log('held');`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = new Promise((resolve) => holder.once('exit', resolve));
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    await assert.rejects(openDirectory(path, platform), /another membership process/);
    holder.kill('SIGKILL');
    await exited;
    await (await openDirectory(path, platform)).close();
  });
}

test('a directory that cannot be made is refused by name', async () => {
  const file = join(await ownDirectory(), 'file');
  await writeFile(file, '');
  await assert.rejects(
    openDirectory(join(file, 'below')),
    /--data: the directory .*below cannot be used: (EEXIST|ENOTDIR)/,
  );
});
