/**
 * What one seed is: how large, how busy, how unlucky. Each seed leaves most faults out, so that some runs
 * have one fault often and not all of them have all (swarm testing: Groce, Zhang, Eide, Chen, Regehr 2012).
 *
 * Times are milliseconds of virtual time; faults come `…EveryMs` on average, and never where it is 0.
 */
import {
  builtInNamespace,
  type DurabilityName,
  type Namespace,
  type Namespaces,
} from '../../services/core/namespaces/namespace.ts';
import type { DiskConditions } from './disk.ts';
import { latestNamespace } from './keys.ts';
import type { NetworkConditions } from './network.ts';
import { type SeededRandom, seededRandom } from './random.ts';

export interface Profile {
  readonly seed: number;
  readonly nodes: number;
  /** N. */
  readonly replicas: number;
  /** Keys that only ever get items added, and keys to which anything is done. */
  readonly carts: number;
  readonly registers: number;
  /** Keys where the last writer wins: wall clocks decide then. */
  readonly latest: number;
  readonly clients: number;
  /** Through which clients send a share of their operations. */
  readonly routers: number;
  /** Of the nodes; 0: each is in one of its own. */
  readonly zones: number;
  /** Of puts that want to be in several zones. */
  readonly placedShare: number;
  readonly routedShare: number;
  /** Clients that only read, through a router where there is one. */
  readonly readers: number;
  readonly operationsPerClient: number;
  readonly thinkMs: number;
  /** Of operations that their client cancels. */
  readonly cancelledShare: number;
  readonly network: NetworkConditions;
  readonly disk: DiskConditions;
  readonly cacheBytesMax: number;
  readonly wallSkewMs: number;
  readonly crashEveryMs: number;
  readonly powerLossEveryMs: number;
  readonly cleanStopEveryMs: number;
  readonly diskFailureEveryMs: number;
  readonly partitionEveryMs: number;
  readonly outageEveryMs: number;
  readonly repeatedOutageEveryMs: number;
  readonly slowNodeEveryMs: number;
  readonly stoppedNodeEveryMs: number;
  /** Records that may be owed to one node. */
  readonly hintsPerNodeMax: number;
  /** Requests that a node remembers. */
  readonly requestsMax: number;
  /** `default`, and the one where the last writer wins; nodes know them from the start. */
  readonly namespaces: Namespaces;
  /** Of writes that ask for less than their namespace's durability, or more. */
  readonly otherDurability: number;
  readonly bufferRecordsMax: number;
  /** Of puts to registers that expire; 0 where wall clocks are wrong, because they decide then. */
  readonly expiring: number;
  readonly slowDiskEveryMs: number;
  readonly resetEveryMs: number;
  readonly clockJumpEveryMs: number;
  readonly restoredNoticeEveryMs: number;
  /** Q. */
  readonly partitions: number;
  /** Nodes that come later, if the ring changes. */
  readonly spares: number;
  /** 0: the ring stays as it is. */
  readonly ringChangeEveryMs: number;
  readonly claimantCrashEveryMs: number;
  /** A change of the ring that is under way is paused, or rolled back. */
  readonly secondThoughtEveryMs: number;
  readonly doublings: {
    /** 0: Q stays as it is. */
    readonly everyMs: number;
    /** How probable it is that a node, or the claimant, dies when the partitions double. */
    readonly nodeCrashes: number;
    readonly claimantCrashes: number;
  };
  readonly bitFlipEveryMs: number;
  /** A node dies, and its address leads to another node for a while, perhaps until after it is back. */
  readonly takenAddressEveryMs: number;
  /** 0: no disk is lost. Else one, once, and another node takes its place. */
  readonly wipedDiskEveryMs: number;
  /** A node is away, once, and taken for lost; it comes back when another one has its place. */
  readonly oldDiskEveryMs: number;
  /** A node is away, once, and marked down; when it is back it is taken back. */
  readonly markedDownEveryMs: number;
  /** Nodes that have left are taken away, with their disks. */
  readonly departureEveryMs: number;
  /** Of a node's files some are damaged, so that it starts again without some of its records. */
  readonly lostBlockEveryMs: number;
  /** What may go is let go after two looks about so far apart; 0: nothing is, until faults are over. */
  readonly collectAfterMs: number;
  /** Of operations on registers: deletes of what has just been read. */
  readonly deleting: number;
  /** 0: replicas are compared only once faults are over. */
  readonly exchangeEveryMs: number;
}

