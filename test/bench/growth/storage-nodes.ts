import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type CartwheelCluster, startCartwheel } from '../clusters/cartwheel.ts';

const directory = fileURLToPath(new URL(`../results/growth-${process.pid}`, import.meta.url));

/** A cluster with so many storage nodes, each of which has all that there is (up to 3); it and its data are gone however `run` ends, or its start. */
export async function withStorageNodes<T>(
  count: number,
  signal: AbortSignal,
  run: (cluster: CartwheelCluster) => Promise<T>,
): Promise<T> {
  try {
    const cluster = await startCartwheel(directory, signal, { storageNodes: count });
    try {
      return await run(cluster);
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
