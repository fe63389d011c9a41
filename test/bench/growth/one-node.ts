import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startCartwheel } from '../clusters/cartwheel.ts';
import type { Cluster } from '../clusters/cluster.ts';

const directory = fileURLToPath(new URL(`../results/growth-${process.pid}`, import.meta.url));

/** A cluster with one storage node, N=1; it and its data are gone however `run` ends, or its start. */
export async function withOneNode<T>(signal: AbortSignal, run: (cluster: Cluster) => Promise<T>): Promise<T> {
  try {
    const cluster = await startCartwheel(directory, signal, { storageNodes: 1 });
    try {
      return await run(cluster);
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
