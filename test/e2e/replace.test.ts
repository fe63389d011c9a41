/** A storage node whose disk is lost, or does not open, is built anew from the others, while clients write and read. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { type Load, startLoad } from './load.ts';
import { freeBasePort } from './ports.ts';
import {
  actorsOn,
  cartwheel,
  hangMs,
  interruptedCartwheel,
  removeDirectory,
  temporaryDirectory,
  until,
} from './support.ts';
import { type Dev, endDev, startDev } from './support-dev.ts';

const settledKeys = 500;

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

const devCommand = (...args: string[]) => cartwheel(['dev', ...args, '--data', directory]);
const status = () => cartwheel(['status', '--endpoint', addressOf(1)]);
const addressOf = (number: number) => `127.0.0.1:${dev.basePort + 10 + number}`;

async function onlyValueOf(key: string): Promise<string> {
  const { siblings } = await client.get(key, { r: 1 });
  assert.equal(siblings.length, 1, key);
  return Buffer.from(siblings[0]?.value ?? '').toString();
}

/** Every replica of every key has it: also without a read that would mend it. */
async function allIsEverywhere(): Promise<void> {
  const settled = Array.from({ length: settledKeys }, (_, i) => `settled-${i}`);
  for (const key of [...settled, ...load.written]) {
    const [first, ...others] = await actorsOn(client, key);
    assert.notDeepEqual(first, []);
    for (const other of others) assert.deepEqual(other, first, key);
  }
  for (const [i, key] of settled.entries()) assert.equal(await onlyValueOf(key), `value ${i}`);
  for (const key of load.written) assert.equal(await onlyValueOf(key), key);
}

test('a node whose disk was wiped under load is replaced, and nothing is lost', { timeout: 3 * hangMs }, async () => {
  const { id: before } = await client.status(addressOf(2));
  // Under the running process, whose files can be written still: it must not go on acknowledging.
  renameSync(join(directory, 'storage-2'), join(directory, 'storage-2.lost'));
  await until('it has ended by itself', () => /storage-2 DEAD \(exit code 74\)/.test(dev.output()));
  await devCommand('--restart');
  await until('it is back, as another node', async () => {
    const status = await client.status(addressOf(2)).catch(() => undefined);
    return status !== undefined && status.id !== before;
  });
  const { id: empty, storage } = await client.status(addressOf(2));
  assert.equal(storage?.partitions, 0, 'what it has lost it does not own');
  const ill = await status();
  assert.match(ill.stdout, new RegExp(`${addressOf(2)} +storage node +${before} .* GONE`));
  assert.deepEqual([ill.code, /cartwheel ring replace/.test(ill.stderr)], [1, true], ill.stderr);

  const { code, stdout, stderr } = await devCommand('replace', 'storage-2');
  assert.equal(code, 0, stderr);
  assert.equal(stdout, 'replaced storage-2\n');
  assert.match(stderr, /moving 64 replicas of 64 partitions/);
  const after = await client.status(addressOf(2));
  assert.equal(after.id, empty, 'it was empty already, and was not emptied again');
  assert.equal(after.storage?.partitions, 64);
  await until('everybody is up, and nobody knows the lost one any more', async () => {
    const { code, stdout: shown } = await status();
    return code === 0 && !shown.includes(before);
  });
  await load.stop();
  assert.ok(load.written.length > 0);
  await allIsEverywhere();
});

test('a database that does not open is reported as that, and the node is replaced', {
  timeout: 3 * hangMs,
}, async () => {
  load = startLoad(client, 'again');
  process.kill(dev.children()['storage-3'] as number, 'SIGKILL');
  await until('it is dead', () => /storage-3 DEAD/.test(dev.output()));
  const database = join(directory, 'storage-3', 'rocksdb');
  for (const name of readdirSync(database)) if (/^MANIFEST/.test(name)) writeFileSync(join(database, name), 'no more');
  await devCommand('--restart');
  const why =
    /data directory \S+storage-3 cannot be opened: Corruption: .*MANIFEST.*Its files are damaged.*`cartwheel dev replace NODE`/;
  await until('it says what is wrong', () => why.test(dev.output()));

  const { code, stdout, stderr } = await devCommand('replace', 'storage-3');
  assert.equal(code, 0, stderr);
  assert.equal(stdout, 'replaced storage-3\n');
  assert.equal(existsSync(join(directory, 'storage-3.replaced')), false);
  await load.stop();
  await allIsEverywhere();
});

test('a replacement that is interrupted goes on, and given again it is waited for, not begun anew', {
  timeout: 3 * hangMs,
}, async () => {
  const claimant = `127.0.0.1:${dev.basePort + 41}`;
  const ring = (what: string) => cartwheel(['ring', what, '--endpoint', claimant]);
  const replacing = ['dev', 'replace', 'storage-1', '--data', directory];
  const interrupted = await interruptedCartwheel(replacing, /partitions left/);
  assert.match(interrupted.stderr, /interrupted; the change goes on \(`cartwheel dev replace storage-1 .*given again/);
  assert.equal(interrupted.code, 130);
  await ring('pause'); // or it is over already
  const { id } = await client.status(addressOf(1));
  const again = cartwheel(replacing);
  await ring('resume');
  const { code, stdout, stderr } = await again;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, 'replaced storage-1\n');
  assert.equal((await client.status(addressOf(1))).id, id, 'it was not emptied again');
  assert.equal(existsSync(join(directory, 'storage-1.replaced')), false);
  await allIsEverywhere();
});
