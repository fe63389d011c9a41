/**
 * The life of a service process: starts it, stops it once, and ends with the exit code that says why.
 *
 *     runProcess('router', async () => { …start…; return async () => { …drain, close… }; });
 *
 * `main` may have its service stopped and started again, in this process, as if that had been started anew.
 *
 * I1 SIGTERM, SIGINT, SIGHUP and the end of the parent that spawned it over an IPC channel stop it gracefully,
 *    once; another signal, a second or more after the first, ends it at once.
 * I2 A bug (an exception or rejection that nobody caught) is logged and ends the process: its state is unknown.
 * I3 It never outlives its parent by more than STOP_DEADLINE_MS, nor a signal.
 */
import { ConfigurationProblems, HelpRequested } from './configuration.ts';
import { limitGarbageCollection } from './garbage.ts';
import { createLog } from './logging.ts';

export const EXIT_STARTED_WRONG = 1;
export const EXIT_USAGE = 2;
export const EXIT_BUG = 70;

/** Kubernetes kills after 30 s; what is left is for the sync of the last writes and the log. */
const STOP_DEADLINE_MS = 25_000;

/**
 * Ctrl-C reaches every process of the terminal, and then comes again from each parent that passes it on: signals
 * this close together are one.
 */
const SAME_SIGNAL_MS = 1_000;

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Finishes what is under way and gives everything back. `cause` is for the log. */
export type Stop = (cause: string) => Promise<void>;

/** Stops the service and calls `main` once more. `cause` is for the log. Does nothing while it starts or stops. */
export type Restart = (cause: string) => void;

/** Runs `main`, which resolves once the service serves. `service` names it in the log. */
export function runProcess(service: string, main: (restart: Restart) => Promise<Stop>): void {
  limitGarbageCollection();
  const log = createLog({ service, level: 'info' });
  let stopping: string | undefined;
  let stop: Stop | undefined;

  async function stopNow(cause: string): Promise<void> {
    try {
      await stop?.(cause);
      process.exit(0);
    } catch (error) {
      log.error({ err: error, cause }, 'stopping failed');
      process.exit(EXIT_STARTED_WRONG);
    }
  }

  function limitStop(cause: string): NodeJS.Timeout {
    return setTimeout(() => {
      log.error({ cause, deadlineMs: STOP_DEADLINE_MS }, 'stopping took longer than its deadline');
      process.exit(EXIT_STARTED_WRONG);
    }, STOP_DEADLINE_MS).unref();
  }

  function requestStop(cause: string): void {
    if (stopping !== undefined) return;
    stopping = cause;
    limitStop(cause);
    // While it still starts, the end of the start stops it.
    if (stop) void stopNow(cause);
  }

  let signalledAt: number | undefined;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      const now = performance.now();
      signalledAt ??= now;
      if (now - signalledAt > SAME_SIGNAL_MS) process.exit(code);
      requestStop(signal);
    });
  }
  if (process.connected) process.on('disconnect', () => requestStop('the parent is gone'));

  const bug = (kind: string) => (error: unknown) => {
    log.fatal({ err: error, kind }, 'a bug: the process ends, because its state is unknown');
    process.exit(EXIT_BUG);
  };
  process.on('uncaughtException', bug('uncaughtException'));
  process.on('unhandledRejection', bug('unhandledRejection'));
  // A reader of stdout or stderr that goes away (a pipe, the parent) is no reason to end badly.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

  function restart(cause: string): void {
    if (stopping !== undefined || stop === undefined) return;
    const stopThis = stop;
    stop = undefined;
    const limit = limitStop(cause);
    stopThis(cause).then(
      () => {
        clearTimeout(limit);
        // A signal that came meanwhile has nothing left to stop.
        if (stopping === undefined) start();
        else process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error, cause }, 'stopping failed');
        process.exit(EXIT_STARTED_WRONG);
      },
    );
  }

  start();

  function start(): void {
    // What main throws at once (a wrong flag) is an answer like any other.
    (async () => main(restart))().then(serving, startedWrong);
  }

  function serving(started: Stop): void {
    stop = started;
    if (stopping !== undefined) void stopNow(stopping);
  }

  function startedWrong(error: unknown): void {
    if (error instanceof HelpRequested) {
      process.stdout.write(error.text);
      process.exit(0);
    }
    if (error instanceof ConfigurationProblems) {
      process.stderr.write(`${error.message}\n`);
      process.exit(EXIT_USAGE);
    }
    log.fatal({ err: error }, `${service} did not start: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(EXIT_STARTED_WRONG);
  }
}