export const operationsPerSeed = 110;

export function profileOf(seed: number): Profile {
  const random = seededRandom(seed, 'profile');
  const sometimes = (probability: number, low: number, high: number) =>
    random.chance(probability) ? random.between(low, high) : 0;
  const clients = 3 + random.below(4);
  const oneKey = random.chance(0.25);
  const changes = ringChanges(seededRandom(seed, 'ring changes'));
  const usual = {
    seed,
    nodes: random.chance(0.35) ? 3 : 4 + random.below(3),
    replicas: 3,
    carts: oneKey ? 0 : 1 + random.below(2),
    registers: oneKey ? 1 : 1 + random.below(3),
    clients,
    operationsPerClient: Math.ceil(operationsPerSeed / clients),
    thinkMs: random.between(2, 40),
    cancelledShare: cancelsOf(seededRandom(seed, 'cancels')),
    network: {
      delayMs: random.between(0.2, 6),
      loss: sometimes(0.4, 0.002, 0.08),
      duplication: sometimes(0.5, 0.02, 0.4),
      late: changes.late,
    },
    disk: { readMs: random.between(0.02, 1), writeMs: random.between(0.05, 1), syncMs: random.between(0.5, 12) },
    cacheBytesMax: random.pick([0, 700, 1 << 20]),
    wallSkewMs: random.chance(0.5) ? 6 * 3_600_000 : 50,
    crashEveryMs: sometimes(0.6, oneKey ? 60 : 100, 900),
    powerLossEveryMs: sometimes(0.25, 200, 1_200),
    cleanStopEveryMs: sometimes(0.4, 150, 900),
    diskFailureEveryMs: sometimes(0.2, 300, 1_200),
    partitionEveryMs: sometimes(0.5, 100, 800),
    outageEveryMs: sometimes(oneKey ? 0.7 : 0.4, oneKey ? 100 : 300, oneKey ? 500 : 1_500),
    slowNodeEveryMs: sometimes(0.3, 100, 800),
    stoppedNodeEveryMs: sometimes(0.35, 400, 2_500),
    requestsMax: random.chance(0.1) ? 10 : 10_000,
    hintsPerNodeMax: random.chance(0.3) ? seed % 2 : 1_000,
    slowDiskEveryMs: sometimes(0.3, 100, 800),
    resetEveryMs: sometimes(0.3, 50, 500),
    clockJumpEveryMs: sometimes(0.4, 100, 600),
    restoredNoticeEveryMs: sometimes(oneKey ? 0.8 : 0.15, 0.5, 4),
    ...routersOf(seededRandom(seed, 'routers')),
    ...placementsOf(seededRandom(seed, 'placements')),
    exchangeEveryMs: exchangesOf(seededRandom(seed, 'exchanges')),
    ...changes.profile,
    repeatedOutageEveryMs: repeatedOutagesOf(seededRandom(seed, 'repeated outages')),
    latest: latestOf(seededRandom(seed, 'latest')),
    doublings: doublingsOf(seededRandom(seed, 'doublings'), changes.profile.ringChangeEveryMs > 0, changes.isAll),
    bitFlipEveryMs: bitFlipsOf(seededRandom(seed, 'turned bits')),
    secondThoughtEveryMs: secondThoughtsOf(
      seededRandom(seed, 'second thoughts'),
      changes.profile.ringChangeEveryMs > 0,
    ),
    takenAddressEveryMs: takenAddressesOf(seededRandom(seed, 'taken addresses')),
    wipedDiskEveryMs: 0,
    oldDiskEveryMs: 0,
    markedDownEveryMs: 0,
    departureEveryMs: departuresOf(seededRandom(seed, 'departures'), changes.profile.ringChangeEveryMs > 0),
    lostBlockEveryMs: 0,
    ...collectionOf(seededRandom(seed, 'collection')),
    ...durabilities(seededRandom(seed, 'durability')),
  };
  const alone = changes.isAll ? withoutOtherFaults(usual, seededRandom(seed, 'ring changes alone')) : usual;
  const lost = withLostDisk(alone, seededRandom(seed, 'wiped disks'));
  const old = withOldDisk(lost, seededRandom(seed, 'old disks'));
  const profile = withMarkedDown(old, seededRandom(seed, 'marked down'));
  const expires = profile.wallSkewMs <= 50 && seededRandom(seed, 'expiring').chance(0.5);
  return { ...profile, expiring: expires ? 0.3 : 0 };
}

