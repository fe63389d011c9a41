import type { ExchangeRequest, ExchangeResponse } from '../../../proto/gen/cartwheel/replica/v1/replica.ts';
import { Failure } from '../failure.ts';
import type { Dot } from '../versioning/causal-context.ts';

/** The port through which a coordinator reaches the other replicas. */

/** The node knows a ring by which others serve the partition, and has done nothing. */
export class RingMoved extends Error {
  readonly nodeId: string;

  constructor(nodeId: string) {
    super(`node ${nodeId} knows a newer ring`);
    this.name = 'RingMoved';
    this.nodeId = nodeId;
  }
}

/** The node is in a later era than the one in which the record was known (core/stability/era.ts), and has done nothing. */
export class EraMoved extends RingMoved {
  readonly era: number;

  constructor(nodeId: string, era: number) {
    super(nodeId);
    this.message = `node ${nodeId} is in era ${era}, which is later than that of the record`;
    this.name = 'EraMoved';
    this.era = era;
  }
}

/**
 * The node is in a later era than the one in which the record was known, and this one had left the ring when that began:
 * what it knows may have been let go (core/stability). Nothing was done, and nothing that it kept is of any use.
 */
export class LeftBehind extends Failure {
  constructor(message: string) {
    super('NOT_ENOUGH_REPLICAS', message);
    this.name = 'LeftBehind';
  }
}

export interface ReplicaWriteMessage extends Awaited, Placed, Traced {
  readonly key: Uint8Array;
  /** The record's encoding. */
  readonly record: Uint8Array;
  /** In which the sender came to know the record, or the oldest part of it (core/stability/era.ts). */
  readonly era: number;
  /** Acknowledge only what is on disk. */
  readonly sync: boolean;
  /** Without sync: acknowledge from memory, as far as the write buffer has room. */
  readonly buffered?: boolean;
  /** Id of the home that the receiver stands in for, and comes to owe the record to; empty for none. */
  readonly hintedFor: string;
  /** The request that made the record what it is, to be remembered. */
  readonly request?: RememberedRequest | undefined;
  /** On the sender's monotonic clock; what is left of it travels. */
  readonly deadline: number;
  /** Id of the node that sent it, where that is another than this. */
  readonly from?: string | undefined;
}

export interface RememberedRequest {
  readonly id: Uint8Array;
  /** Of its write. */
  readonly dot: Dot;
}

export interface ReplicaInspectMessage extends ReplicaReadMessage {
  /** Asks for the dot that the write of this request got. */
  readonly requestId?: Uint8Array;
}

/** What counts for a quorum names the epoch (ring.ts) of the ring it was placed by. Absent: any will do. */
export interface Placed {
  readonly epoch?: number | undefined;
}

/** Called once when the node comes to be suspected while it has not answered; it may still answer. */
export interface Awaited {
  readonly onSilent?: (() => void) | undefined;
}

/** What it is a part of, where that is traced (core/ports.ts). */
export interface Traced {
  readonly traceparent?: string | undefined;
}

export interface ReplicaReadMessage extends Awaited, Placed, Traced {
  readonly key: Uint8Array;
  readonly deadline: number;
  /** What the reader has of it: another replica that has the same need not send it (known-record.ts). */
  readonly known?: Uint8Array | undefined;
}

export interface ReplicaScanMessage {
  readonly start: Uint8Array;
  /** Undefined: to the end of the hash space. */
  readonly end: Uint8Array | undefined;
  readonly namespace: string;
  readonly prefix: Uint8Array;
  readonly limit: number;
}

export interface ScannedKey {
  readonly key: Uint8Array;
  /** Of the record: equal records have equal ones. */
  readonly checksum: number;
  readonly siblings: number;
}

export interface ScannedPage {
  readonly keys: readonly ScannedKey[];
  /** Where to go on; undefined: the range is done. */
  readonly next: Uint8Array | undefined;
}

/** What a replica says of its copy. */
export interface ReplicaCopyReport {
  readonly record: Uint8Array | undefined;
  /** Ids of the homes that it owes the record to. */
  readonly owed: readonly string[];
  /** Of the request that was asked for, where it is remembered. */
  readonly knownDot?: Dot | undefined;
}

/** What a replica does for others; the same on this node and, through Peers, on another. Placed calls may throw RingMoved. */
export interface Replica {
  /** Resolves when the record is merged and, with `sync`, on disk; without, written, or `buffered` where there is room. */
  write(message: ReplicaWriteMessage): Promise<void>;
  /** The record's encoding; undefined where there is none. */
  read(message: ReplicaReadMessage): Promise<Uint8Array | undefined>;
  inspect(message: ReplicaInspectMessage): Promise<ReplicaCopyReport>;
  scan(message: ReplicaScanMessage): Promise<ScannedPage>;
  /** One step of an exchange. */
  exchange(request: ExchangeRequest): Promise<ExchangeResponse>;
}

/** Other storage nodes by id. Every call may reject: with Failure, or with whatever the transport says. */
export interface Peers {
  /** False for a node that was just seen to fail, or is silent: to ask it is, most likely, to wait for nothing. */
  reachable(nodeId: string): boolean;
  /** It is connected, though it may be silent: the last to be asked. */
  connected(nodeId: string): boolean;
  /** Calls `listener` when a node can be reached again. */
  onReachable(listener: (nodeId: string) => void): void;
  replica(nodeId: string): Replica;
}
