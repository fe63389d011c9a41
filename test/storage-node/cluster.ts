/** Assembled storage nodes in one process, joined by Peers that call each other, on a clock the test moves. */
import type { Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type Cancellation, neverCancelled, type Until } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import { findNamespace, type Namespace } from '../../services/core/namespaces/namespace.ts';
import type { StorageEngine } from '../../services/core/ports.ts';
import type { Replica } from '../../services/core/quorum/peers.ts';
import { partitionOf } from '../../services/core/ring/partition.ts';
import { compareVersions, createRing, type Ring } from '../../services/core/ring/ring.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import type { KeyRecord } from '../../services/core/versioning/record.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';
import {
  createMemoryDisk,
  type DiskAction,
  type MemoryDisk,
  openMemoryEngine,
} from '../../services/platform/memory-engine.ts';
import { type AssembledNode, assembleStorageNode } from '../../services/storage-node/assemble.ts';
import { backgroundLimits } from '../../services/storage-node/background.ts';
import { runOperation } from '../../services/storage-node/operations.ts';
import { createManualClock, type ManualClock } from '../core/manual-clock.ts';
import { silentLog } from '../platform/recording-log.ts';
import { createReadableMetrics, type ReadableMetrics } from './metrics.ts';

export type Call = 'read' | 'write' | 'scan' | 'inspect' | 'exchange';

export interface TestNode {
  readonly id: string;
  readonly node: AssembledNode;
  readonly disk: MemoryDisk;
  readonly engine: StorageEngine;
  readonly metrics: ReadableMetrics;
  /** Others know that it is down. */
  reachable: boolean;
  /** It cannot be reached, and is connected still. */
  silent: boolean;
  /** What others' calls meet: an answer, a failure, or silence. */
  answers: 'yes' | 'no' | 'never';
  /** Its own reads of the disk wait until this is undefined again. */
  stalledDisk: (() => void)[] | undefined;
  /** Calls of others, by kind. */
  readonly calls: Call[];
  /** As it knows it. */
  ring: Ring;
}

export interface Cluster {
  /** The one that all nodes know, until `goOver` tells some of another. */
  readonly ring: Ring;
  readonly clock: ManualClock;
  readonly nodes: readonly TestNode[];
  /** What all nodes know, besides the built-in one. */
  readonly namespaces: Map<string, Namespace>;
  /** Operations that were sent on: from, to. */
  readonly forwards: [string, string][];
  /** What every forward meets instead of an answer. */
  refuseForwards: Failure | undefined;
  node(i: number): TestNode;
  /** The homes of a key, in preference order. */
  homes(key: string): TestNode[];
  run(
    at: TestNode,
    operation: Partial<Operation>,
    options?: { timeoutMs?: number; forwarded?: boolean; cancellation?: Cancellation },
  ): Promise<Omit<Result, 'id'>>;
  /** The nodes learn of a newer ring. */
  goOver(targets: readonly TestNode[], ring: Ring): void;
  /** Everybody learns that the node can be reached, or cannot. */
  setReachable(target: TestNode, reachable: boolean): void;
  /** What the node's disk and overlay hold of the key. */
  held(at: TestNode, key: string): Promise<KeyRecord | undefined>;
  storageKey(key: string): Uint8Array;
}

export interface ClusterOptions {
  readonly nodes?: number;
  readonly partitions?: number;
  readonly wallNow?: () => number;
  readonly hintsPerNodeMax?: number;
  readonly cacheBytesMax?: number;
  readonly exchangeEveryMs?: number;
  /** One for each node where it is not given. */
  readonly zoneOf?: (index: number) => string;
  readonly losersBytesMax?: number;
  /** That nodes know when they start; by default each key's homes are three in a row. */
  readonly ring?: Ring;
  /** In the place of the one in memory, whose disk then has nothing. */
  readonly engine?: (index: number) => StorageEngine;
}

