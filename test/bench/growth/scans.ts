/**
 * Whatever reads through all records of a node, alone on its event loop, over RocksDB in a directory of its own: how long
 * one turn of the loop takes, and what the whole costs, by the size of the records.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createMemoryDisk, openMemoryEngine } from '../../../services/platform/memory-engine.ts';
import { createRandom } from '../../../services/platform/random.ts';
import { openRocksEngine } from '../../../services/platform/rocksdb/engine.ts';
import { silentLog } from '../../platform/recording-log.ts';
import { createCluster } from '../../storage-node/cluster.ts';
import { createReadableMetrics } from '../../storage-node/metrics.ts';
import { fill, type Scan, scansOf } from '../../storage-node/whole-scans.ts';
import { watchCollections } from '../collections.ts';
import type { GrowthOptions } from '../growth.ts';
import { markdown } from '../tables.ts';

const sizes = [1024, 16 * 1024];
const bytes = 32 * 1024 * 1024;
/** A turn of less did nothing but look whether there is something to do. */
const idleMs = 0.1;
/** The first is not counted: code is compiled then. */
const rounds = 8;

export async function studyScans(_: GrowthOptions, signal: AbortSignal): Promise<string> {
  const rows: string[][] = [];
  for (const size of sizes) rows.push(...(await rowsOf(size, signal)));
  const head = ['scan', 'records', 'turn, ms: p90', 'longest', 'CPU, µs a record'];
  return ['### What reads through all records of a node: the best of its rounds', '', markdown(head, rows)].join('\n');
}

async function rowsOf(size: number, signal: AbortSignal): Promise<string[][]> {
  const directory = mkdtempSync(join(tmpdir(), 'cartwheel-scans-'));
  const random = createRandom();
  const engine = await openRocksEngine({ directory, random, log: silentLog, metrics: createReadableMetrics() });
  try {
    const others = () => openMemoryEngine(createMemoryDisk(), { random });
    const { node } = createCluster({ engine: (index) => (index === 0 ? engine : others()) }).node(0);
    await node.open();
    const count = Math.floor(bytes / size);
    await fill(node, count, size);
    const rows: string[][] = [];
    for (const { name, run } of scansOf(node, engine)) {
      const microseconds: number[] = [];
      const long: number[] = [];
      const longest: number[] = [];
      for (let round = 0; round < rounds; round++) {
        signal.throwIfAborted();
        const cpu = await cpuMicroseconds(run);
        const turns = await turnsOf(run);
        if (round === 0) continue;
        microseconds.push(cpu / count);
        long.push(turns[Math.floor(0.9 * turns.length)] as number);
        longest.push(turns.at(-1) as number);
      }
      const best = [long, longest, microseconds].map((values) => Math.min(...values).toFixed(1));
      rows.push([name, `${count.toLocaleString('en')} of ${size / 1024} KiB`, ...best]);
    }
    return rows;
  } finally {
    await engine.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Of all threads of this process. */
async function cpuMicroseconds(run: Scan['run']): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** Milliseconds by the wall clock, without what the garbage collector took of them; the longest is the last. */
async function turnsOf(run: Scan['run']): Promise<number[]> {
  const collections = watchCollections();
  const turns: { readonly from: number; readonly to: number }[] = [];
  let over = false;
  const running = run().finally(() => {
    over = true;
  });
  for (let from = performance.now(); !over; ) {
    await nextTurn();
    const to = performance.now();
    if (to - from > idleMs) turns.push({ from, to });
    from = to;
  }
  await running;
  const collectedMs = await collections();
  return turns.map(({ from, to }) => to - from - collectedMs(from, to)).sort((a, b) => a - b);
}
