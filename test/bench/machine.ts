/** On what a benchmark is run: the machine, the programs that it needs. */
import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { messageOf, Problem } from '../../cli/problem.ts';
import { cassandraVersion } from './clusters/cassandra.ts';
import type { StoreName } from './clusters/cluster.ts';

export function machineText(): string {
  const processors = `${availableParallelism()} × ${cpus()[0]?.model.trim()}`;
  return `${processors}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}`;
}

interface Program {
  readonly name: string;
  readonly command: string;
  readonly flags: readonly string[];
  readonly version: RegExp;
  readonly hint: string;
  readonly isNeeded: (stores: readonly StoreName[]) => boolean;
}

const withCassandra = (stores: readonly StoreName[]) => stores.some((store) => store.startsWith('cassandra'));
const withoutCassandra = 'without it: npm run bench:peers -- --stores cartwheel,etcd';
const programs: readonly Program[] = [
  {
    name: 'Go',
    command: 'go',
    flags: ['version'],
    version: /go(\d\S*)/,
    hint: 'the load generator is written in Go: see go.dev/dl',
    isNeeded: () => true,
  },
  {
    name: 'etcd',
    command: 'etcd',
    flags: ['--version'],
    version: /etcd Version: (\S+)/,
    hint: 'on Debian: apt-get install etcd-server; without it: npm run bench:peers -- --stores cartwheel,cassandra',
    isNeeded: (stores) => stores.includes('etcd'),
  },
  {
    name: 'Java',
    command: 'java',
    flags: ['--version'],
    version: /(\d+\.\S+)/,
    hint: `Cassandra needs Java 17; on Debian: apt-get install openjdk-17-jdk-headless; ${withoutCassandra}`,
    isNeeded: withCassandra,
  },
  {
    name: 'Maven',
    command: 'mvn',
    flags: ['--version'],
    version: /Apache Maven ([\d.]+)/,
    hint: `Cassandra's jars come by Maven; on Debian: apt-get install maven; ${withoutCassandra}`,
    isNeeded: withCassandra,
  },
];
/** Cassandra 5.0 runs on this one (or 11) alone. */
const javaMajor = '17';

export function requireLinux(): void {
  if (process.platform !== 'linux') {
    throw new Problem(`the benchmark reads what processes use from /proc: wanted linux, saw ${process.platform}`);
  }
}

/** The version of each program that is needed; a Problem that says how to get one that is missing. */
export function requirePrograms(stores: readonly StoreName[]): Record<string, string> {
  requireLinux();
  const versions: Record<string, string> = { Node: process.versions.node };
  for (const { name, command, flags, version, hint, isNeeded } of programs) {
    if (!isNeeded(stores)) continue;
    const { stdout, error } = spawnSync(command, flags, { encoding: 'utf8' });
    if (error !== undefined) throw new Problem(`${command} is not on the PATH (${messageOf(error)})`, hint);
    versions[name] = version.exec(stdout)?.[1] ?? 'of unknown version';
    if (name === 'Java' && versions[name].split('.')[0] !== javaMajor) {
      throw new Problem(`java on the PATH is ${versions[name]}, wanted ${javaMajor}`, hint);
    }
  }
  if (withCassandra(stores)) versions.Cassandra = cassandraVersion();
  return versions;
}
