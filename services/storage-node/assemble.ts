/**
 * The data path of a storage node, put together from its ports: what a real process and the simulation run
 * alike.
 */
import { createContextCodec } from '../core/codec/context.ts';
import { createRecordCodec } from '../core/codec/record.ts';
import { createDeadlines } from '../core/deadlines.ts';
import type { Checksum32, Clock, Hash64, Log, Metrics, Random, StorageEngine } from '../core/ports.ts';
import { createHedgeBudget } from '../core/quorum/hedge-budget.ts';
import type { Peers } from '../core/quorum/peers.ts';
import { requestLimits } from '../core/requests/limits.ts';
import type { Ring } from '../core/ring/ring.ts';
import { createCoordinatorMetrics } from './coordinator-metrics.ts';
import { createLocalReplica } from './local-replica.ts';
import type { StorageNode } from './node.ts';
import { createRecordStore } from './record-store.ts';

export interface StorageNodePorts {
  readonly id: string;
  readonly engine: StorageEngine;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly hash: Hash64;
  readonly checksum: Checksum32;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Of records used last; 0: none. */
  readonly cacheBytesMax: number;
  ring(): Ring | undefined;
  /** The disk failed: what was acknowledged is in doubt, and nothing may be acknowledged any more. */
  onStorageFailure(error: unknown): void;
}

export function assembleStorageNode(ports: StorageNodePorts): StorageNode {
  const { id, engine, peers, clock, random, hash, log, metrics } = ports;
  const records = createRecordCodec(ports.checksum, (size) => Buffer.allocUnsafe(size));
  const store = createRecordStore({
    engine,
    codec: records,
    metrics,
    cacheBytesMax: ports.cacheBytesMax,
    endOfTurn: (run) => clock.endOfTurn(run),
    onFailure: (error) => ports.onStorageFailure(error),
  });
  return {
    id,
    lineage: () => engine.lineage,
    ring: () => ports.ring(),
    store,
    replica: createLocalReplica(store, records, clock),
    peers,
    records,
    validation: { limits: requestLimits, contexts: createContextCodec(hash), hash },
    clock,
    deadlines: createDeadlines(clock),
    hedges: createHedgeBudget(),
    random,
    metrics: createCoordinatorMetrics(metrics, log),
  };
}
