/** `cartwheel dev` without a terminal: how it begins, what it survives, and that it leaves nothing behind. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '../../client/index.ts';
import { freeBasePort } from './ports.ts';
import {
  cartwheel,
  cleanEnvironment,
  commandLine,
  hangMs,
  isAlive,
  removeDirectory,
  runToEnd,
  temporaryDirectory,
  until,
} from './support.ts';
import { asNpmStart, type Dev, endDev, repository, startDev, straight } from './support-dev.ts';

const names = ['membership-1', 'router', 'storage-1', 'storage-2', 'storage-3'];

let directory = '';
let basePort = 0;
const started: Dev[] = [];
before(async () => {
  directory = await temporaryDirectory();
  basePort = await freeBasePort();
});
after(async () => {
  for (const dev of started) await endDev(dev);
  await removeDirectory(directory);
});

async function start(flags: readonly string[] = [], command = straight): Promise<Dev> {
  const dev = await startDev(directory, basePort, flags, command);
  started.push(dev);
  return dev;
}

function isRunning(dev: Dev, name: string, except?: number): boolean {
  const pid = dev.children()[name];
  return pid !== undefined && pid !== except && isAlive(pid);
}

async function nothingIsLeft(pids: readonly number[]): Promise<void> {
  await until('all children have ended', () => pids.every((pid) => !isAlive(pid)));
}

for (const [name, command] of [['cartwheel dev', straight] as const, ['npm start', asNpmStart] as const]) {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${name} says when it is ready, and ends on ${signal} with all its children`, {
      timeout: 2 * hangMs,
    }, async (t) => {
      const dev = await start([], command);
      t.diagnostic(/^ready: .*$/m.exec(dev.output())?.[0] ?? '');
      const children = dev.children();
      assert.deepEqual(Object.keys(children).sort(), names);
      assert.ok(Object.values(children).every(isAlive));
      dev.signal(signal);
      assert.equal(await dev.ended, 0);
      assert.match(dev.output(), /^stopped$/m);
      assert.deepEqual(Object.values(children).filter(isAlive), []);
    });
  }
}

test('what it prints to type next works when pasted', { timeout: 3 * hangMs }, async (t) => {
  const dev = await start();
  const lines = dev.output().split('\n');
  const commands = lines.filter((line) => /^ {2}npx cartwheel /.test(line)).map((line) => line.trim());
  const wanted = [/ put cart-1 /, / get cart-1 /, / load /, / keys --count /, / status /];
  assert.equal(commands.length, wanted.length);
  const isShort = process.env.CARTWHEEL_FULL !== '1';
  for (const [i, command] of commands.entries()) {
    assert.match(command, wanted[i] as RegExp);
    // The load of the whole data set is for dataset.test.ts.
    if (isShort && / load /.test(command)) continue;
    const began = performance.now();
    const { code, stdout, stderr } = await runToEnd(command, [], {
      shell: true,
      cwd: repository,
      env: cleanEnvironment(),
    });
    assert.equal(code, 0, `${command}\n${stderr}`);
    t.diagnostic(`${command}: ${stdout.split('\n')[0]} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    if (/ get /.test(command)) assert.match(stdout, /apple/);
    if (/ keys /.test(command)) assert.equal(stdout, isShort ? '1\n' : '171076\n');
    if (/ status /.test(command)) assert.match(stdout, /members {2}3/);
  }
});

test('only the command line of a storage node contains services/storage-node', { timeout: hangMs }, async () => {
  const dev = started.at(-1) as Dev;
  for (const [name, pid] of [...Object.entries(dev.children()), ['dev', dev.pid] as const]) {
    const line = await commandLine(pid);
    assert.equal(line.includes('services/storage-node'), name.startsWith('storage-'), `${name}: ${line}`);
  }
});

test('a second dev on the same data is refused, and so is one on the same ports', { timeout: hangMs }, async () => {
  const again = await cartwheel(['dev', '--data', directory]);
  assert.deepEqual([again.code, again.stdout], [1, '']);
  assert.match(again.stderr, new RegExp(`a cluster already runs on ${directory} \\(pid ${started.at(-1)?.pid}\\)`));
  const elsewhere = await temporaryDirectory();
  const samePorts = await cartwheel(['dev', '--data', elsewhere, '--base-port', String(basePort)]);
  assert.deepEqual([samePorts.code, samePorts.stdout], [1, '']);
  assert.match(samePorts.stderr, new RegExp(`ports are in use: ${basePort} \\(router\\)`));
  await removeDirectory(elsewhere);
});

test('it survives a kill -9 of any child, shows it, and dev --restart elsewhere brings it back', {
  timeout: 2 * hangMs,
}, async () => {
  const dev = started.at(-1) as Dev;
  for (const name of names) {
    const pid = dev.children()[name] as number;
    const shownBefore = dev.output().length;
    process.kill(pid, 'SIGKILL');
    const shown = () => dev.output().slice(shownBefore);
    await until(`${name} is shown as dead`, () => shown().includes(`${name} DEAD (killed by SIGKILL)`));
    const hint = /this starts it again: (.*)$/m.exec(shown())?.[1] ?? '';
    assert.equal(hint, `npx cartwheel dev --restart --data ${directory}`);
    const { code, stdout } = await runToEnd(hint, [], { shell: true, cwd: repository, env: cleanEnvironment() });
    assert.deepEqual([code, stdout], [0, `started ${name}\n`]);
    await until(`${name} is up`, () => shown().includes(`${name} up\n`) && isRunning(dev, name, pid));
  }
  const { stdout } = await cartwheel(['dev', '--restart', '--data', directory]);
  assert.equal(stdout, `nothing to start: every process of the cluster on ${directory} runs\n`);
  const get = await cartwheel(['get', 'cart-1', '--endpoint', `127.0.0.1:${basePort}`]);
  assert.match(get.stdout, /apple/);
});

test('after a kill -9 of dev itself its children end by themselves, and the next dev goes on', {
  timeout: 2 * hangMs,
}, async () => {
  const killed = started.at(-1) as Dev;
  const children = Object.values(killed.children());
  killed.signal('SIGKILL');
  assert.equal(await killed.ended, 'SIGKILL');
  await nothingIsLeft(children);

  const dev = await start(['--restart']);
  const get = await cartwheel(['get', 'cart-1', '--endpoint', `127.0.0.1:${basePort}`]);
  assert.match(get.stdout, /apple/);
  const pid = dev.children()['storage-2'] as number;
  process.kill(pid, 'SIGKILL');
  await until('dev --restart starts it again by itself', () => isRunning(dev, 'storage-2', pid));
  dev.signal('SIGTERM');
  assert.equal(await dev.ended, 0);
  await nothingIsLeft(Object.values(dev.children()));
});

test('after a kill -9 of the entry script of npm start everything ends', { timeout: 2 * hangMs }, async () => {
  const script = await start([], asNpmStart);
  const children = Object.values(script.children());
  script.signal('SIGKILL');
  assert.equal(await script.ended, 'SIGKILL');
  await nothingIsLeft(children);
});

test('routers end first: what they have under way needs the others', { timeout: 2 * hangMs }, async () => {
  const dev = await start();
  const { router, ...others } = dev.children();
  const client = connect({ endpoints: [`127.0.0.1:${basePort}`] });
  let written = 0;
  let over = false;
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    while (!over) {
      const isWritten = await client.put(`key-${writer}`, 'value').then(
        () => true,
        () => false,
      ); // the router may be gone
      if (isWritten) written++;
      else await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
  try {
    await until('writers write', () => written >= 100);
    dev.signal('SIGTERM');
    await until('the router has ended', () => {
      const goneBefore = Object.entries(others).flatMap(([name, pid]) => (isAlive(pid) ? [] : [name]));
      if (!isAlive(router as number)) return true;
      assert.deepEqual(goneBefore, []);
      return false;
    });
    assert.equal(await dev.ended, 0);
  } finally {
    over = true;
    await Promise.all(writers);
    await client.close();
  }
});
