import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { RocksLevel } from 'rocksdb';
import type { StorageEngine } from '../../services/core/ports.ts';
import { get, openRocks, put, recordingMetrics, text } from '../contract/storage-engine-fixtures.ts';

/**
 * A process of its own for slow-disk.test.ts, which runs it under slow-disk-preload.c:
 *
 *     slow-disk-child.ts engine|main-thread|failure DIRECTORY
 *
 * It slows or breaks its own disk once everything is open, and prints what it saw as one line of JSON.
 */

export const SYNC_DELAY_MS = 200;
const WRITES = 8;

export interface SlowDiskFindings {
  /** How long each synced write took. */
  readonly writeMs: readonly number[];
  /** 99th percentile of the event loop's delay meanwhile. */
  readonly loopDelayMs: number;
}

export interface BrokenDiskFindings {
  /** Of each write in order: ok, or the message of its error. */
  readonly writes: readonly string[];
  readonly failedGauge: number;
  /** What was synced before is there after the reopening. */
  readonly earlierValueThere: boolean;
  readonly lineageKept: boolean;
}

const [, , mode = '', directory = ''] = process.argv;
const controlFile = process.env.SLOW_DISK_CONTROL ?? '';

function setDisk(delayMs: number, errno: number): void {
  writeFileSync(controlFile, `${delayMs} ${errno}\n`);
}

async function measure(write: (n: number) => Promise<void>): Promise<SlowDiskFindings> {
  const loopDelay = monitorEventLoopDelay({ resolution: 5 });
  const writeMs: number[] = [];
  await write(0);
  setDisk(SYNC_DELAY_MS, 0);
  loopDelay.enable();
  for (let n = 1; n <= WRITES; n++) {
    const startedAt = performance.now();
    await write(n);
    writeMs.push(performance.now() - startedAt);
    await sleep(20);
  }
  loopDelay.disable();
  setDisk(0, 0);
  return { writeMs, loopDelayMs: loopDelay.percentile(99) / 1e6 };
}

async function onEngine(): Promise<SlowDiskFindings> {
  const engine = await openRocks(directory);
  const findings = await measure((n) => engine.write([put(text(`key ${n}`), text('value'))], true));
  await engine.close();
  return findings;
}

/** The control: the same write as the binding does it, on the thread that asks for it. */
async function onMainThread(): Promise<SlowDiskFindings> {
  const database = new RocksLevel(directory, { columns: { default: {} } });
  await database.open();
  const column = database.columns.default;
  if (column === undefined) {
    throw new Error('no column family default');
  }
  const findings = await measure(async (n) => {
    const batch = database._chainedBatch();
    batch._put(text(`key ${n}`), text('value'), { column });
    batch._writeSync({ sync: true });
  });
  await database.close();
  return findings;
}

async function onBrokenDisk(): Promise<BrokenDiskFindings> {
  const EIO = 5;
  const metrics = recordingMetrics();
  const engine = await openRocks(directory, metrics);
  const outcome = (engine: StorageEngine, key: string, sync: boolean) =>
    engine.write([put(text(key), text('value'))], sync).then(
      () => 'ok',
      (error: Error) => error.message,
    );
  const writes = [await outcome(engine, 'before', true)];
  setDisk(0, EIO);
  writes.push(...(await Promise.all([outcome(engine, 'at', true), outcome(engine, 'behind', false)])));
  setDisk(0, 0);
  writes.push(await outcome(engine, 'after, unsynced', false), await outcome(engine, 'after, synced', true));
  const failedGauge = metrics.values.get('cartwheel_engine_failed')?.() ?? Number.NaN;
  await engine.close();
  const again = await openRocks(directory);
  const earlierValueThere = (await get(again, text('before'))) !== undefined;
  await again.close();
  return { writes, failedGauge, earlierValueThere, lineageKept: again.lineage === engine.lineage };
}

if (import.meta.main) {
  const modes: Record<string, () => Promise<object>> = {
    engine: onEngine,
    'main-thread': onMainThread,
    failure: onBrokenDisk,
  };
  const run = modes[mode];
  if (run === undefined) {
    throw new Error(`unknown mode ${mode}, wanted one of ${Object.keys(modes).join(', ')}`);
  }
  process.stdout.write(`${JSON.stringify(await run())}\n`);
}
