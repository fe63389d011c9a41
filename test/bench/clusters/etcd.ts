import { join } from 'node:path';
import { type Cluster, loopback, nodes } from './cluster.ts';
import { requireFree, startServer, until, whole } from './servers.ts';

const clientPort = 23_790;
const peerPort = 23_795;
/** More than a run of an hour writes: what is kept of old revisions must not end it. */
const quotaBytes = 32 * 1024 ** 3;

/** Members with etcd's defaults. */
export async function startEtcd(directory: string, signal: AbortSignal): Promise<Cluster> {
  const members = Array.from({ length: nodes }, (_, i) => ({
    name: `etcd-${i + 1}`,
    client: `http://${loopback}:${clientPort + i}`,
    peer: `http://${loopback}:${peerPort + i}`,
  }));
  await requireFree(
    members.flatMap((_, i) => [clientPort + i, peerPort + i].map((port) => ({ host: loopback, port }))),
  );
  const initialCluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const servers = members.map(({ name, client, peer }) => {
    const data = join(directory, name);
    const flags = [
      ...['--name', name, '--data-dir', data, '--quota-backend-bytes', String(quotaBytes)],
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