/**
 * Few partitions, so that a change concerns every key, and messages that are under way for longer than it takes. Half of
 * those seeds have nothing else: what goes wrong between two rings needs many operations in few moments, on one key.
 */
function ringChanges(random: SeededRandom) {
  const never = { partitions: 16, spares: 0, ringChangeEveryMs: 0, claimantCrashEveryMs: 0 };
  if (!random.chance(0.35)) return { late: 0, isAll: false, profile: never };
  const isAll = random.chance(0.5);
  return {
    late: isAll || random.chance(0.7) ? random.between(0.02, isAll ? 0.3 : 0.15) : 0,
    isAll,
    profile: {
      partitions: isAll ? 1 : random.pick([1, 2, 4, 16]),
      spares: 1 + random.below(2),
      ringChangeEveryMs: isAll ? random.between(60, 200) : random.between(80, 600),
      claimantCrashEveryMs: random.chance(0.4) ? random.between(150, 900) : 0,
    },
  };
}

/** Of a seed that has ring changes, and nothing else. */
function withoutOtherFaults(profile: Omit<Profile, 'expiring'>, random: SeededRandom): Omit<Profile, 'expiring'> {
  return {
    ...profile,
    ...{ carts: 0, registers: 8, clients: 6, operationsPerClient: 40, thinkMs: random.between(5, 40) },
    ...{ crashEveryMs: 0, powerLossEveryMs: 0, cleanStopEveryMs: 0, diskFailureEveryMs: 0, outageEveryMs: 0 },
    ...{ partitionEveryMs: 0, slowNodeEveryMs: 0, stoppedNodeEveryMs: 0, slowDiskEveryMs: 0, resetEveryMs: 0 },
    ...{
      restoredNoticeEveryMs: 0,
      clockJumpEveryMs: 0,
      exchangeEveryMs: 0,
      repeatedOutageEveryMs: 0,
      bitFlipEveryMs: 0,
      takenAddressEveryMs: 0,
    },
    network: { ...profile.network, loss: random.chance(0.5) ? random.between(0.02, 0.15) : 0 },
  };
}

/** Mostly where the ring changes otherwise too: what is placed by an old number is then served by others. */
function doublingsOf(random: SeededRandom, ringChanges: boolean, isAll: boolean): Profile['doublings'] {
  const happens = random.chance(ringChanges ? 0.35 : 0.3);
  return {
    everyMs: happens ? random.between(60, 500) : 0,
    nodeCrashes: !isAll && random.chance(0.5) ? random.between(0.1, 0.5) : 0,
    claimantCrashes: random.chance(0.5) ? random.between(0.1, 0.6) : 0,
  };
}

/** One damaged disk at a time has to be survived, so nothing else damages one; what was beaten is not kept for ever then. */
function withLostDisk(profile: Omit<Profile, 'expiring'>, random: SeededRandom): Omit<Profile, 'expiring'> {
  const dice = random.fraction();
  const everyMs = random.between(50, 800);
  const none = { bitFlipEveryMs: 0, latest: 0 };
  // Whoever rolls the replacement back is left with a node that never comes.
  if (dice < 0.15)
    return { ...profile, ...none, secondThoughtEveryMs: 0, wipedDiskEveryMs: everyMs, spares: profile.spares + 1 };
  return dice < 0.3 ? { ...profile, ...none, lostBlockEveryMs: everyMs } : profile;
}

/** Half of the disks that would be lost come back, when much has been deleted and let go. */
function withOldDisk(profile: Omit<Profile, 'expiring'>, random: SeededRandom): Omit<Profile, 'expiring'> {
  const { wipedDiskEveryMs, collectAfterMs, deleting } = profile;
  if (wipedDiskEveryMs === 0 || !random.chance(0.5)) return profile;
  const collecting = {
    collectAfterMs: collectAfterMs || random.between(20, 100),
    deleting: deleting || random.between(0.2, 0.5),
  };
  return { ...profile, ...collecting, wipedDiskEveryMs: 0, oldDiskEveryMs: wipedDiskEveryMs };
}

