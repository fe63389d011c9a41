/**
 * Work that nobody waits for, and the one place that lets it on: exchanges, hand-overs, handoff, transfers, hand-backs,
 * verification, digests, repair, refill, collection, answers to those of other nodes, and the flush of the write buffer. The governor (core/background) decides how much; here it is
 * waited, told how slow this node's own operations and its disk are, and said how far each task has come.
 *
 * I1 There is no timer while no task waits.
 * I2 What has a bound of its own (the age of what is in the write buffer) is put off no further than that: it is taken
 *    from the budget all the same, so the rest waits for it, down to its floor. (Answers have one of their own.)
 */
import { createGovernor, type GovernorLimits, lateMsOf, type WaitReason } from '../core/background/governor.ts';
import { createRecentLatencies } from '../core/background/recent-latencies.ts';
import { createRecentPace, type RecentPace } from '../core/background/recent-pace.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Metrics } from '../core/ports.ts';

/**
 * Fast enough for a node that was away, slow enough for two cores and a network of a gigabit. A record that moves takes about
 * 0.1 ms of the event loop at either end, so at its ceiling the background has half of that: 100,000 keys of
 * 1 KB that changed while a node was away are equal again in less than a minute.
 */
export const backgroundLimits: GovernorLimits = {
  targetMs: 100,
  // A synced write of a disk that is well takes tens of milliseconds; half a second is ten times the worst of them.
  stallMs: 500,
  operationsMax: 5_000,
  bytesMax: 32 * 1024 * 1024,
  // 500 records a second: a million are moved in half an hour, however busy the machine is.
  floor: 0.1,
};

const lookEveryMs = 1_000;
const writeTimeoutMs = 10_000;

/** For a record that is written for the background, here or elsewhere: patient, because no client waits for it. */
export function writeDeadline({ clock }: { readonly clock: Pick<Clock, 'now'> }): number {
  return clock.now() + writeTimeoutMs;
}

/** Less than callers wait for an answer, by far. */
const answerWithinMs = 2_000;

/**
 * What the background of other nodes asks of this one is background work here too: who pulls has perhaps no clients, and
 * does not feel those that wait here. Resolves when it is its turn, and after two seconds at the latest.
 */
export function turnToAnswer(
  { background, clock }: { readonly background: Background; readonly clock: Pick<Clock, 'after'> },
  operations: number,
  bytes: number,
): Promise<void> {
  const ms = background.takeWithin(answerWithinMs, 'answer', 'what other nodes ask', operations, bytes);
  return ms === 0 ? Promise.resolve() : new Promise((resolve) => void clock.after(ms, resolve));
}

export const taskKinds = [
  'exchange',
  'hand-over',
  'handoff',
  'transfer',
  'hand-back',
  'verification',
  'digests',
  'repair',
  'refill',
  'flush',
  'collection',
  'answer',
] as const;
export type TaskKind = (typeof taskKinds)[number];

export interface TaskStatus {
  readonly kind: TaskKind;
  /** For people. */
  readonly name: string;
  readonly ms: number;
  readonly operations: number;
  readonly bytes: number;
  /** 0 to 1; undefined: it does not know. */
  readonly progress: number | undefined;
  /** By the pace of the last minute; undefined: it has none. */
  readonly etaMs: number | undefined;
  /** For people; empty: nothing. */
  readonly waitsFor: string;
}

/** What a step of background work needs of its task. */
export interface Admission {
  /** Resolves when so much more may be done. Rejects with Failure DRAINING once the process stops. */
  admit(operations: number, bytes: number): Promise<void>;
  /** How far it has come, 0 to 1. */
  reached(progress: number): void;
}

export interface BackgroundTask extends Admission {
  /** What it cannot go on without, for people; until it says something else. */
  waitsFor(what: string): void;
  /** What it waits for now, its turn too, for people; empty: nothing. */
  readonly waiting: string;
  end(): void;
}

