/**
 * One run: a cluster of real processes, clients that work, and faults; then healing, and the last check.
 *
 *     start ──► load and faults ──► all up and whole again ──► every key is read everywhere (verify.ts)
 *
 * I1 However it ends, nothing is left: no process, no mount, and no directory unless it was asked for.
 * I2 The first violation ends load and faults; the last check still counts what else is broken.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { createRandom } from '../../services/platform/random.ts';
import { createRequestIds } from '../../services/platform/routing/request-ids.ts';
import { type Cluster, type ClusterProcess, planCluster } from '../e2e/cluster.ts';
import { freePorts } from '../e2e/ports.ts';
import { settled } from '../e2e/support.ts';
import { Violation } from '../oracle/violation.ts';
import { latestNamespace } from '../sim/keys.ts';
import { seededRandom } from '../sim/random.ts';
import { observe } from './client.ts';
import { type Counts, createCounts } from './counts.ts';
import { type Diallers, prepareDiallers } from './dialler.ts';
import { type Disks, prepareDisks } from './disks.ts';
import { doubling } from './faults/doubling.ts';
import { killAll } from './faults/kill-all.ts';
import { killMembership } from './faults/kill-membership.ts';
import { lostDisk } from './faults/lost-disk.ts';
import { ringChange } from './faults/ring-change.ts';
import type { Fault, World } from './faults/world.ts';
import { createHistory } from './history.ts';
import { createKeys } from './keys.ts';
import { createNetwork, type Network, type Place } from './network.ts';
import { createOracle } from './oracle.ts';
import { withPreloads } from './preload.ts';
import { runFaults } from './schedule.ts';
import { mountSmallDisk, type SmallDisk } from './small-disk.ts';
import { verify } from './verify.ts';
import { createViolations, type Found, type Violations } from './violations.ts';
import { runWorker } from './workload.ts';

export interface RunOptions {
  readonly seed: number;
  /** Of load and faults. */
  readonly faultsMs: number;
  readonly nodes: number;
  /** All membership processes are dead from the first operation to the last. */
  readonly membershipDead: boolean;
  readonly clients: number;
  readonly workers: number;
  readonly faults: readonly Fault[];
  /** A directory that is kept; without one a temporary one, which is kept where something was found. */
  readonly data?: string | undefined;
  readonly keep: boolean;
  /** The name of a control (test/sim/controls.ts): the storage nodes are built wrong. */
  readonly control?: string | undefined;
  readonly view: View;
  /** Ends the run early, without the last check. */
  readonly stop: AbortSignal;
}

/** What a person is shown while it runs. */
export interface View {
  note(what: string): void;
  status(status: Status): void;
}

export interface Status {
  readonly phase: string;
  readonly ms: number;
  readonly counts: Counts;
  readonly faults: number;
  readonly keys: number;
  readonly violations: Violations;
}

export interface Outcome {
  readonly interrupted: boolean;
  readonly counts: Counts;
  readonly faults: ReadonlyMap<string, number>;
  readonly membershipDead: boolean;
  /** Kinds that could not be made here, and why. */
  readonly obstacles: ReadonlyMap<string, string>;
  readonly keys: number;
  readonly keysCut: number;
  readonly loadMs: number;
  readonly violations: Violations;
  /** Of the keys of the first violations: all that happened to them. */
  readonly histories: ReadonlyMap<Found, readonly string[]>;
  /** Where logs, data and the history are; undefined: removed. */
  readonly kept: string | undefined;
}

const partitions = 64;
/** A node that has left can come again as another one only after a while. */
const spares = 3;
const replicasMax = 3;
const keysInUse = 256;
const thinkMs = 15;
const statusEveryMs = 1_000;
const historyLinesMax = 200;
const historiesMax = 5;
/** Of an error that has a whole log in it. */
const messageMax = 4_000;
/** EX_IOERR, of a storage node whose disk failed. */
const exitStorageFailed = 74;
const clientsPlace: Place = 'clients';

export async function run(options: RunOptions): Promise<Outcome> {
  const directory = options.data ?? mkdtempSync(join(tmpdir(), 'cartwheel-nemesis-'));
  mkdirSync(directory, { recursive: true });
  const disks = await prepareDisks(join(directory, 'disks'));
  const diallers = await prepareDiallers(join(directory, 'disks'));
  let cluster: Cluster | undefined;
  const network = createNetwork({ placeOf: (address) => diallers.nameOf(address) ?? clientsPlace });
  const smallDisk = await mountSmallDisk('node-1', join(directory, 'node-1', 'data'));
  const killLeftovers = () => killAllOf(cluster);
  process.on('exit', killLeftovers);
  let keep = true;
  try {
    const planned = await planNodes(options, directory, network, disks, diallers);
    cluster = planned.cluster;
    const outcome = await attack(options, directory, { ...planned, network, disks, smallDisk });
    keep = options.keep || options.data !== undefined || outcome.violations.any;
    return { ...outcome, kept: keep ? directory : undefined };
  } finally {
    await cluster?.stop();
    await network.close();
    if (typeof smallDisk !== 'string') await smallDisk.giveBack(keep);
    if (!keep) rmSync(directory, { recursive: true, force: true });
    process.off('exit', killLeftovers);
  }
}

