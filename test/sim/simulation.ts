/**
 * One run of a whole cluster under one seed, in one process: storage nodes (the real data path on simulated
 * ports), the real dispatch of routers and clients, and the clients themselves.
 *
 *     faults and load ──► healing ──► reads until all is repaired, and the last checks (liveness.ts)
 *
 * Everything follows from the seed: the same seed gives the same history, and the same hash of it.
 */
import { createRecordCodec } from '../../services/core/codec/record.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { partitionOfStorageKey } from '../../services/core/ring/partition.ts';
import { preferenceList } from '../../services/core/ring/preference-list.ts';
import { createRing, type Ring, type RingNode } from '../../services/core/ring/ring.ts';
import { checksum32 } from '../../services/platform/hash.ts';
import { Violation } from '../oracle/violation.ts';
import { createSimulatedClaimant, isIn } from './claimant.ts';
import { type Client, createClient } from './client.ts';
import { bitFlips } from './faults/bit-flips.ts';
import { cleanStops } from './faults/clean-stops.ts';
import { clockJumps } from './faults/clock-jumps.ts';
import { crashes } from './faults/crashes.ts';
import { departures } from './faults/departures.ts';
import { diskFailures } from './faults/disk-failures.ts';
import { doublings } from './faults/doublings.ts';
import { lostBlocks } from './faults/lost-blocks.ts';
import { markedDown } from './faults/marked-down.ts';
import { oldDisks } from './faults/old-disks.ts';
import { outages } from './faults/outages.ts';
import { partitions } from './faults/partitions.ts';
import { powerLoss } from './faults/power-loss.ts';
import { repeatedOutages } from './faults/repeated-outages.ts';
import { resets } from './faults/resets.ts';
import { restoredNotices } from './faults/restored-notices.ts';
import { ringChanges } from './faults/ring-changes.ts';
import { secondThoughts } from './faults/second-thoughts.ts';
import { slowDisks } from './faults/slow-disks.ts';
import { slowNodes } from './faults/slow-nodes.ts';
import { stoppedNodes } from './faults/stopped-nodes.ts';
import { takenAddresses } from './faults/taken-addresses.ts';
import { wipedDisks } from './faults/wiped-disks.ts';
import { startLater, type World } from './faults/world.ts';
import { createHistory } from './history.ts';
import { keysOf, storageKeyOf } from './keys.ts';
import { converge } from './liveness.ts';
import { createMarks, type Mark } from './marks.ts';
import { createCountingMetrics } from './metrics.ts';
import { createNetwork } from './network.ts';
import { createSimulatedNode } from './node.ts';
import { createOracle } from './oracle.ts';
import { operationsPerSeed, type Profile, profileOf } from './profile.ts';
import { seededRandom } from './random.ts';
import { startSimulatedRouter } from './router.ts';
import { createScheduler } from './scheduler.ts';
import { runReader, runWorkload } from './workload.ts';

const faults = [
  ...[ringChanges, secondThoughts, doublings, wipedDisks, oldDisks, markedDown, departures, lostBlocks],
  ...[crashes, outages, powerLoss, cleanStops, diskFailures, partitions],
  ...[
    slowNodes,
    stoppedNodes,
    slowDisks,
    resets,
    clockJumps,
    restoredNotices,
    repeatedOutages,
    bitFlips,
    takenAddresses,
  ],
];

/** Longer than any fault, or the restart of a node, is planned for. */
const faultsLastMs = 5_000;

export interface RunResult {
  readonly seed: number;
  /** Undefined: all promises held. */
  readonly violation: Violation | undefined;
  readonly hash: string;
  readonly marks: ReadonlySet<Mark>;
  /** The last things that happened. */
  readonly lastLines: readonly string[];
  readonly events: number;
  readonly virtualMs: number;
}

export interface RunOptions {
  readonly trace?: ((line: string) => void) | undefined;
  /** Wall clocks that are right, whatever the seed says: nothing else may be different then (P11). */
  readonly wallClocksRight?: boolean;
}