export interface Background {
  /** `subject`, behind the kind: for people. `progress`: where it goes on, 0 to 1. */
  begin(kind: TaskKind, subject: string, progress?: number): BackgroundTask;
  /** I2: takes so much now; how long to wait for it, `withinMs` at most. */
  takeWithin(withinMs: number, kind: TaskKind, subject: string, operations: number, bytes: number): number;
  /** A client's operation took so long here. */
  foreground(milliseconds: number): void;
  tasks(): readonly TaskStatus[];
  /** That all of it may move now. */
  readonly bytesPerSecond: number;
  stop(): void;
}

interface RunningTask {
  readonly kind: TaskKind;
  readonly name: string;
  readonly startedAt: number;
  readonly from: number;
  progress: number | undefined;
  /** Of its progress; undefined: it has said nothing of that. */
  pace: RecentPace | undefined;
  operations: number;
  bytes: number;
  waitsFor: WaitReason | undefined;
  /** Beside its turn; empty: nothing. */
  lacks: string;
}

/** What this process says of itself, milliseconds. */
export interface OwnStrain {
  /** How long the write to the disk has been under way; 0: there is none. */
  writingMs(): number;
  /** How late the event loop has been with what was due since the last time it was asked. */
  lateMs(): number;
}

export function createBackground(clock: Clock, metrics: Metrics, limits: GovernorLimits, own: OwnStrain): Background {
  const governor = createGovernor(limits);
  const latencies = createRecentLatencies();
  const running = new Set<RunningTask>();
  const waiting = new Set<(error: Failure) => void>();
  let lookedAt = Number.NEGATIVE_INFINITY;
  let stopped = false;
  const counted = backgroundMetrics(metrics, () => governor.share, tasks);

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

  function enter(kind: TaskKind, subject: string, from = 0): RunningTask {
    const task: RunningTask = {
      ...{ kind, name: `${kind} of ${subject}`, startedAt: clock.now(), from, progress: undefined, pace: undefined },
      ...{ operations: 0, bytes: 0, waitsFor: undefined, lacks: '' },
    };
    running.add(task);
    return task;
  }

  /** How long to wait. `withinMs` undefined: for as long as it takes. */
  function take(task: RunningTask, operations: number, bytes: number, withinMs?: number): number {
    const now = clock.now();
    if (now - lookedAt >= lookEveryMs) {
      lookedAt = now;
      const p999Ms = latencies.percentile(0.999, now);
      governor.feel({ p999Ms, writingMs: own.writingMs(), lateMs: own.lateMs() });
    }
    task.operations += operations;
    task.bytes += bytes;
    const ms =
      withinMs === undefined
        ? governor.take(operations, bytes, now)
        : governor[task.kind === 'answer' ? 'answer' : 'charge'](operations, bytes, now, withinMs);
    task.waitsFor = ms < 1 ? undefined : governor.reason;
    counted.taken(task.kind, operations, bytes);
    if (task.waitsFor !== undefined) counted.waited(task.kind, task.waitsFor, ms);
    return ms < 1 ? 0 : ms;
  }

  function statusOf(task: RunningTask): TaskStatus {
    const { kind, name, startedAt, progress, pace, operations, bytes } = task;
    const now = clock.now();
    const etaMs = progress === undefined ? undefined : pace?.etaMs(1 - progress, now);
    return { kind, name, ms: now - startedAt, operations, bytes, progress, etaMs, waitsFor: whyOf(task) };
  }

  function whyOf({ waitsFor, lacks }: RunningTask): string {
    return waitsFor === undefined ? lacks : reasonText(waitsFor);
  }

  function tasks(): readonly TaskStatus[] {
    return [...running].map(statusOf);
  }

  function reasonText(reason: WaitReason): string {
    if (reason === 'clients') return `clients: their p99.9 is above ${limits.targetMs} ms`;
    if (reason === 'disk') return `the disk: a write has been under way for more than ${limits.stallMs} ms`;
    if (reason === 'processor')
      return `the processor: the event loop is more than ${lateMsOf(limits.targetMs)} ms late`;
    return `its turn: the background has ${Math.round(governor.share * 100)}% of its budget`;
  }

  return {
    begin(kind, subject, progress) {
      const task = enter(kind, subject, progress);
      return {
        async admit(operations, bytes) {
          if (stopped) throw draining();
          const ms = take(task, operations, bytes);
          if (ms === 0) return;
          await wait(ms).finally(() => {
            task.waitsFor = undefined;
          });
        },
        reached(progress) {
          task.progress = Math.min(1, Math.max(0, progress));
          task.pace ??= createRecentPace(task.from, task.startedAt);
          task.pace.reached(task.progress, clock.now());
        },
        waitsFor(what) {
          task.lacks = what;
        },
        get waiting() {
          return whyOf(task);
        },
        end: () => running.delete(task),
      };
    },
    takeWithin(withinMs, kind, subject, operations, bytes) {
      const task = enter(kind, subject);
      const ms = take(task, operations, bytes, withinMs);
      if (ms === 0) running.delete(task);
      else clock.after(ms, () => running.delete(task));
      return ms;
    },
    foreground: (milliseconds) => latencies.observe(milliseconds, clock.now()),
    tasks,
    get bytesPerSecond() {
      return governor.share * limits.bytesMax;
    },
    stop() {
      stopped = true;
      for (const refuse of waiting) refuse(draining());
      waiting.clear();
    },
  };
}

