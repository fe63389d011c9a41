import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A hundred times a second, outside JavaScript. */
const everyMs = 10;

/**
 * How late this process's event loop is with what is due: because a turn takes long, or because others have the processor.
 * What is returned says the 95th percentile since it was last called, milliseconds.
 */
export function watchLateness(): () => number {
  const delays = monitorEventLoopDelay({ resolution: everyMs });
  delays.enable();
  return () => {
    const lateMs = delays.count === 0 ? 0 : Math.max(0, delays.percentile(95) / 1e6 - everyMs);
    delays.reset();
    return lateMs;
  };
}
