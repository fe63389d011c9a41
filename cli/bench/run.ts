/**
 * Drives a store with a workload and measures it.
 *
 * Closed loop: each worker sends its next operation when the last one is answered. Open loop: operations are due
 * at a fixed rate, whatever the answers; the latency counts from the time an operation was due, so that a stall
 * is seen by every operation that had to wait for it (no coordinated omission). None is counted as less than it took.
 *
 * A put carries the context of this client's last answer for the key, so that it replaces and adds no sibling.
 */
import { build, type Histogram } from 'hdr-histogram-js';
import type { CartwheelClient, OperationOptions, WriteOptions } from '../../client/index.ts';
import { isOperationFailed } from '../connection.ts';
import { pause } from '../pause.ts';
import { keyChooser, keyName, type Workload } from './workload.ts';

export interface BenchPlan {
  readonly workload: Workload;
  readonly value: Uint8Array;
  /** Workers: the most operations in flight. */
  readonly concurrency: number;
  /** Operations a second that are due; undefined: closed loop. */
  readonly rate: number | undefined;
  /** `durability` is of writes alone. */
  readonly operation: OperationOptions & Pick<WriteOptions, 'durability'>;
  readonly signal: AbortSignal;
}

export interface BenchResult {
  readonly seconds: number;
  /** Latencies in microseconds of operations that succeeded. */
  readonly reads: Histogram;
  readonly writes: Histogram;
  readonly errors: ReadonlyMap<string, number>;
}

type BenchStore = Pick<CartwheelClient, 'get' | 'put'>;

/** One minute: what takes longer counts as that. */
const latencyMaxMicroseconds = 60_000_000;
const connectKeys = 64;

export class Bench {
  private readonly store: BenchStore;
  private readonly plan: BenchPlan;
  /** Of the last answer for each key; at most as many as the workload has keys. */
  private readonly contexts = new Map<string, Uint8Array>();

  constructor(store: BenchStore, plan: BenchPlan) {
    this.store = store;
    this.plan = plan;
  }

  /** Writes every key once. Throws the first error. */
  async loadKeys(onWritten: (n: number) => void): Promise<void> {
    let next = 0;
    await this.withWorkers(async () => {
      while (next < this.plan.workload.keys && !this.plan.signal.aborted) {
        const key = keyName(next++);
        // Read first: what an earlier run left is replaced, and not given a sibling.
        await this.get(key);
        await this.put(key);
        onWritten(next);
      }
    });
  }

  /**
   * Reads a few keys and forgets the answers: the sessions are open then, to every node that is there (a part of any
   * number of keys leads to each), and connecting is not measured.
   */
  async connect(): Promise<void> {
    const keys = Math.min(this.plan.workload.keys, connectKeys);
    await Promise.allSettled(Array.from({ length: keys }, (_, i) => this.store.get(keyName(i), this.plan.operation)));
  }

  /** For so long, or until `over`. */
  async run(seconds: number, over?: AbortSignal): Promise<BenchResult> {
    const { rate, workload } = this.plan;
    const signal = over === undefined ? this.plan.signal : AbortSignal.any([this.plan.signal, over]);
    const reads = latencyHistogram();
    const writes = latencyHistogram();
    const errors = new Map<string, number>();
    const nextKey = keyChooser(workload, Math.random);
    const started = performance.now();
    const end = started + seconds * 1000;
    let slot = 0;
    await this.withWorkers(async () => {
      for (;;) {
        let due = Number.POSITIVE_INFINITY;
        if (rate !== undefined) {
          due = started + (slot++ * 1000) / rate;
          if (due >= end) return;
          await until(due, signal);
        }
        const now = performance.now();
        if (now >= end || signal.aborted) return;
        const from = Math.min(now, due); // a timer may be early
        const key = keyName(nextKey());
        const isRead = Math.random() < workload.reads;
        try {
          await (isRead ? this.get(key) : this.put(key));
          recordLatency(isRead ? reads : writes, performance.now() - from);
        } catch (error) {
          const reason = reasonOf(error);
          errors.set(reason, (errors.get(reason) ?? 0) + 1);
          if (rate === undefined) await pause(1); // a dead store is not asked in a busy loop
        }
      }
    });
    const took = (performance.now() - started) / 1000;
    // In an open loop the last operation may be due, and answered, well before the end.
    return { seconds: signal.aborted ? took : Math.max(seconds, took), reads, writes, errors };
  }

  private async get(key: string): Promise<void> {
    const answer = await this.store.get(key, this.plan.operation);
    if (answer.context.length > 0) this.contexts.set(key, answer.context);
  }

  private async put(key: string): Promise<void> {
    const context = this.contexts.get(key);
    const options = context === undefined ? this.plan.operation : { ...this.plan.operation, context };
    this.contexts.set(key, (await this.store.put(key, this.plan.value, options)).context);
  }

  private async withWorkers(work: () => Promise<void>): Promise<void> {
    await Promise.all(Array.from({ length: this.plan.concurrency }, work));
  }
}

/** Of latencies in microseconds. */
export function latencyHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: latencyMaxMicroseconds,
    numberOfSignificantValueDigits: 3,
  });
}

export function recordLatency(histogram: Histogram, milliseconds: number): void {
  histogram.recordValue(Math.min(Math.max(1, Math.round(milliseconds * 1000)), latencyMaxMicroseconds));
}

function reasonOf(error: unknown): string {
  if (isOperationFailed(error)) return error.reason;
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === 'number') return `gRPC status ${code}`;
  throw error; // a bug, not an answer
}

/** Resolves at `due`, early by less than a timer's grain of a millisecond; at once when it is past or all is over. */
async function until(due: number, signal: AbortSignal): Promise<void> {
  const wait = due - performance.now();
  if (wait <= 0 || signal.aborted) return;
  await pause(wait, signal);
}
