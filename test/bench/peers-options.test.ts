import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommanderError } from 'commander';
import { casesOf, estimateSeconds, keysOf, readOptions } from './peers-options.ts';

test('what is measured without flags takes less than twelve minutes', () => {
  assert.ok(estimateSeconds(readOptions([])) < 12 * 60);
});

test('every path is measured with every mix under every load', () => {
  const options = readOptions(['--reads', '0.5,0', '--distributions', 'zipfian,uniform', '--rates', '500,2000']);
  assert.equal(casesOf('cartwheel', options).length, 2 * 2 * 2 * 4);
  assert.equal(casesOf('etcd', options).length, 2 * 2 * 4);
  assert.equal(new Set(casesOf('cartwheel', options).map((load) => JSON.stringify(load))).size, 32);
});

test('large values have fewer keys, so that 1 GiB is loaded at most', () => {
  const options = readOptions([]);
  assert.equal(keysOf(options, 1024), 100_000);
  assert.equal(keysOf(options, 102_400), 10_485);
});

test('what cannot be measured is refused with the names of what can', () => {
  const refused: readonly (readonly [string[], RegExp])[] = [
    [['--stores', 'riak'], /cartwheel, etcd, cassandra, cassandra-batch; saw 'riak'/],
    [['--value-bytes', '0'], /1 to 1000000/],
    [['--reads', '1.5'], /0 to 1/],
    [['--workers', 'none', '--rates', 'none'], /no load/],
    [['--stores', 'none'], /nothing to measure/],
  ];
  for (const [argv, message] of refused) {
    assert.throws(
      () => readOptions(argv),
      (error) => error instanceof CommanderError && message.test(error.message),
    );
  }
});
