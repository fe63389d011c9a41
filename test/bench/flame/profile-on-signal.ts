/**
 * Loaded into every process of a cluster (observed.ts): the first SIGUSR2 begins a CPU profile of the event loop, the second
 * ends it and writes it into the directory that the environment names. Without a signal it costs nothing.
 */
import { Session } from 'node:inspector/promises';
import { isMainThread } from 'node:worker_threads';
import { observedDirectory, tellObserver } from '../observer.ts';

const samplingMicroseconds = 500;

if (isMainThread && observedDirectory !== undefined) {
  const directory = observedDirectory;
  let session: Session | undefined;
  process.on('SIGUSR2', async () => {
    if (session === undefined) {
      session = new Session();
      session.connect();
      await session.post('Profiler.enable');
      await session.post('Profiler.setSamplingInterval', { interval: samplingMicroseconds });
      await session.post('Profiler.start');
      return;
    }
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    tellObserver(directory, profile);
  });
}