interface Planned {
  readonly cluster: Cluster;
  /** Of the nodes' proxies, by name. */
  readonly addresses: ReadonlyMap<string, string>;
}

async function planNodes(
  { nodes, control }: RunOptions,
  directory: string,
  network: Network,
  disks: Disks,
  diallers: Diallers,
): Promise<Planned> {
  const ports = await freePorts(nodes + spares);
  const addresses = new Map<string, string>();
  const mutation = new URL('../sim/mutate.ts', import.meta.url);
  mutation.searchParams.set('control', control ?? '');
  const environment = control === undefined ? {} : { NODE_OPTIONS: `--import ${mutation.href}` };
  const left = [...ports];
  const cluster = await planCluster({
    ...{ nodes, spares, partitions, data: directory },
    // Ways are cut one by one: who can say that it owes may not be able to deliver, until another fault is over.
    flags: { node: ['--catch-up', '20s'] },
    async node(name, listen) {
      const port = left.shift() as number;
      const advertise = `127.0.0.1:${port}`;
      addresses.set(name, advertise);
      await network.serve(name, port, listen);
      const preloaded = withPreloads(disks.environmentOf(name), diallers.environmentOf(name));
      return { advertise, environment: { ...environment, ...preloaded } };
    },
    environment: (name) => diallers.environmentOf(name),
  });
  return { cluster, addresses };
}

interface Attacked extends Planned {
  readonly network: Network;
  readonly disks: Disks;
  readonly smallDisk: SmallDisk | string;
}

