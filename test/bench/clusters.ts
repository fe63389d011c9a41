/**
 * The clusters that are measured, on loopback: started on an empty directory, stopped again with
 * all their processes. Knows nothing of load.
 *
 * I1 Only processes that were started here are ended, by their ids.
 * I2 What was started is stopped also when the start failed halfway.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { storedPids } from '../../cli/dev/directory.ts';
import { messageOf, Problem } from '../../cli/problem.ts';

export type StoreName = 'cartwheel' | 'etcd';

export interface Cluster {
  /** host:port of the three nodes. */
  readonly endpoints: readonly string[];
  /** host:port; empty where there is no such thing. */
  readonly routers: readonly string[];
  /** Process ids of the servers by name: all that the store needs to run. */
  readonly pids: Readonly<Record<string, number>>;
  /** Starts what has died; Cartwheel only. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const loopback = '127.0.0.1';
const nodes = 3;
const cartwheelBasePort = 9900;
const etcdClientPort = 23_790;
const etcdPeerPort = 23_795;
/** Only stops a hang; three processes need a few seconds on a small machine. */
const startMs = 120_000;
/** Longer than `cartwheel dev` gives its own children. */
const stopMs = 20_000;
const pollMs = 100;
/** More than a run of an hour writes: what is kept of old revisions must not end it. */
const etcdQuotaBytes = 8 * 1024 ** 3;

export function startCluster(store: StoreName, directory: string, signal: AbortSignal): Promise<Cluster> {
  return store === 'etcd' ? startEtcd(directory, signal) : startCartwheel(directory, signal);
}

/** `cartwheel dev` as a user would run it: storage nodes, a router, a membership process. */
export async function startCartwheel(directory: string, signal: AbortSignal, storageNodes = nodes): Promise<Cluster> {
  const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
  const data = join(directory, 'cartwheel');
  const flags = [
    '--nodes',
    String(storageNodes),
    '--zones',
    String(storageNodes),
    '--base-port',
    String(cartwheelBasePort),
  ];
  const dev = startServer(process.execPath, [main, 'dev', ...flags, '--data', data], `${data}.log`);
  return whole([dev], async () => {
    await until(() => dev.log().includes('\nready:'), [dev], signal);
    return {
      endpoints: Array.from({ length: storageNodes }, (_, i) => `${loopback}:${cartwheelBasePort + 11 + i}`),
      routers: [`${loopback}:${cartwheelBasePort}`],
      pids: storedPids(data),
      async restart() {
        const restart = [main, 'dev', '--restart', '--data', data];
        const child = spawn(process.execPath, restart, { stdio: ['ignore', 'ignore', 'inherit'] });
        const code = await new Promise((resolve) => child.once('exit', resolve));
        if (code !== 0) throw new Problem(`cartwheel dev --restart ended with ${code}`, 'its last words are above');
      },
    };
  });
}

async function startEtcd(directory: string, signal: AbortSignal): Promise<Cluster> {
  const members = Array.from({ length: nodes }, (_, i) => ({
    name: `etcd-${i + 1}`,
    client: `http://${loopback}:${etcdClientPort + i}`,
    peer: `http://${loopback}:${etcdPeerPort + i}`,
  }));
  await requireFree(members.flatMap((_, i) => [etcdClientPort + i, etcdPeerPort + i]));
  const initialCluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const servers = members.map(({ name, client, peer }) => {
    const data = join(directory, name);
    const flags = [
      ...['--name', name, '--data-dir', data, '--quota-backend-bytes', String(etcdQuotaBytes)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', initialCluster, '--initial-cluster-state', 'new'],
    ];
    return startServer('etcd', flags, `${data}.log`);
  });
  return whole(servers, async () => {
    for (const { client } of members) await until(() => isHealthy(client), servers, signal);
    return {
      endpoints: members.map(({ client }) => client.slice('http://'.length)),
      routers: [],
      pids: Object.fromEntries(members.map(({ name }, i) => [name, servers[i]?.child.pid as number])),
      restart: () => Promise.reject(new Problem('etcd is not started again', 'only Cartwheel is')),
    };
  });
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1000) });
    return answer.ok && ((await answer.json()) as { health?: unknown }).health === 'true';
  } catch {
    return false; // not yet
  }
}

interface Server {
  readonly child: ChildProcess;
  log(): string;
  /** Why it has ended, or could not be started; undefined while it runs. */
  ended(): string | undefined;
}

function startServer(command: string, flags: readonly string[], logFile: string): Server {
  mkdirSync(join(logFile, '..'), { recursive: true });
  const log = openSync(logFile, 'w');
  // With the channel `cartwheel dev` ends when this process is gone, however it went; etcd does not look at it.
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

/** I2. */
async function whole(servers: readonly Server[], begin: () => Promise<Omit<Cluster, 'stop'>>): Promise<Cluster> {
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

async function until(
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

async function requireFree(ports: readonly number[]): Promise<void> {
  const free = await Promise.all(ports.map(isFree));
  const taken = ports.filter((_, i) => !free[i]);
  if (taken.length > 0) throw new Problem(`in use: ports ${taken.join(', ')}`, 'end what listens there');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: loopback, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
