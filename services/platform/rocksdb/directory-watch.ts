/**
 * Whether the data directory is still there. Open files can be written and synced after their names are gone (`rm -rf` of
 * the wrong directory, a volume that was taken away or mounted over): RocksDB would notice only at its next new file, and
 * acknowledge as durable until then what no restart finds.
 *
 * I1 Only what is certain counts: no file RUN, or that of another run. A disk that cannot be read is the engine's to find.
 */
import type { Clock } from '../../core/ports.ts';
import { runOf } from './clean-stop.ts';
import { DataDirectoryError } from './data-directory.ts';

/** For so long may be acknowledged what is on no disk any more. A look costs one read of a small file. */
const LOOK_INTERVAL_MS = 1_000;

/** Begin while the engine has the directory open. `onGone` is called at most once. */
export async function watchDirectory(
  directory: string,
  clock: Pick<Clock, 'after'>,
  onGone: (error: DataDirectoryError) => void,
): Promise<{ stop(): void }> {
  const ours = await runOf(directory);
  let stopped = false;
  let cancel = () => {};

  async function look(): Promise<void> {
    const found = await runOf(directory).catch(() => ours);
    if (stopped) return;
    if (found === ours) return lookLater();
    onGone(new DataDirectoryError(`data directory ${directory} was removed, or another is in its place`));
  }

  function lookLater(): void {
    cancel = clock.after(LOOK_INTERVAL_MS, () => void look());
  }

  lookLater();
  return {
    stop() {
      stopped = true;
      cancel();
    },
  };
}
