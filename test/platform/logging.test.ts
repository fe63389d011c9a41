import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sparingly } from '../../services/platform/logging.ts';
import { recordingLog } from './recording-log.ts';

test('a peer that errs often costs one line a second, which counts the ones left out', () => {
  const log = recordingLog();
  let now = 0;
  const sparing = sparingly(log, () => now);
  for (now = 0; now < 2_500; now += 10) sparing.warn({ at: now }, 'again');
  assert.deepEqual(
    log.lines.map(({ fields }) => fields),
    [{ at: 0 }, { at: 1_000, suppressed: 99 }, { at: 2_000, suppressed: 99 }],
  );
});

test('a process whose log is on a disk that is full goes on, and ends when it wants to', {
  skip: !existsSync('/dev/full'),
}, async () => {
  const full = openSync('/dev/full', 'w');
  const script = fileURLToPath(new URL('./logging-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['ignore', full, 'pipe'], timeout: 20_000 });
  closeSync(full);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  assert.deepEqual([code, said], [0, 'end']);
});
