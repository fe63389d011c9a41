/**
 * A real cluster for a test: membership, storage nodes and a router as child processes on free ports of the
 * loopback interface, each with a directory of its own.
 *
 *     const cluster = await startCluster();
 *     after(() => cluster.stop());
 *     await cluster.nodes[0].kill('SIGKILL');
 *     await cluster.nodes[0].start();
 *
 * I1 A process keeps its ports, its directory and its flags over kill() and start().
 * I2 No child outlives the test: it stops itself when this process is gone (the IPC channel of runProcess).
 * I3 The ports are outside the range that the system gives to outgoing connections, so that nobody takes one
 *    while its process is down.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneHelperThread } from '../../services/platform/garbage.ts';
import { figureOf } from './figures.ts';
import { freePorts } from './ports.ts';

export interface ClusterProcess {
  readonly name: string;
  /** HOST:PORT of gRPC. */
  readonly address: string;
  /** HOST:PORT of the admin HTTP. */
  readonly admin: string;
  /** The process's own directory: its `data` and its log. */
  readonly data: string;
  /** Of the last start. */
  readonly pid: number;
  readonly running: boolean;
  /** Of the last start; null while it runs, and when a signal ended it. */
  readonly exitCode: number | null;
  /** Called when a start ended, however it did. */
  onEnd: ((exitCode: number | null, signal: NodeJS.Signals | null) => void) | undefined;
  /** All that it has written to stdout and stderr, over all its starts. */
  log(): string;
  /** Sends the signal. Resolves when the process has ended, or at once for one that does not end it (SIGSTOP, SIGCONT). */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Resolves when /readyz is 200; rejects with the log when the process ends instead. */
  start(): Promise<void>;
}

export interface Cluster {
  readonly router: ClusterProcess;
  /** Those of the ring; another array after each `enter` and `exit`. */
  readonly nodes: readonly ClusterProcess[];
  /** Storage nodes that nobody has started. */
  readonly spares: readonly ClusterProcess[];
  readonly membership: ClusterProcess;
  /** All but the spares. */
  readonly processes: readonly ClusterProcess[];
  /** A spare has come into the ring. */
  enter(spare: ClusterProcess): void;
  /** A node has left it. */
  exit(node: ClusterProcess): void;
  /** It runs no more and its directory is empty: it can come in again, as another node. */
  giveBack(node: ClusterProcess): void;
  /** Ends all processes, and removes the directory unless it was given. */
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly nodes?: number;
  /** Storage nodes beside them, which can come later. */
  readonly spares?: number;
  readonly partitions?: number;
  /** Where the data goes; made, and kept at the end. Without it a temporary directory. */
  readonly data?: string;
  /** More flags for one kind of process. */
  readonly flags?: { readonly router?: readonly string[]; readonly node?: readonly string[] };
  /** HOST:PORT of the gRPC of a process, by its name, where it is another than a free port of 127.0.0.1. */
  readonly address?: (name: string) => string;
  /** Of the router and of membership, by those names. */
  readonly environment?: (name: string) => Readonly<Record<string, string>>;
  /** What is different about one storage node; `listen` is where it will listen. Called once, before any start. */
  readonly node?: (name: string, listen: string, data: string) => NodeSettings | Promise<NodeSettings>;
}

