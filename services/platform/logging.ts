/** Structured logs: one JSON object a line on stdout. */
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Log } from '../core/ports.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** How long a peer's mistakes stay quiet after one of them was logged. */
const SPARING_INTERVAL_MS = 1_000;

/** What stdout does not take (it may be a file on a full disk) is kept for when it does; what is beyond this is dropped. */
const KEPT_BYTES_MAX = 1024 * 1024;

export function createLog(options: { readonly service: string; readonly level: LogLevel }): Logger {
  const form = {
    level: options.level,
    base: { service: options.service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(form, stdoutOrNothing());
}

/** A log that cannot be written is no reason to end, or to wait. */
function stdoutOrNothing(): DestinationStream {
  const stdout = pino.destination({ fd: 1, sync: true, maxLength: KEPT_BYTES_MAX });
  stdout.on('error', () => {});
  // Each line is written when it is logged. The flush after a fatal one tries for ever where that failed, and stops the process.
  stdout.flushSync = () => {};
  return stdout;
}

/**
 * For what peers can cause as often as they like: one line at most a second, which says in `suppressed` how many
 * were left out since the one before.
 */
export function sparingly(log: Log, now: () => number = () => performance.now()): Pick<Log, 'warn'> {
  let quietUntil = Number.NEGATIVE_INFINITY;
  let suppressed = 0;
  return {
    warn(fields: object, message: string): void {
      const time = now();
      if (time < quietUntil) {
        suppressed++;
        return;
      }
      log.warn(suppressed === 0 ? fields : { ...fields, suppressed }, message);
      quietUntil = time + SPARING_INTERVAL_MS;
      suppressed = 0;
    },
  };
}
