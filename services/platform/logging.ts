/** Structured logs: one JSON object a line on stdout. */
import { type Logger, pino } from 'pino';
import type { Log } from '../core/ports.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** How long a peer's mistakes stay quiet after one of them was logged. */
const SPARING_INTERVAL_MS = 1_000;

export function createLog(options: { readonly service: string; readonly level: LogLevel }): Logger {
  return pino({
    level: options.level,
    base: { service: options.service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
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
