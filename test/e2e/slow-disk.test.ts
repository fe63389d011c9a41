import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { withTemporaryDirectory } from '../contract/storage-engine-fixtures.ts';
import { type BrokenDiskFindings, type SlowDiskFindings, SYNC_DELAY_MS } from './slow-disk-child.ts';

/**
 * A disk that is slow or broken for real: the C library's fsync and fdatasync, as RocksDB calls them, wait
 * or fail in a child process (slow-disk-preload.c). No assertion here is on the speed of the machine: the
 * delay is ours, and the question is only on which thread it is waited out.
 */

const run = promisify(execFile);
const child = fileURLToPath(new URL('./slow-disk-child.ts', import.meta.url));
const preloadSource = fileURLToPath(new URL('./slow-disk-preload.c', import.meta.url));

/** Why the disk cannot be slowed here; undefined when it can. */
async function obstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return `LD_PRELOAD is needed, this is ${process.platform}`;
  }
  try {
    await run('cc', ['--version']);
    return undefined;
  } catch (error) {
    return `a C compiler (cc) is needed: ${error instanceof Error ? error.message : error}`;
  }
}

async function onSlowedDisk<Findings>(
  t: TestContext,
  mode: string,
  check: (findings: Findings) => void,
): Promise<void> {
  const reason = await obstacle();
  if (reason !== undefined) {
    t.skip(reason);
    return;
  }
  await withTemporaryDirectory(async (directory) => {
    const preload = join(directory, 'slow-disk.so');
    await run('cc', ['-shared', '-fPIC', '-o', preload, preloadSource, '-ldl']);
    const environment = { ...process.env, LD_PRELOAD: preload, SLOW_DISK_CONTROL: join(directory, 'control') };
    const { stdout } = await run(process.execPath, [child, mode, join(directory, 'data')], { env: environment });
    const findings = JSON.parse(stdout) as Findings;
    t.diagnostic(JSON.stringify(findings));
    check(findings);
  });
}

test('a synced write waits for the disk, and the event loop does not', async (t) => {
  await onSlowedDisk<SlowDiskFindings>(t, 'engine', ({ writeMs, loopDelayMs }) => {
    assert.ok(
      Math.min(...writeMs) >= SYNC_DELAY_MS,
      `a write took ${Math.min(...writeMs)} ms, a sync ${SYNC_DELAY_MS} ms`,
    );
    assert.ok(
      loopDelayMs < SYNC_DELAY_MS / 2,
      `the event loop was ${loopDelayMs} ms late, a sync takes ${SYNC_DELAY_MS} ms`,
    );
  });
});

test('control: the same write on the main thread stops the event loop, and this measurement shows it', async (t) => {
  await onSlowedDisk<SlowDiskFindings>(t, 'main-thread', ({ writeMs, loopDelayMs }) => {
    assert.ok(
      Math.min(...writeMs) >= SYNC_DELAY_MS,
      `a write took ${Math.min(...writeMs)} ms, a sync ${SYNC_DELAY_MS} ms`,
    );
    assert.ok(
      loopDelayMs > SYNC_DELAY_MS / 2,
      `the event loop was ${loopDelayMs} ms late, a sync takes ${SYNC_DELAY_MS} ms`,
    );
  });
});

test('I3: after a sync that failed every later write fails, though the disk works again', async (t) => {
  await onSlowedDisk<BrokenDiskFindings>(t, 'failure', (findings) => {
    const [before, ...later] = findings.writes;
    assert.equal(before, 'ok');
    assert.equal(later.length, 4);
    for (const outcome of later) {
      assert.match(outcome, /a write to the disk failed, so nothing more is written: .*IO error/);
    }
    assert.equal(findings.failedGauge, 1);
    assert.equal(findings.earlierValueThere, true);
    assert.equal(findings.lineageKept, false);
  });
});