async function attack(
  options: RunOptions,
  directory: string,
  { cluster, addresses, network, disks, smallDisk }: Attacked,
): Promise<Omit<Outcome, 'kept'>> {
  const { seed, faultsMs, clients: clientCount, workers, view, stop } = options;
  const random = seededRandom(seed, 'nemesis');
  const begunAt = performance.now();
  const now = () => performance.now() - begunAt;
  const replicas = Math.min(replicasMax, options.nodes);
  const over = new AbortController();
  const end = () => over.abort();
  stop.addEventListener('abort', end);
  const violations = createViolations(end);
  const counts = createCounts();
  const faults = new Map<string, number>();
  const wallBegunAt = Date.now();
  const oracle = createOracle(replicas, (ms) => wallBegunAt + ms);
  const history = createHistory(join(directory, 'history'), now);
  const keys = createKeys({ random: random.fork('keys'), inUse: keysInUse, onRetired: (key) => oracle.fold(key) });
  const mayFail = watchProcesses(cluster, violations, view);
  const lostDisks = new Set<string>();
  const addressOf = ({ name }: ClusterProcess) => addresses.get(name) as string;
  const withoutMembership = (each: ClusterProcess) => !options.membershipDead || each !== cluster.membership;
  const world: World = {
    ...{ cluster, network, disks, smallDisk, mayFail, addressOf, stop },
    get places() {
      return [...cluster.nodes.map(({ name }) => name), 'router', 'membership', clientsPlace];
    },
    diskLost: (nodeId) => lostDisks.add(nodeId),
    isLost: (nodeId) => lostDisks.has(nodeId),
    pause: (ms) => sleep(ms, undefined, { signal: over.signal }).catch(() => {}),
    note: (what) => view.note(`${(now() / 1_000).toFixed(1).padStart(7)} s  ${what}`),
  };
  const obstacles = new Map<string, string>();
  for (const { kind, obstacle } of options.faults) {
    const why = obstacle?.(world);
    if (why !== undefined) obstacles.set(kind, why);
  }
  const needsMembership: readonly Fault[] = options.membershipDead
    ? [killMembership, killAll, ringChange, lostDisk, doubling]
    : [];
  for (const { kind } of needsMembership) obstacles.set(kind, 'membership is dead');
  const possible = options.faults.filter(({ kind }) => !obstacles.has(kind));
  for (const [kind, why] of obstacles) world.note(`no ${kind}: ${why}`);

  let phase = 'starting';
  let loadMs = 0;
  const opened: CartwheelClient[] = [];
  const open = (endpoints: readonly string[], direct: boolean) => {
    const client = connect({ endpoints, direct });
    opened.push(client);
    return client;
  };
  const status = setInterval(() => {
    const struck = [...faults.values()].reduce((sum, count) => sum + count, 0);
    view.status({ phase, ms: now(), counts, faults: struck, keys: keys.all().length, violations });
  }, statusEveryMs);

  try {
    await Promise.all(cluster.processes.map((each) => each.start()));
    await settled(cluster);
    await open([cluster.router.address], false).namespaces.create(latestNamespace, { resolution: 'LAST_WRITER_WINS' });
    if (options.membershipDead) await cluster.membership.kill('SIGKILL');
    if (!stop.aborted) await orViolation(violations, loadAndFaults);
    if (!stop.aborted) await orViolation(violations, lastCheck);
  } finally {
    clearInterval(status);
    stop.removeEventListener('abort', end);
    await Promise.all(opened.map((client) => client.close()));
  }
  const histories = new Map<Found, readonly string[]>();
  for (const found of violations.found.slice(0, historiesMax)) {
    if (found.key !== undefined) histories.set(found, await history.of(found.key, historyLinesMax));
  }
  await history.close();
  return {
    ...{ counts, faults, obstacles, loadMs, violations, histories, membershipDead: options.membershipDead },
    ...{ interrupted: stop.aborted, keys: keys.all().length, keysCut: oracle.keysCut },
  };

  async function loadAndFaults(): Promise<void> {
    phase = 'attacking';
    const startedAt = now();
    const newRequestId = createRequestIds(createRandom());
    const observed = Array.from({ length: clientCount }, (_, i) =>
      observe({
        name: `client-${i}`,
        client: i % 2 === 0 ? open([cluster.router.address], false) : open(cluster.nodes.map(addressOf), true),
        ...{ replicas, oracle, history, counts, violations, now, newRequestId },
        lostDisks: possible.includes(lostDisk) ? lostDisks : undefined,
      }),
    );
    const timer = setTimeout(end, faultsMs);
    const striking = runFaults(world, possible, random.fork('faults'), over.signal, faults);
    const working = Array.from({ length: workers }, (_, i) => {
      const name = `w${i}`;
      const client = observed[i % clientCount] as (typeof observed)[number];
      const own = random.fork(name);
      return runWorker({ name, client, keys, replicas, random: own, thinkMs, over: over.signal });
    });
    try {
      await Promise.all([striking, ...working]);
    } finally {
      clearTimeout(timer);
      end();
      loadMs = now() - startedAt;
      await Promise.allSettled([striking, ...working]);
    }
  }

  async function lastCheck(): Promise<void> {
    phase = 'healing';
    world.note('faults are over');
    for (const each of cluster.processes.filter(withoutMembership)) if (!each.running) await each.start();
    await settled(cluster);
    phase = 'checking';
    const clients = new Map(cluster.nodes.map(addressOf).map((address) => [address, open([address], false)]));
    await verify({
      ...{ keys: keys.all(), clients, oracle, violations, stop, now },
      onProgress: (checked, rounds) => world.note(`${checked} keys are read everywhere and well, in round ${rounds}`),
    });
  }
}

/** A process that does not start again, or streams that do not come back, are findings like any other. */
async function orViolation(violations: Violations, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const shown =
      text.length <= messageMax ? text : `${text.slice(0, messageMax / 2)}\n…\n${text.slice(-messageMax / 2)}`;
    violations.add(undefined, new Violation('no bug', shown));
  }
}

/** Processes end by our signals, or because their disk failed: anything else is a bug. */
function watchProcesses(cluster: Cluster, violations: Violations, view: View): World['mayFail'] {
  const failing = new Set<ClusterProcess>();
  for (const each of [...cluster.processes, ...cluster.spares]) {
    each.onEnd = (code, signal) => {
      const isOurs = signal === 'SIGKILL' || code === 0;
      if (isOurs || (code === exitStorageFailed && failing.has(each))) return;
      view.note(`${each.name} ended with ${code ?? signal}`);
      violations.add(undefined, new Violation('no bug', `${each.name} ended by itself, with ${code ?? signal}`));
    };
  }
  return (node) => {
    failing.add(node);
    return () => failing.delete(node);
  };
}

/** The last means: this process ends, and no child may outlive it, not even one that is stopped. */
function killAllOf(cluster: Cluster | undefined): void {
  for (const { pid, running } of cluster?.processes ?? []) {
    if (running) process.kill(pid, 'SIGKILL');
  }
}
