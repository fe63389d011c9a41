/**
 * Work that nobody waits for, and the one place that lets it on: exchanges, hand-overs, transfers, verification. The
 * governor (core/background) decides how much; here it is waited, and told how slow this node's own operations are.
 *
 * I1 There is no timer while no task waits.
 */
import { createGovernor, type GovernorLimits } from '../core/background/governor.ts';
import { createRecentLatencies } from '../core/background/recent-latencies.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Metrics } from '../core/ports.ts';

/** Fast enough for a node that was away, slow enough for two cores and a network of a gigabit. */
export const backgroundLimits: GovernorLimits = {
  targetMs: 100,
  operationsMax: 20_000,
  bytesMax: 32 * 1024 * 1024,
  floor: 0.05,
};

const lookEveryMs = 1_000;
const writeTimeoutMs = 10_000;

/** For a record that is written for the background, here or elsewhere: patient, because no client waits for it. */
export function writeDeadline({ clock }: { readonly clock: Pick<Clock, 'now'> }): number {
  return clock.now() + writeTimeoutMs;
}

export interface TaskStatus {
  readonly name: string;
  readonly ms: number;
  readonly operations: number;
  readonly bytes: number;
  /** For people; empty: nothing. */
  readonly waitsFor: string;
}

export interface BackgroundTask {
  /** Resolves when so much more may be done. Rejects with Failure DRAINING once the process stops. */
  admit(operations: number, bytes: number): Promise<void>;
  end(): void;
}

export interface Background {
  /** `name`: for people. */
  begin(name: string): BackgroundTask;
  /** A client's operation took so long here. */
  foreground(milliseconds: number): void;
  tasks(): readonly TaskStatus[];
  stop(): void;
}

interface RunningTask {
  readonly name: string;
  readonly startedAt: number;
  operations: number;
  bytes: number;
  waiting: boolean;
}

export function createBackground(clock: Clock, metrics: Metrics, limits: GovernorLimits): Background {
  const governor = createGovernor(limits);
  const latencies = createRecentLatencies();
  const running = new Set<RunningTask>();
  const waiting = new Set<(error: Failure) => void>();
  let lookedAt = Number.NEGATIVE_INFINITY;
  let stopped = false;
  const operations = metrics.counter('cartwheel_background_operations_total', 'Operations admitted for the background');
  const bytes = metrics.counter('cartwheel_background_bytes_total', 'Bytes of records admitted for the background');
  metrics.gauge(
    'cartwheel_background_share',
    'What the background may do now, as a part of its ceiling, 0 to 1',
    () => governor.share,
  );
  metrics.gauge('cartwheel_background_tasks', 'Background tasks under way', () => running.size);

  function wait(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () => {
        waiting.delete(refuse);
        resolve();
      });
      const refuse = (error: Failure) => {
        cancel();
        reject(error);
      };
      waiting.add(refuse);
    });
  }

  const draining = () => new Failure('DRAINING', 'this process is stopping');

  return {
    begin(name) {
      const task: RunningTask = { name, startedAt: clock.now(), operations: 0, bytes: 0, waiting: false };
      running.add(task);
      return {
        async admit(moreOperations, moreBytes) {
          if (stopped) throw draining();
          const now = clock.now();
          if (now - lookedAt >= lookEveryMs) {
            lookedAt = now;
            governor.foreground(latencies.percentile(0.999, now));
          }
          task.operations += moreOperations;
          task.bytes += moreBytes;
          operations.add(moreOperations);
          bytes.add(moreBytes);
          const ms = governor.take(moreOperations, moreBytes, now);
          if (ms < 1) return;
          task.waiting = true;
          await wait(ms).finally(() => {
            task.waiting = false;
          });
        },
        end: () => running.delete(task),
      };
    },
    foreground: (milliseconds) => latencies.observe(milliseconds, clock.now()),
    tasks() {
      const reason = governor.backsOff ? `clients: their p99.9 is above ${limits.targetMs} ms` : 'its share';
      return [...running].map(({ name, startedAt, waiting: waits, ...done }) => {
        const ms = clock.now() - startedAt;
        return { name, ms, operations: done.operations, bytes: done.bytes, waitsFor: waits ? reason : '' };
      });
    },
    stop() {
      stopped = true;
      for (const refuse of waiting) refuse(draining());
      waiting.clear();
    },
  };
}
