/**
 * Ports of the loopback interface for processes that come and go. Each is given once: to no other of this process, and to no
 * test that runs beside it, also while nobody listens there.
 *
 * I1 A process takes ports from its own blocks only; a block is its own while it listens on the block's first port.
 */
import { createServer, type Server } from 'node:net';
import { devPorts } from '../../cli/dev/layout.ts';

const host = '127.0.0.1';
/** Linux gives outgoing connections ports from 32,768, macOS from 49,152. */
const firstPort = 16_000;
const lastPort = 32_000;
/** Room for all that one `cartwheel dev` takes, and the first. */
const blockPorts = 200;

/** What is left of this process's last block. */
let left: number[] = [];
/** One after the other: two that found the block empty would both take one, which is a waste. */
let turn: Promise<unknown> = Promise.resolve();

export function freePorts(count: number): Promise<number[]> {
  const ports = turn.then(() => take(count));
  turn = ports;
  return ports;
}

/** A base port for `cartwheel dev`: all that it may take from there on is free. */
export async function freeBasePort(): Promise<number> {
  for (;;) {
    const ports = (await ownBlock()).slice(0, devPorts);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return ports[0] as number;
  }
}

async function take(count: number): Promise<number[]> {
  const taken: number[] = [];
  while (taken.length < count) {
    const port = left.shift();
    if (port === undefined) left = await ownBlock();
    // A process that outlived its test may listen there.
    else if (await isFree(port)) taken.push(port);
  }
  return taken;
}

/** The ports of a block that is nobody else's, without the first. */
async function ownBlock(): Promise<number[]> {
  for (;;) {
    const block = Math.floor((Math.random() * (lastPort - firstPort)) / blockPorts);
    const first = firstPort + block * blockPorts;
    const server = await listening(first);
    if (server === undefined) continue;
    server.unref();
    return Array.from({ length: blockPorts - 1 }, (_, i) => first + 1 + i);
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = await listening(port);
  if (server === undefined) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** Undefined where somebody else does. */
function listening(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
  });
}