export function createCluster(options: ClusterOptions = {}): Cluster {
  const { nodes: count = 3, partitions = 8, wallNow, hintsPerNodeMax = 1_000 } = options;
  const clock = createManualClock(wallNow);
  const owners = new Uint16Array(partitions * 3);
  for (let partition = 0; partition < partitions; partition++) {
    for (let i = 0; i < 3; i++) owners[partition * 3 + i] = (partition + i) % count;
  }
  const usual = createRing({
    version: { term: 1n, sequence: 4n },
    partitions,
    replicas: 3,
    nodes: Array.from({ length: count }, (_, index) => {
      return {
        index,
        id: `n${index}`,
        address: `h${index}:1`,
        host: `h${index}`,
        zone: options.zoneOf?.(index) ?? `z${index}`,
        status: 'UP' as const,
      };
    }),
    owners,
    pending: new Map(),
  });
  const { ring = usual } = options;
  const namespaces = new Map<string, Namespace>();
  const forwards: [string, string][] = [];
  const nodes: TestNode[] = [];
  const reachableListeners = new Set<(nodeId: string) => void>();
  for (let i = 0; i < count; i++) nodes.push(createNode(i));

  function createNode(index: number): TestNode {
    const id = `n${index}`;
    let drawn = BigInt(index + 1) << 32n;
    const random = { u64: () => ++drawn, below: () => 0 };
    const disk = createMemoryDisk();
    const schedule = (_action: DiskAction, run: () => void) => {
      if (self.stalledDisk === undefined) queueMicrotask(run);
      else self.stalledDisk.push(run);
    };
    const engine = options.engine?.(index) ?? openMemoryEngine(disk, { random, schedule });
    const metrics = createReadableMetrics();
    const node = assembleStorageNode({
      id,
      engine,
      peers: {
        reachable: (nodeId) => find(nodeId).reachable,
        connected: (nodeId) => find(nodeId).reachable || find(nodeId).silent,
        onReachable: (listener) => reachableListeners.add(listener),
        replica: (nodeId) => remote(find(nodeId), id),
      },
      clock,
      random,
      hash: xxh64,
      checksum: checksum32,
      // What one test does before it lets time pass waits for nothing.
      background: { ...backgroundLimits, floor: 0.5 },
      log: silentLog,
      metrics,
      cacheBytesMax: options.cacheBytesMax ?? 100_000,
      hintsPerNodeMax,
      digestDepth: 12,
      exchangeEveryMs: options.exchangeEveryMs ?? 60_000,
      verifyEveryMs: 60_000,
      collectAfterMs: 60_000,
      losersBytesMax: options.losersBytesMax ?? 1_000_000,
      requestsMax: 1_000,
      ring: () => self.ring,
      async learnRing(nodeId) {
        const { ring: theirs } = find(nodeId);
        if (compareVersions(theirs.version, self.ring.version) > 0) cluster.goOver([self], theirs);
      },
      namespace: (name) => findNamespace(namespaces, name),
      onStorageFailure() {},
    });
    const self: TestNode = {
      id,
      node,
      disk,
      engine,
      metrics,
      reachable: true,
      silent: false,
      answers: 'yes',
      stalledDisk: undefined,
      calls: [],
      ring,
    };
    node.follow(ring);
    return self;
  }

  function find(id: string): TestNode {
    const found = nodes[Number(id.slice(1))]; // not looked for: what is measured with many nodes would be that
    if (found === undefined) throw new Error(`node ${id} is not in the ring`);
    return found;
  }

  /** The node's replica as others meet it: at the end of a turn, and only with copies. */
  function remote(target: TestNode, from: string): Replica {
    async function call<T>(kind: Call, answer: () => Promise<T>): Promise<T> {
      target.calls.push(kind);
      await new Promise(setImmediate);
      if (target.answers === 'never') await new Promise(() => {});
      if (target.answers === 'no')
        throw new Failure('NOT_ENOUGH_REPLICAS', `no answer from ${target.id}`, { outcome: 'UNKNOWN' });
      return answer();
    }
    const { replica } = target.node;
    return {
      write: (message) => call('write', () => replica.write({ ...message, record: Buffer.from(message.record), from })),
      read: (message) =>
        call('read', async () => {
          const bytes = await replica.read(message);
          return bytes && Buffer.from(bytes);
        }),
      inspect: (message) => call('inspect', () => replica.inspect(message)),
      scan: (message) => call('scan', () => replica.scan(message)),
      exchange: (message) => call('exchange', () => replica.exchange(message)),
    };
  }

  const keyOf = (key: string) => storageKey('default', Buffer.from(key), xxh64);

  const cluster: Cluster = {
    ring,
    clock,
    nodes,
    namespaces,
    forwards,
    refuseForwards: undefined,
    storageKey: keyOf,
    node: (i) => nodes[i] as TestNode,
    homes(key) {
      const partition = partitionOf(xxh64(keyOf(key).subarray(8)), ring);
      return [0, 1, 2].map((i) => nodes[owners[partition * 3 + i] as number] as TestNode);
    },
    run(at, operation, { timeoutMs = 1_000, forwarded = false, cancellation = neverCancelled } = {}) {
      const forward = (to: string, sent: Operation, { deadline, cancellation }: Until) => {
        forwards.push([at.id, to]);
        if (cluster.refuseForwards !== undefined) return Promise.reject(cluster.refuseForwards);
        return runOperation(find(to).node, refuseToForward, sent, {
          deadline,
          cancellation,
          forwarded: true,
        });
      };
      const whole = { id: 1n, timeoutMs, ...operation };
      return runOperation(at.node, forward, whole, {
        deadline: clock.now() + timeoutMs,
        forwarded,
        cancellation,
      });
    },
    setReachable(target, reachable) {
      target.reachable = reachable;
      if (reachable) for (const listener of reachableListeners) listener(target.id);
    },
    goOver(targets, next) {
      for (const target of targets) {
        target.ring = next;
        target.node.follow(next);
      }
    },
    async held(at, key) {
      const bytes = await at.node.store.read(keyOf(key));
      return bytes && at.node.records.decode(bytes);
    },
  };
  return cluster;
}

function refuseToForward(): Promise<never> {
  throw new Error('an operation that was sent on must not be sent on again');
}
