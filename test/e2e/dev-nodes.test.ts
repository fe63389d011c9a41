/** Storage nodes come to a running `cartwheel dev` and go from it, while clients write and read. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { type Load, startLoad } from './load.ts';
import { freeBasePort } from './ports.ts';
import {
  cartwheel,
  cartwheelHeard,
  type Ended,
  hangMs,
  interruptedCartwheel,
  isAlive,
  removeDirectory,
  temporaryDirectory,
  until,
} from './support.ts';
import { type Dev, endDev, startDev } from './support-dev.ts';

const settledKeys = 300;

let directory = '';
let dev: Dev;
let client: CartwheelClient;
let load: Load;
before(async () => {
  directory = await temporaryDirectory();
  dev = await startDev(directory, await freeBasePort());
  client = connect({ endpoints: [`127.0.0.1:${dev.basePort}`] });
  for (let i = 0; i < settledKeys; i++) await client.put(`settled-${i}`, `value ${i}`);
  load = startLoad(client);
});
after(async () => {
  await load?.stop();
  await client?.close();
  if (dev !== undefined) await endDev(dev);
  await removeDirectory(directory);
});

async function allIsThere(): Promise<void> {
  for (let i = 0; i < settledKeys; i++) assert.equal(await only(`settled-${i}`), `value ${i}`);
  for (const key of [...load.written]) assert.equal(await only(key), key);
  assert.deepEqual(load.failures, []);
}

async function only(key: string): Promise<string> {
  const { siblings } = await client.get(key);
  assert.equal(siblings.length, 1, key);
  return Buffer.from(siblings[0]?.value ?? '').toString();
}

const endpoint = () => `127.0.0.1:${dev.basePort}`;
const devCommand = (...args: string[]) => cartwheel(['dev', ...args, '--data', directory]);

/** So many storage nodes, whichever test ran before: one that takes some away needs more than the three homes of a key. */
async function grownTo(nodes: number): Promise<void> {
  const running = Object.keys(dev.children()).filter((name) => name.startsWith('storage-')).length;
  if (running >= nodes) return;
  const { code, stderr } = await devCommand('add', String(nodes - running));
  assert.equal(code, 0, stderr);
}

test('two nodes are added while a client writes, and take over their share', { timeout: 2 * hangMs }, async () => {
  const { code, stdout, stderr } = await devCommand('add', '2');
  assert.equal(code, 0, stderr);
  assert.equal(stdout, 'added storage-4, storage-5\n');
  assert.match(stderr, /moving \d+ replicas of \d+ partitions/);
  await allIsThere();
  const loads = await Promise.all(
    [1, 2, 3, 4, 5].map(
      async (n) => (await client.status(`127.0.0.1:${dev.basePort + 10 + n}`)).storage?.partitions ?? 0,
    ),
  );
  assert.equal(
    loads.reduce((sum, load) => sum + load),
    3 * 64,
  );
  assert.ok(Math.min(...loads) > 0, `${loads}`);
});

test('a node is removed although the claimant is killed meanwhile', { timeout: 3 * hangMs }, async () => {
  await grownTo(5);
  const removed = dev.children()['storage-2'] as number;
  const removing = devCommand('remove', 'storage-2');
  const claimant = `127.0.0.1:${dev.basePort + 41}`;
  await until('the change is under way', async () => (await client.status(claimant)).claimant?.change !== undefined);
  process.kill(dev.children()['membership-1'] as number, 'SIGKILL');
  await until('it is dead', () => /membership-1 DEAD/.test(dev.output()));
  const refused = await devCommand('add', '1');
  assert.match(refused.stderr, /^cartwheel: membership-1, which changes the ring, does not answer: .*dev --restart/);
  assert.equal(refused.code, 1);
  const unknown = await cartwheel(['ring', 'status', '--endpoint', endpoint()]);
  assert.match(
    unknown.stderr,
    new RegExp(`no answer from ${claimant}; ${endpoint()} is not the claimant.*dev --restart`),
  );
  assert.equal(dev.children()['storage-6'], undefined, 'nothing was started that would wait for it');
  await devCommand('--restart');
  const { code, stdout, stderr } = await removing;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, 'removed storage-2\n');
  assert.equal(isAlive(removed), false);
  assert.equal(existsSync(join(directory, 'storage-2')), false);
  await allIsThere();
});

test('a node whose process was killed is removed as lost, and its number is taken again', {
  timeout: 3 * hangMs,
}, async () => {
  await grownTo(5);
  process.kill(dev.children()['storage-5'] as number, 'SIGKILL');
  await until('it is dead', () => /storage-5 DEAD/.test(dev.output()));
  const { code, stderr } = await devCommand('remove', 'storage-5', '--lost');
  assert.equal(code, 0, stderr);
  const added = await devCommand('add', '1');
  assert.equal(added.stdout, 'added storage-5\n', added.stderr);
  await load.stop();
  // While the dead node was still asked, writes and reads may have taken longer; none may be lost.
  for (const key of load.written) assert.equal(await only(key), key);
  for (let i = 0; i < settledKeys; i++) assert.equal(await only(`settled-${i}`), `value ${i}`);
  const refused = await devCommand('remove', 'storage-9');
  assert.match(
    refused.stderr,
    /there is no storage-9 \(there are storage-1, storage-2, storage-3, storage-4, storage-5\)/,
  );
});

test('an add that is interrupted before anything moves says which node waits, and it can be removed, dead or alive', {
  timeout: 3 * hangMs,
}, async () => {
  await grownTo(5);
  for (const lost of [[], ['--lost']]) {
    const { code, stdout, stderr } = await interruptedCartwheel(['dev', 'add', '1', '--data', directory], /^started /);
    assert.match(stderr, /interrupted before anything moved \(waiting outside the ring: storage-6;/);
    assert.deepEqual([code, stdout], [130, '']);
    const [offered = ''] = /(?<=`cartwheel )dev remove storage-6 --data [^`]+/.exec(stderr) ?? [];
    const waiting = dev.children()['storage-6'] as number;
    const address = `127.0.0.1:${dev.basePort + 16}`;
    const statuses = async () => (await client.status()).members.filter((member) => member.address === address);
    await until('it is known', async () => (await statuses()).some(({ status }) => status === 1));
    if (lost.length > 0) {
      process.kill(waiting, 'SIGKILL');
      await until('it is dead', () => /storage-6 DEAD/.test(dev.output()));
    }
    const removed = await cartwheel([...offered.split(' '), ...lost]);
    assert.equal(removed.stdout, 'removed storage-6\n', removed.stderr);
    assert.equal(isAlive(waiting), false);
    await until(
      'nobody expects it any more',
      async () => (await cartwheel(['status', '--endpoint', endpoint()])).code === 0,
    );
  }
});

test('a node whose removal is rolled back stays, with its data', { timeout: 3 * hangMs }, async () => {
  await grownTo(5);
  const address = `127.0.0.1:${dev.basePort + 13}`;
  let rollBack: Promise<Ended> | undefined;
  const { code, stdout, stderr } = await cartwheelHeard(['dev', 'remove', 'storage-3', '--data', directory], (said) => {
    if (/partitions left/.test(said))
      rollBack ??= cartwheel(['ring', 'rollback', '--endpoint', `127.0.0.1:${dev.basePort + 41}`]);
  });
  const rolledBack = await rollBack;
  assert.equal(rolledBack?.code, 0, rolledBack?.stderr);
  assert.match(stderr, /rolled back|given up/);
  assert.deepEqual([code, stdout], [1, '']);
  assert.ok(existsSync(join(directory, 'storage-3')));
  assert.equal((await client.status(address)).address, address);
});
