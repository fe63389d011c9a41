/**
 * The data directory of a membership process: files that are replaced whole, and a lock.
 *
 *     state         what gossip remembers (services/platform/gossip/remembered.ts)
 *     goal          what the claimant has the ring come to, and how changes before that ended (course-file.ts)
 *     NAME.new      the next one, while it is written
 *
 * I1 After a crash a file is the old one or the new one, whole and on disk.
 * I2 One process at a time; the lock goes with its process, however that ends.
 *
 * The lock is a listening local socket, named after the device and inode of the directory, since plain Node
 * has no flock. Linux has a name space for these outside the file system; elsewhere the socket is a file, and
 * what a killed process left of it is known by nobody answering. It does not reach across machines: of a
 * directory shared by two of them it knows nothing.
 */
import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from '../platform/make-directory.ts';

export interface Directory {
  readonly state: KeptFile;
  readonly goal: KeptFile;
  close(): Promise<void>;
}

export interface KeptFile {
  /** What was kept when the directory was opened; undefined: nothing yet. */
  readonly kept: Uint8Array | undefined;
  /** Resolves when the bytes are on disk in place of the ones before. One call at a time. */
  keep(bytes: Uint8Array): Promise<void>;
}

/** Rejects with an Error that names the directory when it cannot be used, or another process uses it. */
export async function openDirectory(path: string, platform: NodeJS.Platform = process.platform): Promise<Directory> {
  const lock = await prepare(path, platform);
  return {
    state: await openFile(path, 'state'),
    goal: await openFile(path, 'goal'),
    close: () => new Promise((resolve) => lock.close(() => resolve())),
  };
}

async function openFile(directory: string, name: string): Promise<KeptFile> {
  const file = join(directory, name);
  const next = `${file}.new`;
  return {
    kept: await readIfThere(file),
    async keep(bytes) {
      await writeSynced(next, bytes);
      await rename(next, file);
      await syncDirectory(directory);
    },
  };
}

async function prepare(path: string, platform: NodeJS.Platform): Promise<Server> {
  try {
    makeDirectory(path);
    const { dev, ino } = await stat(path);
    const name = `cartwheel-membership-${dev}-${ino}`;
    const lock =
      platform === 'linux' ? await listenOn(`\0${name}`) : await listenInPlaceOfTheDead(join(tmpdir(), `${name}.lock`));
    if (lock !== undefined) return lock;
  } catch (error) {
    throw new Error(`--data: the directory ${path} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  throw new Error(`--data: another membership process uses the directory ${path}`);
}

/** Undefined where somebody has the name. */
function listenOn(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    // The lock must not keep the process alive, nor end with a worker of a cluster.
    server.listen({ path: name, exclusive: true }, () => resolve(server.unref()));
  });
}

async function listenInPlaceOfTheDead(path: string): Promise<Server | undefined> {
  const lock = await listenOn(path);
  if (lock !== undefined || (await isAnswered(path))) return lock;
  await unlink(path);
  return listenOn(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeSynced(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
