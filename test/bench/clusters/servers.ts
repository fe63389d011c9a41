/**
 * Server processes: started with their output in a file, watched until they are ready, ended by their ids.
 *
 * I1 Only processes that were started here are ended.
 * I2 What was started is stopped also when the start failed halfway (`whole`).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, Problem } from '../../../cli/problem.ts';
import type { Cluster } from './cluster.ts';

export interface Server {
  readonly child: ChildProcess;
  log(): string;
  /** Why it has ended, or could not be started; undefined while it runs. */
  ended(): string | undefined;
}

/** Only stops a hang; three processes need a few seconds on a small machine, three JVMs a minute. */
export const startMs = 120_000;
/** Longer than `cartwheel dev` gives its own children. */
const stopMs = 20_000;
const pollMs = 100;

export function startServer(command: string, flags: readonly string[], logFile: string): Server {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'w');
  // With the channel `cartwheel dev` ends when this process is gone, however it went; the others do not look at it.
  const child = spawn(command, flags, { stdio: ['ignore', log, log, 'ipc'] });
  closeSync(log);
  child.channel?.unref();
  let failure: string | undefined;
  child.on('error', (error) => {
    failure = messageOf(error);
  });
  return {
    child,
    log: () => readFileSync(logFile, 'utf8'),
    ended: () => failure ?? child.signalCode ?? (child.exitCode === null ? undefined : `exit code ${child.exitCode}`),
  };
}

/** I2. `begin` may add to `servers` as it goes. */
export async function whole<T extends object>(
  servers: readonly Server[],
  begin: () => Promise<T>,
): Promise<T & Pick<Cluster, 'stop'>> {
  const stop = async () => {
    await Promise.all(servers.map(stopServer));
  };
  try {
    return { ...(await begin()), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function stopServer({ child, ended }: Server): Promise<void> {
  if (ended() !== undefined) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await gone;
  clearTimeout(killer);
}

/** Waits until it holds. A Problem with the last words of a server that ends meanwhile, or when it takes too long. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  servers: readonly Server[],
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + startMs;
  while (!(await holds())) {
    const ended = servers.find((server) => server.ended() !== undefined);
    if (ended !== undefined || Date.now() > deadline) {
      const server = ended ?? servers[0];
      const what = `${server?.child.spawnargs.slice(0, 3).join(' ')} … `;
      const why = ended === undefined ? `was not ready after ${startMs / 1000} s` : `ended: ${ended.ended()}`;
      throw new Problem(`${what}${why}`, `its last words: ${server?.log().trim().split('\n').slice(-3).join(' | ')}`);
    }
    await sleep(pollMs, undefined, { signal });
  }
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export async function requireFree(addresses: readonly Address[]): Promise<void> {
  const free = await Promise.all(addresses.map(isFree));
  const taken = addresses.filter((_, i) => !free[i]).map(({ host, port }) => `${host}:${port}`);
  if (taken.length > 0) throw new Problem(`in use: ${taken.join(', ')}`, 'end what listens there');
}

function isFree(address: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ ...address, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