/** Where no disk is lost: what only that of the node has may be left behind. */
function withMarkedDown(profile: Omit<Profile, 'expiring'>, random: SeededRandom): Omit<Profile, 'expiring'> {
  const { wipedDiskEveryMs, oldDiskEveryMs, lostBlockEveryMs } = profile;
  if (wipedDiskEveryMs + oldDiskEveryMs + lostBlockEveryMs > 0 || !random.chance(0.15)) return profile;
  return { ...profile, bitFlipEveryMs: 0, latest: 0, markedDownEveryMs: random.between(50, 800) };
}

function cancelsOf(random: SeededRandom): number {
  return random.chance(0.25) ? random.between(0.02, 0.4) : 0;
}

function departuresOf(random: SeededRandom, ringChanges: boolean): number {
  return ringChanges && random.chance(0.5) ? random.between(20, 200) : 0;
}

function takenAddressesOf(random: SeededRandom): number {
  return random.chance(0.12) ? random.between(80, 500) : 0;
}

function secondThoughtsOf(random: SeededRandom, ringChanges: boolean): number {
  return ringChanges && random.chance(0.35) ? random.between(100, 600) : 0;
}

function repeatedOutagesOf(random: SeededRandom): number {
  return random.chance(0.3) ? random.between(150, 450) : 0;
}

function placementsOf(random: SeededRandom): Pick<Profile, 'zones' | 'placedShare'> {
  if (!random.chance(0.25)) return { zones: 0, placedShare: 0 };
  return { zones: 2 + random.below(2), placedShare: random.between(0.2, 0.8) };
}

function routersOf(random: SeededRandom): Pick<Profile, 'routers' | 'routedShare' | 'readers'> {
  if (!random.chance(0.25)) return { routers: 0, routedShare: 0, readers: 0 };
  return { routers: 1 + random.below(2), routedShare: random.pick([0.5, 1]), readers: 2 + random.below(4) };
}

function exchangesOf(random: SeededRandom): number {
  return random.chance(0.3) ? random.between(300, 3_000) : 0;
}

/** Often, and of keys that are deleted often: in half of those seeds. */
function collectionOf(random: SeededRandom): Pick<Profile, 'collectAfterMs' | 'deleting'> {
  if (!random.chance(0.4)) return { collectAfterMs: 0, deleting: 0 };
  return { collectAfterMs: random.between(20, 150), deleting: random.chance(0.6) ? random.between(0.2, 0.5) : 0 };
}

function latestOf(random: SeededRandom): number {
  return random.chance(0.3) ? 1 + random.below(2) : 0;
}

function bitFlipsOf(random: SeededRandom): number {
  return random.chance(0.3) ? random.between(20, 400) : 0;
}

/** Mostly all is DURABLE: what nobody promised to keep nobody can check. */
function durabilities(random: SeededRandom): Pick<Profile, 'namespaces' | 'otherDurability' | 'bufferRecordsMax'> {
  const usual: DurabilityName = random.chance(0.7) ? 'DURABLE' : random.pick(['ONE_DURABLE', 'BUFFERED']);
  const settings = { ...builtInNamespace, version: 1, durability: usual };
  const latest = { ...settings, name: latestNamespace, resolution: 'LAST_WRITER_WINS' } as const;
  return {
    namespaces: new Map<string, Namespace>([
      ['default', { ...settings, ...othersOf(random.fork('namespace')) }],
      [latestNamespace, latest],
    ]),
    otherDurability: random.chance(0.5) ? 0 : random.between(0.1, 0.9),
    bufferRecordsMax: random.pick([2, 1_000]),
  };
}

/** Mostly fallbacks stand in, and gets ask R. */
function othersOf(random: SeededRandom): Pick<Namespace, 'strict' | 'readAllProbability'> {
  return { strict: random.chance(0.07), readAllProbability: random.chance(0.15) ? random.between(0.1, 1) : 0 };
}
