/**
 * One storage node: the real data path (assembleStorageNode) on simulated ports, through all its lives.
 *
 * Owns starting, crashing, stopping and failing. Knows nothing of when: see faults/.
 *
 * I1 A life that is over does and says nothing any more: its clock calls nothing, its engine's promises
 *    never settle, its wire carries nothing.
 * I2 The disk outlives every life. A crash, and nothing else, loses what was not synced.
 */
import { Result, Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { findNamespace } from '../../services/core/namespaces/namespace.ts';
import type { Clock, Log, StorageEngine } from '../../services/core/ports.ts';
import type { Peers, Replica } from '../../services/core/quorum/peers.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { decodeRing } from '../../services/core/ring/codec.ts';
import { compareVersions, formatVersion, type Ring } from '../../services/core/ring/ring.ts';
import type { KeyRecord } from '../../services/core/versioning/record.ts';
import { toOperationError } from '../../services/platform/errors.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';
import { createMemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import { createRingSource } from '../../services/platform/ring-source.ts';
import { handshakeOf, refusalOf, refusalOfWelcome } from '../../services/platform/streams/handshake.ts';
import { inHand } from '../../services/storage-node/after-leaving.ts';
import { type AssembledNode, assembleStorageNode } from '../../services/storage-node/assemble.ts';
import { listLosers } from '../../services/storage-node/losers.ts';
import { type Forward, runOperation } from '../../services/storage-node/operations.ts';
import { bufferLimits, type RecordStore } from '../../services/storage-node/record-store.ts';
import { Violation } from '../oracle/violation.ts';
import type { NodeLife } from './births.ts';
import { createNodeClock } from './clock.ts';
import { createDiskTimes, type SimulatedDiskTimes } from './disk.ts';
import type { History } from './history.ts';
import { keysOf, storageKeyOf } from './keys.ts';
import type { Marks } from './marks.ts';
import type { CountingMetrics } from './metrics.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import { createSimulatedPeers, serveExchange, serveReplica } from './peers.ts';
import { createSimulatedPool, createUnderWay, isForwarded, receive } from './pool.ts';
import type { Profile } from './profile.ts';
import type { SeededRandom } from './random.ts';
import { decodeRingReport, encodeRingReport } from './ring-report.ts';
import type { Scheduler } from './scheduler.ts';
import { ConnectionLost, createWire, type Wire } from './wire.ts';

/** As the real process waits for the operations in flight when it stops, and before it ends for its disk. */
const drainMsMax = 400;
const exitMsMax = 500;
const noBytes = new Uint8Array(0);

export interface SimulatedNode {
  readonly name: string;
  readonly state: 'down' | 'up' | 'stopping';
  /** Milliseconds that its wall clock is off. */
  wallSkewMs: number;
  readonly diskTimes: SimulatedDiskTimes;
  /** Writes that a crash now may lose. */
  readonly uncertainWrites: number;
  readonly diskBroken: boolean;
  /** Records of its disk may be missing, and it has not pulled them again yet. */
  readonly isIncomplete: boolean;
  /** Records of which only its memory has the latest state. */
  readonly buffered: number;
  /** How often it has ended otherwise than cleanly: what only its memory had was lost then. */
  readonly crashes: number;
  start(): void;
  /** Of the uncertain writes the oldest `survivors` are left. */
  crash(survivors: number): void;
  /** As on SIGTERM. `onStopped` is not called where it crashes first. */
  stop(onStopped: () => void): void;
  failDisk(): void;
  touchDirectory(): void;
  /** While it is down. It knows that some are gone, not which. `hints`: the index of them is gone too. */
  loseRecords(keys: readonly string[], hints: boolean): void;
  /** It crashes, for good: another node has to take its place. */
  loseDisk(): void;
  /** It crashes, and another one takes its place: but it only starts no more until `comeBack`. */
  goAway(survivors: number): void;
  /** As `goAway`, but it goes on running where nobody hears of it: `rejoin` is called when it comes back. */
  cutOff(rejoin: () => void): void;
  comeBack(): void;
  /** It has left the ring, and is taken away with its disk: nobody needs anything of it. */
  takeAway(): void;
  /** Taken for lost, and not back yet. */
  readonly isAway: boolean;
  /** Its disk was lost, or was taken for lost. */
  readonly isGivenUp: boolean;
  /** It has been told that what it has is out of date: it hands nothing over. */
  readonly isLeftBehind: boolean;
  /** What its disk has of the key, for certain. */
  onDisk(key: string): KeyRecord | 'damaged' | undefined;
  flipBit(key: string, bit: number): void;
  /** Nodes that it owes something to; only while it is up. */
  readonly owes: readonly string[];
  /** It compares, verifies and removes nothing by itself any more. */
  pauseBackground(): void;
  /** Compares all that it can, once; how many records moved. */
  compareAll(): Promise<number>;
  /** One look for what may be let go; resolves with how many records were. */
  collectAll(): Promise<number>;
  /** Compares its digests with its records; how many leaves are wrong. */
  verifyDigests(): Promise<number>;
  /** As a node that learns that it was restored. */
  renewBirths(): void;
  /** What it holds now; only while it is up. */
  held(storageKey: Uint8Array): Promise<Uint8Array | undefined>;
  /** The dots in its ledger of losers; only while it is up. */
  losers(namespace: string): Promise<ReadonlySet<string>>;
}

export interface SimulatedNodeOptions {
  readonly name: string;
  readonly profile: Profile;
  /** As it knows it before its first start. */
  readonly ring: Ring;
  /** Of all storage nodes that there will ever be. */
  readonly names: readonly string[];
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly history: History;
  readonly marks: Marks;
  readonly metrics: CountingMetrics;
  readonly wallClocksRight: boolean;
  /** Nodes compare their replicas by themselves, where the seed says so, verify their digests, and remove old losers. */
  inBackground(): boolean;
  /** It ended by itself. */
  onExit(node: SimulatedNode): void;
}

type Decide = Parameters<RecordStore['change']>[1];

interface Life extends NodeLife {
  alive: boolean;
  draining: boolean;
  inFlight: number;
  onIdle: () => void;
}

interface Running {
  readonly life: Life;
  readonly engine: StorageEngine;
  readonly assembled: AssembledNode;
  readonly clock: Clock;
  readonly wire: Wire;
  /** Before it resolves it serves nobody. */
  readonly opened: Promise<void>;
}

export function createSimulatedNode(options: SimulatedNodeOptions): SimulatedNode {
  const { name, profile, names, scheduler, random, network, oracle, history, marks, metrics } = options;
  let disk = createMemoryDisk();
  let isLost = false;
  let isAway = false;
  let isGivenUp = false;
  let rejoinNow = () => {};
  /** On its disk. */
  let keptRing = options.ring;
  const diskTimes = createDiskTimes(scheduler, random.fork('disk'), profile.disk);
  let lives = 0;
  let endedBy: NodeLife['startedAfter'] = 'nothing';
  let running: Running | undefined;
  let diskBroken = false;
  let crashes = 0;
  const wallSkew = () => (options.wallClocksRight ? 0 : node.wallSkewMs);
  const termsOf = (nodeId: string) => {
    return { nodeId, clusterId: 'simulated', replicas: profile.replicas, settings: new Map<string, string>() };
  };

  /** As a stream begins: both ends look at the handshake of the other. */
  function accepts(to: string): boolean {
    const there = termsOf(network.at(to));
    const refusal =
      refusalOf(handshakeOf(termsOf(name), to), there) ?? refusalOfWelcome(handshakeOf(there, ''), termsOf(name), to);
    if (refusal !== undefined) marks.add('a node was refused that had the address of another');
    return refusal === undefined;
  }

  function start(): void {
    if (running !== undefined) throw new Error(`${name} runs already`);
    if (isLost || isAway) return;
    const number = lives++;
    const own = random.fork(`life ${number}`);
    const opened = openMemoryEngine(disk, { random: own.fork('lineage'), schedule: diskTimes.schedule });
    const life: Life = {
      node: name,
      number,
      get lineage() {
        return opened.lineage;
      },
      startedAfter: endedBy,
      alive: true,
      draining: false,
      inFlight: 0,
      onIdle: () => {},
    };
    for (const key of keysOf(profile)) {
      const kept = node.onDisk(key);
      if (kept !== undefined && kept !== 'damaged') oracle.cuts.learns(life, key, kept.clock);
    }
    diskBroken = false;
    const alive = () => life.alive;
    const clock = createNodeClock({ scheduler, random: own.fork('clock'), alive, wallSkew });
    const others = names.filter((id) => id !== name);
    const wire = createWire({ from: name, others, network, scheduler, random: own.fork('wire'), alive, accepts });
    const engine = watched(opened, life);
    const rings = createRingSource(keptRing);
    const bare = assembleStorageNode({
      id: name,
      engine,
      peers: watchedPeers(createSimulatedPeers(name, wire, clock, () => own.fraction(), marks)),
      clock,
      random: own.fork('births'),
      hash: xxh64,
      checksum: checksum32,
      log: complaining,
      metrics,
      cacheBytesMax: profile.cacheBytesMax,
      hintsPerNodeMax: profile.hintsPerNodeMax,
      digestDepth: 8,
      exchangeEveryMs: profile.exchangeEveryMs,
      verifyEveryMs: profile.exchangeEveryMs,
      collectAfterMs: profile.collectAfterMs,
      losersBytesMax: 1024 * 1024,
      requestsMax: profile.requestsMax,
      buffer: { ...bufferLimits, recordsMax: profile.bufferRecordsMax },
      ring: () => rings.current(),
      learnRing,
      namespace: (name) => findNamespace(profile.namespaces, name),
      onStorageFailure() {
        if (!life.alive || !diskBroken)
          return oracle.fail(new Error(`${name} says that its disk failed, which it has not`));
        history.note('storage failed', name);
        scheduler.after(random.between(0, exitMsMax), () => {
          if (!life.alive) return;
          marks.add('a disk failed, and its node stopped');
          node.crash(random.below(node.uncertainWrites + 1));
          options.onExit(node);
        });
      },
    });
    const assembled = watchedNode(bare, life);
    assembled.follow(keptRing);
    rings.subscribe((ring) => assembled.follow(ring));

    /** Once it is on the disk. */
    function goOver(ring: Ring): Promise<void> {
      return new Promise((resolve) => {
        diskTimes.schedule('sync', () => {
          if (!life.alive) return;
          if (compareVersions(ring.version, keptRing.version) > 0) {
            keptRing = ring;
            history.note('went over to ring', name, formatVersion(ring.version));
            rings.set(ring);
          }
          resolve();
        });
      });
    }

    async function learnRing(nodeId: string): Promise<void> {
      try {
        const { ring } = decodeRingReport(await wire.call(nodeId, 'ring', noBytes));
        await goOver(ring);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
      }
    }

    /** Takes a ring in, where one is sent, and says what it knows. */
    async function serveRing(bytes: Uint8Array): Promise<Uint8Array> {
      if (bytes.length > 0) await goOver(decodeRing(RingMessage.decode(bytes)));
      const said = { id: name, ring: keptRing, pulled: assembled.transfers.pulled() };
      // Marks are worked off by exchanges, which begin only afterwards in many seeds.
      const withoutMarks = (all: number) => all - assembled.hints.marks().length;
      const owes = await inHand(assembled).then(withoutMarks, () => 1); // 1: its disk has failed
      return encodeRingReport({ ...said, owes });
    }

    const forwarding = { wire, forwarded: true, random: own.fork('forwarding') };
    const pool = createSimulatedPool({ ...forwarding, scheduler, oracle, after: clock.after });
    const underWay = createUnderWay(({ id, put }) => {
      marks.add('a coordinator was told that nobody waits any more');
      if (put !== undefined) oracle.cancelled(name, put.requestId, id, scheduler.now());
    });
    const forward: Forward = async (nodeId, operation, { deadline, cancellation }) => {
      marks.add('an operation was forwarded');
      const timeoutMs = Math.max(1, Math.ceil(deadline - clock.now()));
      const answer = await pool.send(nodeId, { ...operation, timeoutMs }, timeoutMs, cancellation);
      if (answer instanceof Failure) throw answer;
      return answer;
    };

    async function serveOperation(bytes: Uint8Array): Promise<Uint8Array> {
      const { operation, ageMs } = receive(bytes, scheduler.now());
      const { id } = operation;
      const cancellation = underWay.begin(operation);
      if (cancellation === undefined) return noBytes;
      const timeoutMs = Math.min(operation.timeoutMs || requestLimits.timeoutMsDefault, requestLimits.timeoutMsMax);
      life.inFlight++;
      let result: Omit<Result, 'id'>;
      try {
        if (life.draining) throw new Failure('DRAINING', 'this process is going away');
        const arrival = {
          deadline: clock.now() - ageMs + timeoutMs,
          forwarded: isForwarded(id),
          cancellation,
        };
        result = await runOperation(assembled, forward, operation, arrival);
      } catch (error) {
        if (!(error instanceof Failure)) oracle.fail(error);
        const failure = error instanceof Failure ? error : new Failure('INTERNAL', 'a bug', { outcome: 'UNKNOWN' });
        result = { error: toOperationError(failure) };
      }
      underWay.end(id);
      life.inFlight--;
      if (life.inFlight === 0) life.onIdle();
      return Result.encode({ ...result, id }).finish();
    }

    const serving = assembled.open().then(() => {
      if (life.alive && !life.draining) serve();
    });
    running = { life, engine, assembled, clock, wire, opened: serving };

    function serve(): void {
      network.listen(name, (channel, message) => {
        if (channel === 'session') return serveOperation(message);
        if (channel === 'ring') return serveRing(message);
        if (channel === 'exchange') return serveExchange(assembled.replica, message);
        return serveReplica(watchedReplica(assembled.replica, life), clock, message);
      });
      if (options.inBackground()) {
        if (profile.exchangeEveryMs > 0) assembled.exchanges.start();
        assembled.verification.start();
        assembled.collection.start();
      } else assembled.losers.stop();
      assembled.transfers.start();
      assembled.refill.start();
    }

    history.note('started', name, `after ${endedBy}, lineage ${engine.lineage.toString(16)}`);
  }

  /** Every record that is written is looked at on its way. What is read is known some time after it was looked up. */
  function watched(engine: StorageEngine, life: Life): StorageEngine {
    return {
      ...engine,
      get lineage() {
        return engine.lineage;
      },
      get isIncomplete() {
        return engine.isIncomplete;
      },
      async getMany(space, keys) {
        const values = await engine.getMany(space, keys);
        await new Promise<void>((resolve) => {
          diskTimes.schedule('read', () => {
            if (life.alive) resolve();
          });
        });
        return values;
      },
      async write(mutations, sync) {
        for (const { space, key, prefix = noBytes, value } of mutations) {
          if (space !== 'records') continue;
          if (value !== undefined) oracle.stored(life, key, Buffer.concat([prefix, value]));
          else {
            marks.add('a record went with its last hint');
            oracle.dropped(life, key);
          }
        }
        await engine.write(mutations, sync);
        history.note(sync ? 'synced' : 'wrote', name, String(mutations.length));
      },
    };
  }

  /** What its coordinators make of their own records is looked at, step by step. */
  function watchedNode(node: AssembledNode, life: Life): AssembledNode {
    const { store } = node;
    const watched = (key: Uint8Array, decide: Decide): Decide => {
      return (held) => {
        const next = decide(held);
        oracle.changed(life, key, held.record, next?.copy ?? held);
        return next;
      };
    };
    const change: RecordStore['change'] = (key, decide, ...how) => store.change(key, watched(key, decide), ...how);
    const changeNow: RecordStore['changeNow'] = (key, decide, ...how) =>
      store.changeNow(key, watched(key, decide), ...how);
    // Not spread: its counts are getters.
    return { ...node, store: Object.create(store, { change: { value: change }, changeNow: { value: changeNow } }) };
  }

  /** What is merged here and cut in the same batch is never stored, and was known all the same. */
  function watchedReplica(replica: Replica, life: Life): Replica {
    return {
      ...replica,
      write(message) {
        oracle.received(life, message.key, message.record);
        return replica.write(message);
      },
    };
  }

  function watchedPeers(peers: Peers): Peers {
    return {
      reachable: (nodeId) => peers.reachable(nodeId),
      connected: (nodeId) => peers.connected(nodeId),
      onReachable: (listener) => peers.onReachable(listener),
      replica(nodeId) {
        const replica = peers.replica(nodeId);
        return {
          ...replica,
          write(message) {
            oracle.sent(message.key, message.record, `a record that ${name} sent to ${nodeId}`);
            return replica.write(message);
          },
        };
      },
    };
  }

  /** A node that logs an error, or a warning, has met something that should not happen here. */
  const complain: Log['error'] = (fields, message) => {
    if ('leftBehind' in fields) return;
    if ('lostKey' in fields) return oracle.lost(name, Buffer.from(String(fields.lostKey), 'hex'));
    oracle.fail(new Violation('no bug', `${name} logged: ${message} ${JSON.stringify(fields)}`));
  };
  const complaining: Log = { debug() {}, info() {}, warn: complain, error: complain };

  function end(how: NodeLife['startedAfter']): void {
    if (running === undefined) return;
    if (how === 'a crash') crashes++;
    running.life.alive = false;
    running = undefined;
    endedBy = how;
    network.silence(name);
  }

  const node: SimulatedNode = {
    name,
    diskTimes,
    wallSkewMs: random.between(-profile.wallSkewMs, profile.wallSkewMs),
    get state() {
      if (running === undefined) return 'down';
      return running.life.draining ? 'stopping' : 'up';
    },
    get uncertainWrites() {
      return disk.uncertainWrites;
    },
    get diskBroken() {
      return diskBroken;
    },
    get isIncomplete() {
      return disk.isIncomplete;
    },
    get buffered() {
      return running?.assembled.store.pendingRecords ?? 0;
    },
    get crashes() {
      return crashes;
    },
    get owes() {
      return running?.assembled.hints.nodes() ?? [];
    },
    start,

    crash(survivors) {
      const { uncertainWrites } = disk;
      history.note('crashed', name, `${survivors} of ${uncertainWrites} unsynced writes are left`);
      if (survivors < uncertainWrites) marks.add('a crash lost unsynced writes');
      if (survivors > 0) marks.add('a crash left some of the unsynced writes');
      end('a crash');
      disk.crash(survivors);
    },

    // In the order of server.ts.
    stop(onStopped) {
      if (running === undefined) throw new Error(`${name} does not run`);
      const { life, assembled, engine, wire, opened } = running;
      history.note('stopping', name);
      life.draining = true;
      let closing = false;
      const close = async () => {
        if (closing || !life.alive) return;
        closing = true;
        await opened;
        network.silence(name);
        wire.close();
        await assembled.close();
        const { pendingRecords } = assembled.store;
        if (life.alive && !diskBroken && pendingRecords > 0) {
          oracle.fail(new Violation('P1', `${name} stops, and ${pendingRecords} records are in its memory only`));
        }
        await engine.close();
        if (!life.alive) return;
        history.note('stopped', name);
        end(diskBroken ? 'a crash' : 'a clean stop');
        onStopped();
      };
      life.onIdle = () => void close();
      if (life.inFlight === 0) void close();
      else scheduler.after(drainMsMax, () => void close());
    },

    failDisk() {
      if (running === undefined || diskBroken) return;
      history.note('disk fails', name);
      diskBroken = true;
      disk.failWrites(new Error('EIO'));
    },

    get isAway() {
      return isAway;
    },

    get isGivenUp() {
      return isGivenUp;
    },

    get isLeftBehind() {
      return running?.assembled.barriers.isLeftBehind ?? false;
    },

    goAway(survivors) {
      node.crash(survivors);
      isAway = true;
      isGivenUp = true;
      oracle.diskLost(name);
    },

    cutOff(rejoin) {
      history.note('is cut off, and taken for lost', name);
      marks.add('a node was taken for lost while it ran');
      isAway = true;
      isGivenUp = true;
      rejoinNow = rejoin;
      oracle.diskLost(name);
    },

    comeBack() {
      history.note('comes back', name);
      marks.add('a node that was taken for lost came back');
      isAway = false;
      rejoinNow();
      rejoinNow = () => {};
      if (running === undefined) start();
    },

    takeAway() {
      history.note('taken away', name);
      end('a clean stop');
      disk.crash();
      disk = createMemoryDisk();
      isLost = true;
    },

    loseDisk() {
      end('a crash');
      isGivenUp = true;
      // None of the promises of the old one settles any more.
      disk.crash();
      disk = createMemoryDisk();
      isLost = true;
      oracle.diskLost(name);
    },

    loseRecords(keys, hints) {
      disk.lose(keys.map(storageKeyOf), hints ? ['hints'] : []);
      endedBy = 'a crash';
    },

    touchDirectory() {
      marks.add('a directory was touched while its node was stopped');
      history.note('directory touched', name);
      disk.touch();
      endedBy = 'a crash';
    },

    onDisk(key) {
      const stored = disk.settled('records', storageKeyOf(key));
      try {
        return stored && oracle.records.decode(oracle.records.decodeStored(stored).bytes);
      } catch {
        return 'damaged';
      }
    },

    flipBit(key, bit) {
      disk.flipBit('records', storageKeyOf(key), bit);
    },

    pauseBackground() {
      running?.assembled.exchanges.pause();
      running?.assembled.verification.pause();
      running?.assembled.collection.pause();
      running?.assembled.losers.stop();
    },

    verifyDigests: async () => running?.assembled.verification.verifyAll() ?? 0,

    collectAll: async () => running?.assembled.collection.collectAll() ?? 0,

    compareAll: async () => running?.assembled.exchanges.compareAll() ?? 0,

    renewBirths() {
      if (running === undefined) return;
      running.engine.renewLineage();
      history.note('births renewed', name);
    },

    async held(storageKey) {
      if (running === undefined) throw new Error(`${name} does not run`);
      const { assembled, clock } = running;
      return assembled.replica.read({ key: storageKey, deadline: clock.now() + 1_000 });
    },

    async losers(namespace) {
      if (running === undefined) throw new Error(`${name} does not run`);
      const dots = new Set<string>();
      let pageToken: Buffer = Buffer.alloc(0);
      do {
        const page = await listLosers(running.assembled, { namespace, key: Buffer.alloc(0), pageToken });
        for (const { dot } of page.losers) dots.add(dot);
        pageToken = page.pageToken;
      } while (pageToken.length > 0);
      return dots;
    },
  };
  return node;
}
