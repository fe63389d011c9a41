import type { Certificate, Placement, Receipt } from '../proto/gen/cartwheel/kv/v1/kv.ts';
import type { ReasonName } from '../services/core/failure.ts';
import type { DurabilityName } from '../services/core/namespaces/namespace.ts';

/** Strings are taken as UTF-8. */
export type Key = string | Uint8Array;
export type Value = string | Uint8Array;

/** One of the concurrent values of a key. */
export interface Sibling {
  readonly value: Buffer;
  /** The identity of the write; for people, and for `GetOptions.dots`. */
  readonly dot: string;
  /** The coordinator's wall clock; decides only where the last writer wins. */
  readonly writtenAt: Date;
  /** Until it expires; absent: it does not. */
  readonly ttlLeftMs?: number;
}

export interface GetAnswer {
  /** Empty where the key has no value. */
  readonly siblings: readonly Sibling[];
  /** To put or delete with: it covers all siblings, the omitted too. */
  readonly context: Buffer;
  /** Dots of siblings that were left out for their size. */
  readonly omitted: readonly string[];
  /** What the answer rests on. */
  readonly certificate: Certificate;
}

export interface PutAnswer {
  /** What was put with, and this write; to put or delete with next. */
  readonly context: Buffer;
  /** Values that the key has now, as the coordinator sees it. */
  readonly siblings: number;
  readonly receipt: Receipt;
}

/** A value that was acknowledged, and beaten by a later one which had been written without knowing of it. */
export interface Loser {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly dot: string;
  readonly writtenAt: Date;
  /** The dot of the write that beat it. */
  readonly lostTo: string;
  /** When the node that was asked learned of both. */
  readonly lostAt: Date;
}

/** A key that a process is asked for often; the rates are those of the last half minute or so. */
export interface HotKey {
  readonly namespace: string;
  readonly key: Buffer;
  /** Seen for certain; up to `errorPerSecond` more may have been. */
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly errorPerSecond: number;
  /** Of all operations of the process, 0 to 1; too high by what `errorPerSecond` is of them. */
  readonly share: number;
}

export interface OperationOptions {
  readonly namespace?: string | undefined;
  /** Default 10,000. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** W3C Trace Context of what this is a part of, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. */
  readonly traceparent?: string | undefined;
}

export interface GetOptions extends OperationOptions {
  /** Replicas that must answer, 1 to N. */
  readonly r?: number | undefined;
  /** Value bytes in the answer; at least one sibling comes. */
  readonly maxBytes?: number | undefined;
  /** Only these siblings. */
  readonly dots?: readonly string[] | undefined;
  /**
   * The context of this client's last answer for the key: this answer covers it, or its certificate says that this
   * cannot be shown. Its context then covers values that are not in it: read again before writing with it.
   */
  readonly session?: Uint8Array | undefined;
}

export interface WriteOptions extends OperationOptions {
  /** Replicas that must acknowledge it, 1 to N. */
  readonly w?: number | undefined;
  /** What they have to do for that; the namespace's where it is not said. The receipt tells who has it on disk. */
  readonly durability?: DurabilityName | undefined;
  /** Up to 32 bytes; attempts with one id are one write, where `attempt` counts them. One is made where there is none. */
  readonly requestId?: Uint8Array | undefined;
  /** How often the caller has tried this write before, with this request id; then it is asked first what became of it. */
  readonly attempt?: number | undefined;
}

export interface PutOptions extends WriteOptions {
  /** Of the get or put before; without it the value is a sibling of whatever is there. */
  readonly context?: Uint8Array | undefined;
  /** How long it is to be seen, at least 1; the namespace's where it is not said. */
  readonly ttlMs?: number | undefined;
  /** On how many disks, hosts and zones it has to be before it is acknowledged, beside W replicas. */
  readonly require?: Partial<Placement> | undefined;
}

export interface UpdateOptions extends OperationOptions {
  /** As of a get. Where it cannot be shown that what was read covers it nothing is written. */
  readonly session?: Uint8Array | undefined;
  readonly ttlMs?: number | undefined;
  readonly r?: number | undefined;
  readonly w?: number | undefined;
  readonly durability?: DurabilityName | undefined;
}

/** One operation that has come to its end, as `ConnectOptions.onOperation` is told. */
export interface OperationEvent {
  readonly operation: 'get' | 'put' | 'delete';
  readonly namespace: string;
  /** From the call to its end, retries included. */
  readonly milliseconds: number;
  /** Processes that were asked, one after the other; 0: it failed before. */
  readonly attempts: number;
  /** host:port of the one asked last. */
  readonly address: string | undefined;
  /** Undefined: it succeeded; `ABORTED`: by its signal. */
  readonly reason: ReasonName | 'ABORTED' | undefined;
}
