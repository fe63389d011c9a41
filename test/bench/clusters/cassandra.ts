/**
 * Cassandra from its jars, without its distribution: what a node needs is a configuration, the flags that Java 17 wants
 * (cassandra/java.options) and a log (cassandra/logback.xml). The jars come from Maven once (cassandra/pom.xml).
 *
 * Nodes differ by address, not by port, because a driver knows one port for all: 127.0.0.1, 127.0.0.2, 127.0.0.3.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../program.ts';
import { type Cluster, nodes } from './cluster.ts';
import { requireFree, type Server, startServer, until, whole } from './servers.ts';

/** `periodic`: synced every `syncPeriodMs`, which is Cassandra's default; `batch`: before a write is acknowledged. */
export type CommitLog = 'periodic' | 'batch';

const syncPeriodMs = 10_000;
const clientPort = 19_042;
const peerPort = 17_000;
/** Of each of three nodes: a quarter of a small machine's memory and less, and more than this data needs. */
const heapMiB = 1500;
const sources = fileURLToPath(new URL('cassandra', import.meta.url));
const jars = join(sources, 'jars', cassandraVersion());

export async function startCassandra(directory: string, commitLog: CommitLog, signal: AbortSignal): Promise<Cluster> {
  const hosts = Array.from({ length: nodes }, (_, i) => `127.0.0.${i + 1}`);
  await requireFree(hosts.flatMap((host) => [clientPort, peerPort].map((port) => ({ host, port }))));
  await fetchJars(signal);
  const servers: Server[] = [];
  return whole(servers, async () => {
    // One by one: a node that joins learns of the others' tokens before it takes its own.
    for (const [i, host] of hosts.entries()) {
      const server = startNode(join(directory, `cassandra-${i + 1}`), host, commitLog);
      servers.push(server);
      await until(() => accepts(host, clientPort), [server], signal);
    }
    return {
      endpoints: hosts.map((host) => `${host}:${clientPort}`),
      routers: [],
      pids: Object.fromEntries(servers.map(({ child }, i) => [`cassandra-${i + 1}`, child.pid as number])),
    };
  });
}

/** The version that pom.xml names. */
export function cassandraVersion(): string {
  const pom = readFileSync(join(sources, 'pom.xml'), 'utf8');
  return /<artifactId>cassandra-all<\/artifactId>\s*<version>([^<]+)/.exec(pom)?.[1] ?? 'of unknown version';
}

/** Downloads Cassandra and what it needs, where that has not been done. */
async function fetchJars(signal: AbortSignal): Promise<void> {
  if (existsSync(jars)) return;
  // Moved only when whole: a download that was cut off leaves nothing that looks like one.
  const scratch = join(sources, `jars-${process.pid}`);
  const flags = ['-q', '-B', '-Dstyle.color=never', '-f', join(sources, 'pom.xml'), 'dependency:copy-dependencies'];
  try {
    await runProgram('mvn', [...flags, `-DoutputDirectory=${scratch}`], signal);
    mkdirSync(dirname(jars), { recursive: true });
    renameSync(scratch, jars);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function startNode(data: string, host: string, commitLog: CommitLog): Server {
  mkdirSync(data, { recursive: true });
  const configuration = join(data, 'cassandra.yaml');
  writeFileSync(configuration, configurationText(data, host, commitLog));
  const flags = [
    `@${join(sources, 'java.options')}`,
    ...[`-Xms${heapMiB}M`, `-Xmx${heapMiB}M`],
    ...[`-Dcassandra.config=file://${configuration}`, `-Dcassandra.storagedir=${data}`],
    `-Dlogback.configurationFile=${join(sources, 'logback.xml')}`,
    ...['-cp', join(jars, '*'), 'org.apache.cassandra.service.CassandraDaemon'],
  ];
  return startServer('java', flags, `${data}.log`);
}

/** JSON is YAML. What is not named has Cassandra's default. */
function configurationText(data: string, host: string, commitLog: CommitLog): string {
  const seeds = { class_name: 'org.apache.cassandra.locator.SimpleSeedProvider', parameters: [{ seeds: '127.0.0.1' }] };
  const configuration = {
    cluster_name: 'bench',
    partitioner: 'org.apache.cassandra.dht.Murmur3Partitioner',
    num_tokens: 16,
    allocate_tokens_for_local_replication_factor: nodes,
    seed_provider: [seeds],
    listen_address: host,
    rpc_address: host,
    storage_port: peerPort,
    native_transport_port: clientPort,
    endpoint_snitch: 'SimpleSnitch',
    commitlog_sync: commitLog,
    ...(commitLog === 'periodic' ? { commitlog_sync_period: `${syncPeriodMs}ms` } : {}),
    data_file_directories: [join(data, 'data')],
    commitlog_directory: join(data, 'commitlog'),
    saved_caches_directory: join(data, 'saved-caches'),
    hints_directory: join(data, 'hints'),
    cdc_raw_directory: join(data, 'cdc'),
  };
  return `${JSON.stringify(configuration, undefined, 2)}\n`;
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const say = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => say(true)).once('error', () => say(false));
  });
}
