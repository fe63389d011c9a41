import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { storedPids } from '../../../cli/dev/directory.ts';
import { Problem } from '../../../cli/problem.ts';
import { freeBasePort } from '../../e2e/ports.ts';
import { type Cluster, loopback, nodes } from './cluster.ts';
import { startServer, until, whole } from './servers.ts';

export interface CartwheelCluster extends Cluster {
  /** Starts what has died. Resolves with the `pids` from then on. */
  restart(): Promise<Cluster['pids']>;
}

export interface CartwheelOptions {
  readonly storageNodes?: number;
  /** Of the clone whose Cartwheel is started; this one, if absent. */
  readonly root?: string;
  /** Of its own, if absent. */
  readonly basePort?: number;
}

/** `cartwheel dev` as a user would run it: storage nodes, a router, a membership process. */
export async function startCartwheel(
  directory: string,
  signal: AbortSignal,
  { storageNodes = nodes, root = thisClone, basePort: wanted }: CartwheelOptions = {},
): Promise<CartwheelCluster> {
  const basePort = wanted ?? (await freeBasePort());
  const main = join(root, 'cli', 'main.ts');
  const data = join(directory, 'cartwheel');
  const flags = [
    ...['--nodes', String(storageNodes), '--zones', String(storageNodes)],
    ...['--base-port', String(basePort), '--data', data],
  ];
  const dev = startServer(process.execPath, [main, 'dev', ...flags], `${data}.log`);
  return whole([dev], async () => {
    await until(() => dev.log().includes('\nready:'), [dev], signal);
    return {
      endpoints: Array.from({ length: storageNodes }, (_, i) => `${loopback}:${basePort + 11 + i}`),
      routers: [`${loopback}:${basePort}`],
      pids: storedPids(data),
      async restart() {
        const restart = [main, 'dev', '--restart', '--data', data];
        const child = spawn(process.execPath, restart, { stdio: ['ignore', 'ignore', 'inherit'] });
        const code = await new Promise((resolve) => child.once('exit', resolve));
        if (code !== 0) throw new Problem(`cartwheel dev --restart ended with ${code}`, 'its last words are above');
        return storedPids(data);
      },
    };
  });
}

const thisClone = fileURLToPath(new URL('../../..', import.meta.url));
