import assert from 'node:assert/strict';
import { test } from 'node:test';
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
