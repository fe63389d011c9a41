/**
 * The control socket of a running `cartwheel dev`: a Unix socket in its data directory, one JSON object a
 * line in each direction. It is also the lock: who listens there has the directory, and of two that begin at once
 * only one can.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { messageOf, Problem } from '../problem.ts';

export type ControlRequest =
  | { readonly command: 'who' | 'restart' }
  /** Start as many storage nodes more. */
  | { readonly command: 'add'; readonly count: number }
  /** End a storage node, and remove its directory. */
  | { readonly command: 'remove'; readonly name: string }
  /** Start a storage node with an empty directory, its own put aside; and remove that. */
  | { readonly command: 'wipe' | 'tidy'; readonly name: string };

export interface ControlAnswer {
  readonly pid: number;
  /** Names of the children that `restart` or `add` started. */
  readonly started: readonly string[];
  /** Why it could not be done. */
  readonly problem?: string;
}

/** sun_path holds 108 bytes on Linux and 104 on macOS, a zero at the end included. */
const socketPathBytesMax = 100;
/** A child that is removed has 10 s to end. */
const answerTimeoutMs = 15_000;
const requestBytesMax = 1024;

export function controlPath(dataDirectory: string): string {
  const path = join(dataDirectory, 'dev.sock');
  if (Buffer.byteLength(path) <= socketPathBytesMax) return path;
  const name = createHash('sha256').update(dataDirectory).digest('hex').slice(0, 16);
  return join(tmpdir(), `cartwheel-${name}.sock`);
}

/** Asks the dev that runs on this directory; undefined when none does. Throws a Problem where one does not answer. */
export function askRunning(dataDirectory: string, request: ControlRequest): Promise<ControlAnswer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(controlPath(dataDirectory));
    socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error(`no answer in ${answerTimeoutMs / 1_000} s`)));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else {
        reject(
          new Problem(
            `the cartwheel dev that runs on ${dataDirectory} cannot be asked: ${messageOf(error)}`,
            'what it was asked for may still be done; ask again',
          ),
        );
      }
    });
    socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
    lines.on('error', () => {}); // the socket's own handler tells it
    lines.once('line', (line) => {
      socket.end();
      resolve(JSON.parse(line) as ControlAnswer);
    });
    socket.once('close', () => resolve(undefined));
  });
}

/** Listens; `answer` carries a request out. Undefined where somebody else does. A socket that is left of an earlier run is removed. */
export async function listenForControl(dataDirectory: string, answer: Answering): Promise<Server | undefined> {
  const path = controlPath(dataDirectory);
  const server = createServer((socket) => serve(socket, answer));
  if (await listening(server, path)) return server;
  if ((await askRunning(dataDirectory, { command: 'who' })) !== undefined) return undefined;
  rmSync(path, { force: true });
  return (await listening(server, path)) ? server : undefined;
}

type Answering = (request: ControlRequest) => Promise<ControlAnswer>;

/**
 * Lets what changes the layout be done one after the other, in the order in which it was asked for: two that begin from the same
 * layout would give a number twice, or take up again what was removed. `answer` never rejects.
 */
export function inTurn(answer: Answering): Answering {
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    if (request.command === 'who' || request.command === 'restart') return answer(request);
    const next = last.then(() => answer(request));
    last = next;
    return next;
  };
}

/** False where the path is taken. */
function listening(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error));
    server.once('error', onError);
    server.listen(path, () => {
      server.off('error', onError);
      resolve(true);
    });
  });
}

function serve(socket: Socket, answer: Answering): void {
  let seen = '';
  socket.setEncoding('utf8');
  socket.setTimeout(answerTimeoutMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (text: string) => {
    seen += text;
    const end = seen.indexOf('\n');
    if (end < 0 && seen.length <= requestBytesMax) return;
    const request = end < 0 ? undefined : parseRequest(seen.slice(0, end));
    socket.removeAllListeners('data');
    if (request === undefined) socket.end();
    else void answer(request).then((said) => socket.end(`${JSON.stringify(said)}\n`));
  });
}

function parseRequest(line: string): ControlRequest | undefined {
  try {
    const { command, count, name } = JSON.parse(line) as { command?: unknown; count?: unknown; name?: unknown };
    if (command === 'who' || command === 'restart') return { command };
    if (command === 'add' && Number.isSafeInteger(count)) return { command, count: count as number };
    const isNamed = command === 'remove' || command === 'wipe' || command === 'tidy';
    return isNamed && typeof name === 'string' ? { command, name } : undefined;
  } catch {
    return undefined;
  }
}