export async function simulate(seed: number, { trace, wallClocksRight = false }: RunOptions = {}): Promise<RunResult> {
  const profile = profileOf(seed);
  const scheduler = createScheduler();
  const root = seededRandom(seed, 'simulation');
  const marks = createMarks();
  const metrics = createCountingMetrics();
  const history = createHistory(() => scheduler.now(), trace);
  const records = createRecordCodec(checksum32);
  const crashesOf = (name: string) => nodes.find((node) => node.name === name)?.crashes ?? 0;
  const oracle = createOracle({ records, replicas: profile.replicas, marks, crashesOf, now: () => scheduler.now() });
  let healing = false;
  const calm = { ...profile.network, loss: 0, duplication: 0, late: 0 };
  const conditions = () => (healing ? calm : profile.network);
  const network = createNetwork({ scheduler, random: root.fork('network'), marks, conditions });
  const ring = ringOf(profile);
  const founders = ring.nodes.map(({ id }) => id);
  const names = [...founders, ...Array.from({ length: profile.spares }, (_, i) => `node-${profile.nodes + i}`)];
  const nodes = names.map((name) =>
    createSimulatedNode({
      ...{
        name,
        profile,
        ring,
        names,
        scheduler,
        random: root.fork(name),
        network,
        oracle,
        history,
        marks,
        metrics,
        wallClocksRight,
        inBackground: () => !healing,
      },
      onExit: (node) => startLater(world, node, root.fork('exits')),
    }),
  );
  const claimant = createSimulatedClaimant({
    ...{ ring, names, scheduler, network, history, marks, oracle, random: root.fork('claimant') },
    isUp: (name) => nodes.find((node) => node.name === name)?.state === 'up',
  });
  const routerNames = Array.from({ length: profile.routers }, (_, i) => `router-${i}`);
  for (const name of routerNames) {
    startSimulatedRouter({
      ...{ name, nodes: names, scheduler, network, oracle, metrics, random: root.fork(name) },
      ring: () => claimant.ring,
    });
  }
  const site = (node: string) => claimant.ring.nodes.find(({ id }) => id === node);
  const sites = {
    zoneOf: (node: string) => site(node)?.zone ?? node,
    hostOf: (node: string) => site(node)?.host ?? node,
  };
  /** In the end each node is asked for itself. */
  const clientOf = (name: string, share: number) =>
    createClient({
      name,
      nodes: names,
      placement: { share: () => (healing ? 0 : profile.placedShare), ...sites },
      routers: { names: routerNames, share: () => (healing ? 0 : share) },
      replicas: profile.replicas,
      random: root.fork(name),
      cancelledShare: () => (healing ? 0 : profile.cancelledShare),
      ...{ scheduler, network, oracle, history, marks },
      clocksDifferMs: 2 * profile.wallSkewMs + 2,
      crashesOf,
      isGivenUp: (node) => {
        const isCounted = isIn(claimant.ring, node) && site(node)?.status !== 'DOWN';
        return !isCounted && nodes.some(({ name, isGivenUp }) => name === node && isGivenUp);
      },
      damagesDisks: [
        ...[profile.bitFlipEveryMs, profile.wipedDiskEveryMs, profile.oldDiskEveryMs, profile.lostBlockEveryMs],
        profile.markedDownEveryMs,
      ].some((ms) => ms > 0),
    });
  const clients = Array.from({ length: profile.clients }, (_, i) => clientOf(`client-${i}`, profile.routedShare));
  const readers = Array.from({ length: profile.readers }, (_, i) => clientOf(`reader-${i}`, 1));
  const keys = keysOf(profile);
  const preferenceOf = (key: string) => preferenceIn(claimant.ring, storageKeyOf(key));
  const homesOf = (key: string) => preferenceOf(key).slice(0, profile.replicas);
  const world: World = {
    ...{ profile, scheduler, network, nodes, claimant, marks, history },
    clients: [...clients.map(({ name }) => name), ...routerNames],
    homes: () => new Map(keys.map((key) => [key, homesOf(key)])),
    damaged: ({ name }, key, elsewhere) => oracle.damaged(name, key, elsewhere),
    recordLost: ({ name }, key) => oracle.recordLost(name, key),
    random: (name) => root.fork(`faults/${name}`),
    healing: () => healing,
  };
  const broken = () => oracle.violation !== undefined;

  /** Lets everything under way come to its end. */
  async function settle(): Promise<void> {
    if (await scheduler.run(broken)) throw oracle.violation;
  }

  async function runUntilDone(work: Promise<unknown>): Promise<void> {
    let done = false;
    work.then(
      () => {
        done = true;
      },
      (error: unknown) => oracle.fail(error),
    );
    if (!(await scheduler.run(() => done || broken()))) throw new Violation('no bug', 'something waits for ever');
    if (broken()) throw oracle.violation;
  }

  async function faultsAndLoad(): Promise<void> {
    for (const node of nodes) if (founders.includes(node.name)) node.start();
    for (const fault of faults) fault(world);
    const workloadOf = (client: Client) => {
      const random = root.fork(`workload/${client.name}`);
      return { client, profile, scheduler, random, nodes: names, preferenceOf };
    };
    await runUntilDone(
      Promise.all([
        ...clients.map((client) => runWorkload(workloadOf(client))),
        ...readers.map((client) => runReader(workloadOf(client))),
      ]),
    );
  }

  async function heal(): Promise<void> {
    healing = true;
    for (const { diskTimes } of nodes) diskTimes.stalls = false;
    history.note('healing', 'all');
    for (const node of nodes) node.pauseBackground();
    // Not until all is settled: who owes something to a node that is down never stops looking for it.
    await runUntilDone(scheduler.sleep(faultsLastMs));
    for (const node of nodes) {
      if (node.diskBroken && node.state !== 'down') node.crash(0);
      if (node.state === 'down' && isIn(claimant.ring, node.name)) node.start();
    }
    await runUntilDone(claimant.settled());
    await settle();
  }

  async function end(): Promise<void> {
    const cluster = {
      ...{ nodes: nodes.filter(({ state }) => state === 'up'), keys, homesOf, records },
      isMember: (name: string) => isIn(claimant.ring, name),
      replicas: profile.replicas,
    };
    await converge({
      cluster,
      client: clients[0] as Client,
      oracle,
      history,
      marks,
      metrics,
      damaged: profile.bitFlipEveryMs > 0,
      remembersAll: profile.requestsMax > operationsPerSeed * 10,
      random: seededRandom(seed, 'tried again'),
      runUntilDone,
      settle,
    });
  }

  /** Those that were taken for lost, when everything that they could bring back has gone. */
  async function comeBack(): Promise<void> {
    const away = nodes.filter(({ isAway }) => isAway);
    if (away.length === 0) return;
    for (const node of away) node.comeBack();
    await runUntilDone(claimant.settled());
    await settle();
    await end();
  }

  const unhandled = (error: unknown) => oracle.fail(error);
  process.on('unhandledRejection', unhandled);
  try {
    await faultsAndLoad();
    await heal();
    await end();
    await comeBack();
  } catch (error) {
    oracle.fail(error);
  } finally {
    process.off('unhandledRejection', unhandled);
  }
  if (oracle.cuts.count > 0) marks.add('a clock was cut');
  if (metrics.count('cartwheel_hedged_reads_total') > 0) marks.add('a read was hedged');
  if (metrics.count('cartwheel_shared_reads_total') > 0) marks.add('a read was answered with what another one was');
  if (metrics.count('cartwheel_read_repairs_total') > 0) marks.add('a read repaired a replica');
  if (metrics.count('cartwheel_coordinated_by_fallback_total') > 0) marks.add('a fallback coordinated a write');
  if (metrics.count('cartwheel_recalled_writes_total') > 0) marks.add('a second attempt found its write known');
  if (metrics.count('cartwheel_hints_delivered_total') > 0) marks.add('a hint was delivered');
  if (metrics.count('cartwheel_hints_beyond_limit_total') > 0) marks.add('hints went beyond their limit');
  if (metrics.count('cartwheel_exchanged_records_total') > 0) marks.add('an exchange mended a replica');
  if (metrics.count('cartwheel_transfer_records_total') > 0) marks.add('a partition was taken over');
  if (metrics.count('cartwheel_handed_back_records_total') > 0) marks.add('a record was handed back');
  if (metrics.count('cartwheel_handed_over_records_total') > 0) marks.add('a record was handed over without a hint');
  if (metrics.count('cartwheel_corrupt_records_repaired_total') > 0) marks.add('a damaged record was repaired');
  if (metrics.count('cartwheel_refilled_records_total') > 0) marks.add('a node pulled again what damage had taken');
  if (metrics.count('cartwheel_collected_records_total') > 0) marks.add('a record was let go');
  if (metrics.count('cartwheel_stand_ins_total') > 0) marks.add('a fallback stood in for a home');
  for (const { dots } of oracle.ledger.all()) if (dots.size > 1) marks.add('a retry met two coordinators');
  const { violation } = oracle;
  if (violation !== undefined) history.note('violation', violation.promise, violation.message);
  return {
    ...{ seed, violation, marks: marks.seen, lastLines: history.lines },
    hash: history.hash(),
    events: scheduler.events,
    virtualMs: scheduler.now(),
  };
}

function ringOf({ nodes: count, replicas, partitions, zones }: Profile): Ring {
  const nodes = Array.from({ length: count }, (_, index): RingNode => {
    const id = `node-${index}`;
    return {
      index,
      id,
      address: `${id}:1`,
      host: `host-${index}`,
      zone: `zone-${zones === 0 ? index : index % zones}`,
      status: 'UP',
    };
  });
  const owners = firstClaim({ nodes, partitions, replicas });
  return createRing({ version: { term: 1n, sequence: 1n }, partitions, replicas, nodes, owners, pending: new Map() });
}

function preferenceIn(ring: Ring, key: Uint8Array): readonly string[] {
  const preference = preferenceList(ring, partitionOfStorageKey(key, ring.partitions));
  return preference.map((index) => (ring.nodes[index] as RingNode).id);
}
