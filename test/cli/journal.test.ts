import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Journal, journalDirectory, type LoadIdentity, type LoadState, Watermark } from '../../cli/load/journal.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-journal-'));
after(() => rmSync(scratch, { recursive: true }));
const identity: LoadIdentity = {
  file: '/data/a.json',
  size: 100,
  modifiedMs: 5,
  key: 'id',
  namespace: '',
  clusterId: 'c1',
  replace: false,
};
const at = (acknowledged: number): LoadState => ({
  nonce: '0f'.repeat(16),
  beganEmpty: true,
  acknowledged,
  rejected: 3,
});

test('a journal says where the same load stood, until it is removed', () => {
  const directory = join(scratch, 'one', 'deep');
  assert.equal(new Journal(directory, identity).read(), undefined);
  const journal = new Journal(directory, identity);
  journal.write(at(41));
  journal.write(at(42));
  assert.deepEqual(new Journal(directory, identity).read(), at(42));
  assert.deepEqual(readdirSync(directory), [journal.path.slice(directory.length + 1)], 'no half-written file is left');
  journal.remove();
  assert.equal(new Journal(directory, identity).read(), undefined);
});

test('a journal of another file, key, namespace or cluster is never taken for this one', () => {
  const directory = join(scratch, 'others');
  new Journal(directory, identity).write(at(42));
  const others: Partial<LoadIdentity>[] = [
    { file: '/data/b.json' },
    { size: 101 },
    { modifiedMs: 6 },
    { key: 'name' },
    { namespace: 'carts' },
    { clusterId: 'c2' },
    { replace: true },
  ];
  for (const other of others)
    assert.equal(new Journal(directory, { ...identity, ...other }).read(), undefined, JSON.stringify(other));
  assert.deepEqual(new Journal(directory, identity).read(), at(42));
});

test('a damaged journal means beginning anew', () => {
  const directory = join(scratch, 'damaged');
  const journal = new Journal(directory, identity);
  journal.write(at(42));
  const whole = readFileSync(journal.path, 'utf8');
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    whole.replace('42', '"42"'),
    whole.replace('42', '-1'),
    whole.replace('42', '1e99'),
    whole.replace('"rejected":3', '"rejected":43'),
    whole.replace('"rejected":3', '"rejected":null'),
    whole.replace('0f0f', 'nonce'),
    whole.replace('"beganEmpty":true', '"beganEmpty":1'),
  ]) {
    writeFileSync(journal.path, text);
    assert.equal(new Journal(directory, identity).read(), undefined, text);
  }
});

test('journals are kept where XDG_STATE_HOME says, else under the home directory', () => {
  assert.equal(journalDirectory({ XDG_STATE_HOME: '/state' }), '/state/cartwheel');
  assert.match(journalDirectory({}), /\.local\/state\/cartwheel$/);
});

test('the watermark is the highest number up to which all are done, in whatever order they are', () => {
  fc.assert(
    fc.property(fc.nat(50), fc.shuffledSubarray(Array.from({ length: 30 }, (_, i) => i + 1)), (start, order) => {
      const watermark = new Watermark(start);
      const done = new Set<number>();
      for (const n of order) {
        watermark.done(start + n);
        done.add(n);
        let expected = 0;
        while (done.has(expected + 1)) expected++;
        assert.equal(watermark.value, start + expected);
      }
    }),
  );
});
