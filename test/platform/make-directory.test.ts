import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeDirectory } from '../../services/platform/make-directory.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-directories-'));
after(() => rmSync(scratch, { recursive: true }));

test('a directory is made with those above it, and may be there already', () => {
  const path = join(scratch, 'a', 'b', 'c');
  assert.deepEqual(makeDirectory(path), [scratch, join(scratch, 'a'), join(scratch, 'a', 'b')]);
  assert.ok(statSync(path).isDirectory());
  assert.deepEqual(makeDirectory(path), [], 'nothing has a new name in it');
});

test('where none can be made the system says why', () => {
  const file = join(scratch, 'file');
  writeFileSync(file, '');
  assert.throws(() => makeDirectory(file), { code: 'EEXIST' });
  assert.throws(() => makeDirectory(join(file, 'a', 'b')), { code: /EEXIST|ENOTDIR/ });
});

test('below /proc it fails, and does not try for ever', { skip: !existsSync('/proc/self') }, () => {
  assert.throws(() => makeDirectory('/proc/cartwheel/a/b'), { code: 'ENOENT' });
});
