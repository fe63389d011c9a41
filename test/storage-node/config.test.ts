import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../../services/storage-node/config.ts';

const read = (...flags: string[]) => readConfig(['--data', '/d', ...flags], {});

test('a node is reached where it listens, or where it says', () => {
  assert.equal(read('--listen', '127.0.0.1:7411').advertise, '127.0.0.1:7411');
  assert.equal(read('--listen', '0.0.0.0:7411', '--advertise', 'node-1:7411').advertise, 'node-1:7411');
});

test('an address that is every address of a machine is nothing that others could be told', () => {
  for (const flags of [
    ['--listen', '0.0.0.0:7411'],
    ['--listen', '[::]:7411'],
    ['--listen', '127.0.0.1:7411', '--advertise', '0.0.0.0:7411'],
  ]) {
    assert.throws(
      () => read(...flags),
      /--advertise: .*(0\.0\.0\.0|\[::\]):7411.*for example --advertise node-1:7411$/s,
    );
  }
});
