/**
 * Loaded into each child of `cartwheel dev`, and of a benchmark, before its own program: when its parent is gone, however it
 * went, the IPC channel closes and the child ends too. A service listens for that itself once it runs; this covers the
 * time before, when it is still loading, and a stop that takes longer than the ports may stay taken.
 */
import { isMainThread } from 'node:worker_threads';

/** As long as `cartwheel dev` itself would wait. */
const gracefulStopMs = 10_000;

if (isMainThread && process.channel !== undefined) {
  process.once('disconnect', () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), gracefulStopMs).unref();
    process.kill(process.pid, 'SIGTERM');
  });
  process.channel?.unref(); // the channel alone must not keep the process alive
}
