/** The network of the nemesis: what it holds comes late and in order, what it delays comes later, what it cuts is cut. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { freePorts } from '../e2e/ports.ts';
import { pause, removeDirectory, runToEnd, temporaryDirectory, until } from '../e2e/support.ts';
import { prepareDiallers } from './dialler.ts';
import { createNetwork } from './network.ts';

/** This process is both: it dials as `here`, and answers behind the proxy as `there`. */
async function setUp(t: TestContext) {
  const accepted: Socket[] = [];
  let arrived = '';
  const server: Server = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      arrived += chunk;
      socket.write(`<${chunk}>`);
    });
  });
  const [behind = 0, port = 0] = await freePorts(2);
  await new Promise<void>((resolve) => server.listen(behind, '127.0.0.1', resolve));
  const here = 'here';
  const network = createNetwork({ placeOf: () => here });
  await network.serve('there', port, `127.0.0.1:${behind}`);
  const dialled: Socket[] = [];
  t.after(async () => {
    for (const socket of [...dialled, ...accepted]) socket.destroy();
    await network.close();
    server.close();
  });

  async function open() {
    const socket = dial(port, '127.0.0.1');
    dialled.push(socket);
    let received = '';
    let state: 'open' | 'closed' = 'open';
    socket.on('data', (chunk) => {
      received += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      state = 'closed';
    });
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {}); // or refused at once
    return { socket, received: () => received, state: () => state };
  }

  return { network, here, open, accepted, arrived: () => arrived };
}

test('without conditions bytes go through both ways', async (t) => {
  const { open } = await setUp(t);
  const { socket, received } = await open();
  socket.write('a');
  await until('the answer', () => received() === '<a>');
});

test('bytes that are held come late, in order, and only that way is held', async (t) => {
  const { network, here, open, arrived } = await setUp(t);
  const { socket, received } = await open();
  socket.write('a');
  await until('the first answer', () => received() === '<a>');
  const release = network.hold('there', here);
  for (const letters of ['ab', 'abc', 'abcd']) {
    socket.write(letters.slice(-1));
    await until('it has arrived', () => arrived() === letters);
  }
  await pause(30);
  assert.equal(received(), '<a>');
  release();
  await until('all answers', () => received() === '<a><b><c><d>');
});

test('the end of a process is not seen through a cut', async (t) => {
  const { network, here, open, accepted } = await setUp(t);
  const { socket, received, state } = await open();
  socket.write('a');
  await until('the answer', () => received() === '<a>');
  const release = network.hold('there', here);
  accepted[0]?.resetAndDestroy();
  await pause(50);
  assert.equal(state(), 'open');
  release();
  await until('the connection is closed', () => state() === 'closed');
});

test('a delay is of its own direction, and keeps the order', async (t) => {
  const { network, here, open } = await setUp(t);
  const delayMs = 150;
  const { socket, received } = await open();
  const undo = network.delay(here, 'there', delayMs);
  const startedAt = performance.now();
  socket.write('a');
  await until('the answer', () => received() === '<a>', 2);
  assert.ok(performance.now() - startedAt >= delayMs - 5);
  undo();
});

test('a refused pair loses its connections and gets no new one', async (t) => {
  const { network, here, open } = await setUp(t);
  const before = await open();
  before.socket.write('a');
  await until('the answer', () => before.received() === '<a>');
  const allow = network.refuse(here, 'there');
  await until('the connection is closed', () => before.state() === 'closed');
  const during = await open();
  await until('the new one is closed too', () => during.state() === 'closed');
  allow();
  const after = await open();
  after.socket.write('b');
  await until('the answer', () => after.received() === '<b>');
});

test('a reset is for one pair only, and says how many connections it broke', async (t) => {
  const { network, here, open } = await setUp(t);
  const one = await open();
  const other = await open();
  for (const { socket } of [one, other]) socket.write('a');
  await until('both answers', () => one.received() === '<a>' && other.received() === '<a>');
  assert.equal(network.reset('nobody', 'there'), 0);
  assert.equal(network.reset(here, 'there'), 2);
  await until('both are closed', () => one.state() === 'closed' && other.state() === 'closed');
  await until('they are forgotten', () => network.connections === 0);
});

test('who dials is known by the address of its own that it dials from', async (t) => {
  const directory = await temporaryDirectory();
  t.after(() => removeDirectory(directory));
  const diallers = await prepareDiallers(directory);
  if (diallers.obstacle !== undefined) return t.skip(diallers.obstacle);
  const seen: (string | undefined)[] = [];
  const server = createServer((socket) => {
    seen.push(diallers.nameOf(socket.remoteAddress));
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const program = `require('node:net').connect(${port}, '127.0.0.1').resume()`;
  for (const environment of [diallers.environmentOf('a'), diallers.environmentOf('b'), {}]) {
    const env = { ...process.env, ...environment };
    const { code } = await runToEnd(process.execPath, ['--eval', program], { env });
    assert.equal(code, 0);
  }
  assert.deepEqual(seen, ['a', 'b', undefined]);
});