function backgroundMetrics(metrics: Metrics, share: () => number, tasks: () => readonly TaskStatus[]) {
  metrics.gauge(
    'cartwheel_background_share',
    'What the background may do now, as a part of its ceiling, 0 to 1',
    share,
  );
  const ofKind = (kind: TaskKind) => {
    const under = () => tasks().filter((task) => task.kind === kind);
    const labels = { task: kind };
    const known = (values: readonly (number | undefined)[], pick: (...numbers: number[]) => number) => {
      const numbers = values.filter((value) => value !== undefined);
      return numbers.length === 0 ? Number.NaN : pick(...numbers);
    };
    metrics.gauge('cartwheel_background_tasks', 'Background tasks under way', () => under().length, labels);
    metrics.gauge(
      'cartwheel_background_progress',
      'How far the task of the kind is that has come least far, 0 to 1; NaN: none knows',
      () =>
        known(
          under().map(({ progress }) => progress),
          Math.min,
        ),
      labels,
    );
    metrics.gauge(
      'cartwheel_background_eta_seconds',
      'Until the last of the tasks of the kind that are under way ends, by its pace in the last minute; NaN: none knows',
      () =>
        known(
          under().map(({ etaMs }) => etaMs),
          Math.max,
        ) / 1_000,
      labels,
    );
    const waited = (reason: WaitReason) =>
      metrics.counter('cartwheel_background_waited_seconds_total', 'How long background tasks have waited', {
        ...{ task: kind, reason },
      });
    return {
      operations: metrics.counter(
        'cartwheel_background_operations_total',
        'Operations admitted for the background',
        labels,
      ),
      bytes: metrics.counter(
        'cartwheel_background_bytes_total',
        'Bytes of records admitted for the background',
        labels,
      ),
      waited: {
        ...{ clients: waited('clients'), disk: waited('disk') },
        ...{ processor: waited('processor'), budget: waited('budget') },
      },
    };
  };
  const kinds = new Map(taskKinds.map((kind) => [kind, ofKind(kind)]));
  return {
    taken(kind: TaskKind, operations: number, bytes: number): void {
      kinds.get(kind)?.operations.add(operations);
      kinds.get(kind)?.bytes.add(bytes);
    },
    waited: (kind: TaskKind, reason: WaitReason, ms: number) => kinds.get(kind)?.waited[reason].add(ms / 1_000),
  };
}
