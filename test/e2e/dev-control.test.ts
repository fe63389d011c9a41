/** What a running `cartwheel dev` is asked at its control socket, by several at once; the nodes wait outside the ring. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askRunning } from '../../cli/dev/control.ts';
import { storedLayout } from '../../cli/dev/directory.ts';
import { freeBasePort } from './ports.ts';
import { hangMs, removeDirectory, temporaryDirectory, until } from './support.ts';
import { type Dev, endDev, startDev } from './support-dev.ts';

let directory = '';
let dev: Dev;
before(async () => {
  directory = await temporaryDirectory();
  dev = await startDev(directory, await freeBasePort());
});
after(async () => {
  if (dev !== undefined) await endDev(dev);
  await removeDirectory(directory);
});

const startedBy = async (count: number) => (await askRunning(directory, { command: 'add', count }))?.started;

test('two that add nodes at once get nodes of their own', { timeout: hangMs }, async () => {
  const started = await Promise.all([startedBy(1), startedBy(1)]);
  assert.deepEqual(started.flat().sort(), ['storage-4', 'storage-5']);
  assert.deepEqual(storedLayout(directory)?.storage, [1, 2, 3, 4, 5]);
  await until('both run', () => /storage-4 up/.test(dev.output()) && /storage-5 up/.test(dev.output()));
});

test('a node that is started again with an empty directory is not said to be dead', { timeout: hangMs }, async () => {
  const before = dev.children()['storage-5'];
  const answer = await askRunning(directory, { command: 'wipe', name: 'storage-5' });
  assert.equal(answer?.problem, undefined);
  await until(
    'it runs',
    () => dev.children()['storage-5'] !== before && dev.output().split('storage-5 up').length === 3,
  );
  assert.ok(existsSync(join(directory, 'storage-5.replaced')));
  assert.doesNotMatch(dev.output(), /DEAD/);
});