export interface NodeSettings {
  /** HOST:PORT by which all others reach it. */
  readonly advertise?: string;
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const READY_WITHIN_MS = 60_000;
const ENDED_WITHIN_MS = 30_000;
const host = '127.0.0.1';

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await planCluster(options);
  try {
    await Promise.all(cluster.processes.map((each) => each.start()));
    await Promise.all(cluster.nodes.map((node) => reachesOthers(node, cluster.nodes.length - 1)));
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

/** Ready nodes may still be finding each other; a test begins when all of them have, or after a while. */
async function reachesOthers({ admin }: ClusterProcess, others: number): Promise<void> {
  const giveUpAt = performance.now() + 15_000;
  while (performance.now() < giveUpAt) {
    if ((await figureOf(admin, 'cartwheel_peers_reachable')) >= others) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The same, with nothing started yet. */
export async function planCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { nodes: count = 3, spares: spareCount = 0, partitions = 16, flags = {} } = options;
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'cartwheel-cluster-'));
  const ports = await freePorts(2 * (count + spareCount + 2));
  const take = () => `${host}:${ports.pop()}`;
  const addressOf = (name: string) => options.address?.(name) ?? take();
  const seed = addressOf('membership');

  const membershipFlags = [
    ...['--data', join(data, 'membership', 'data'), '--expected-nodes', String(count)],
    ...['--partitions', String(partitions), '--replicas', String(Math.min(3, count))],
  ];
  const membership = clusterProcess(
    ...(['membership', 'membership', join(data, 'membership'), seed, take()] as const),
    membershipFlags,
    options.environment?.('membership'),
  );
  let nodes: readonly ClusterProcess[] = [];
  let spares: readonly ClusterProcess[] = [];
  const seeds = [seed];
  for (let i = 1; i <= count + spareCount; i++) {
    const name = `node-${i}`;
    const listen = addressOf(name);
    const own = join(data, name, 'data');
    const settings = (await options.node?.(name, listen, own)) ?? {};
    const { advertise = listen, environment } = settings;
    const nodeFlags = [
      ...['--data', own, '--seeds', seed, '--host', `host-${i}`, '--zone', `zone-${i}`],
      ...(advertise === listen ? [] : ['--advertise', advertise]),
      ...(flags.node ?? []),
      ...(settings.flags ?? []),
    ];
    const process = clusterProcess('storage-node', name, join(data, name), listen, take(), nodeFlags, environment);
    if (i <= count) {
      seeds.push(advertise);
      nodes = [...nodes, process];
    } else spares = [...spares, process];
  }
  const router = clusterProcess(
    ...(['router', 'router', join(data, 'router'), addressOf('router'), take()] as const),
    ['--seeds', seeds.join(','), ...(flags.router ?? [])],
    options.environment?.('router'),
  );

  const all = [membership, ...nodes, ...spares, router];
  const without = (list: readonly ClusterProcess[], one: ClusterProcess) => list.filter((other) => other !== one);
  return {
    router,
    membership,
    get nodes() {
      return nodes;
    },
    get spares() {
      return spares;
    },
    get processes() {
      return [membership, ...nodes, router];
    },
    enter(spare) {
      spares = without(spares, spare);
      nodes = [...nodes, spare];
    },
    exit(node) {
      nodes = without(nodes, node);
    },
    giveBack(node) {
      spares = [...spares, node];
    },
    async stop() {
      await Promise.all(all.map(endOf));
      if (options.data === undefined) rmSync(data, { recursive: true, force: true });
    },
  };
}

/** The router first would be kinder to clients; a test that ends has none. */
async function endOf(each: ClusterProcess): Promise<void> {
  if (!each.running) return;
  await each.kill('SIGCONT');
  await each.kill('SIGTERM');
}

function clusterProcess(
  service: 'membership' | 'storage-node' | 'router',
  name: string,
  data: string,
  address: string,
  admin: string,
  flags: readonly string[],
  added: Readonly<Record<string, string>> = {},
): ClusterProcess {
  const script = fileURLToPath(new URL(`../../services/${service}/main.ts`, import.meta.url));
  const logFile = join(data, 'log');
  const inherited = Object.entries(process.env).filter(
    ([key]) => key === 'NODE_COMPILE_CACHE' || !/^(CARTWHEEL|NODE)_/.test(key),
  );
  const environment = { ...Object.fromEntries(inherited), ...added };
  mkdirSync(data, { recursive: true });
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();

  const self: ClusterProcess = {
    name,
    address,
    admin,
    data,
    get pid() {
      return child?.pid ?? 0;
    },
    get running() {
      return child !== undefined && child.exitCode === null && child.signalCode === null;
    },
    get exitCode() {
      return child?.exitCode ?? null;
    },
    onEnd: undefined,
    log() {
      try {
        return readFileSync(logFile, 'utf8');
      } catch {
        return '';
      }
    },
    async kill(signal) {
      if (!self.running) return;
      child?.kill(signal);
      if (signal === 'SIGSTOP' || signal === 'SIGCONT') return;
      await within(ENDED_WITHIN_MS, ended, () => {
        child?.kill('SIGKILL');
        return new Error(`${name} was still there ${ENDED_WITHIN_MS} ms after ${signal}:\n${self.log()}`);
      });
    },
    async start() {
      if (self.running) throw new Error(`${name} is running already`);
      const log = openSync(logFile, 'a');
      const spawned = spawn(
        process.execPath,
        [oneHelperThread, script, '--listen', address, '--admin', admin, ...flags],
        {
          stdio: ['ignore', log, log, 'ipc'],
          env: environment,
          // A Ctrl-C in the terminal is for the parent, which then ends its children in good order.
          detached: true,
        },
      );
      closeSync(log);
      child = spawned;
      ended = new Promise((resolve) => {
        spawned.once('exit', (code, signal) => {
          resolve();
          self.onEnd?.(code, signal);
        });
      });
      const deadline = performance.now() + READY_WITHIN_MS;
      while (!(await isReady(admin))) {
        const { exitCode, signalCode } = spawned;
        if (exitCode !== null || signalCode !== null) {
          throw new Error(`${name} ended with ${exitCode ?? signalCode} before it was ready:\n${self.log()}`);
        }
        if (performance.now() > deadline) {
          throw new Error(`${name} was not ready after ${READY_WITHIN_MS} ms:\n${self.log()}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  };
  return self;
}

async function isReady(admin: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${admin}/readyz`);
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}

async function within(ms: number, done: Promise<void>, late: () => Error): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    await Promise.race([done, hang]);
  } finally {
    clearTimeout(timer);
  }
}
