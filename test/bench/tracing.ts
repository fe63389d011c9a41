/**
 * What traces cost where they are off, and where they are on: processor time of the same work, as ratios.
 *
 *     node test/bench/tracing.ts
 *
 * The work is what a node does with each operation besides its own logic: an operation is taken apart from a frame,
 * executed (nothing), and a write of it put into a frame for a replica. Variants take turns, and the least of all rounds
 * counts: other programs only ever add.
 */

import type { Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { SessionRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { ReplicateRequest } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { neverCancelled } from '../../services/core/cancellation.ts';
import { createClock } from '../../services/platform/clock.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import type { Execute } from '../../services/platform/streams/session-server.ts';
import { tracedExecute } from '../../services/platform/tracing/traced.ts';
import { openTracing } from '../../services/platform/tracing/tracing.ts';
import { startOtlpReceiver } from '../platform/otlp-receiver.ts';
import { silentLog } from '../platform/recording-log.ts';
import { put } from '../storage-node/requests.ts';

const operationsInFrame = 8;
const framesInRound = 2_000;
const rounds = 15;
const value = Buffer.alloc(256, 7);
const requestId = Buffer.alloc(16, 1);

const execute: Execute = async ({ put: request, traceparent }: Operation) => {
  ReplicateRequest.encode({
    hello: undefined,
    writes: [
      {
        ...{ id: 1, key: request?.key as Buffer, record: request?.value as Buffer, sync: true, buffered: false },
        ...{ timeoutMs: 1_000, more: false, hintedFor: '', requestId, dotActor: 1n, dotCounter: 1n },
        ...{ ringTerm: 1, ringSequence: 1, traceparent, era: 0n },
      },
    ],
    reads: [],
    probe: false,
  }).finish();
  return {};
};

const frame = SessionRequest.encode({
  hello: undefined,
  sentAtMs: 0,
  operations: Array.from({ length: operationsInFrame }, (_, i) => {
    return { id: BigInt(i + 1), timeoutMs: 1_000, ...put(`key-${i}`, value, { requestId }) };
  }),
}).finish();

async function round(run: Execute): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < framesInRound; i++) {
    const { operations } = SessionRequest.decode(frame);
    const arrival = {
      deadline: 0,
      cancellation: neverCancelled,
      forwarded: false,
      relayed: false,
      arrivedAt: performance.now(),
    };
    await Promise.all(operations.map((operation) => run(operation, arrival)));
  }
  const { user, system } = process.cpuUsage(before);
  return (1_000 * (user + system)) / (framesInRound * operationsInFrame);
}

const receiver = await startOtlpReceiver();
const open = async (ratio: number) => {
  const metrics = createMetrics({ service: 'bench' });
  const shared = {
    endpoint: receiver.endpoint,
    service: 'bench',
    instance: 'bench',
    clock: createClock(),
    log: silentLog,
    metrics,
  };
  const tracing = await openTracing({ ...shared, ratio });
  if (tracing === undefined) throw new Error('there is an endpoint, and no tracing');
  return tracedExecute(execute, tracing);
};
const variants: readonly (readonly [string, Execute])[] = [
  ['off', execute],
  ['on, ratio 0', await open(0)],
  ['on, ratio 0.01', await open(0.01)],
  ['on, ratio 1', await open(1)],
];
const least = variants.map(() => Number.POSITIVE_INFINITY);
for (let i = 0; i < rounds; i++) {
  for (const [v, [, run]] of variants.entries()) least[v] = Math.min(least[v] as number, await round(run));
}
for (const [v, [name]] of variants.entries()) {
  const nanoseconds = least[v] as number;
  console.log(`${name.padEnd(16)} ${nanoseconds.toFixed(0)} ns  ${(nanoseconds / (least[0] as number)).toFixed(2)}`);
}
process.exit(0);
