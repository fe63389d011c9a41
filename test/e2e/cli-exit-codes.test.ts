/** What the cluster refuses whatever its state is a usage error of the command line; what it cannot do now is not. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { cartwheel, type Ran } from '../cli/run-cartwheel.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { hangMs, settled } from './support.ts';

let cluster: Cluster;
before(async () => {
  cluster = await startCluster();
  await settled(cluster);
});
after(() => cluster?.stop());

const run = (...args: string[]): Promise<Ran> => cartwheel([...args, '--endpoint', cluster.router.address]);

test('an argument that no cluster takes ends with 2, and one line that names it', { timeout: hangMs }, async () => {
  assert.equal((await run('put', 'cart', 'value')).code, 0);
  const { context } = JSON.parse((await run('get', 'cart', '-o', 'json')).stdout);
  const refused: readonly (readonly [args: readonly string[], named: RegExp])[] = [
    [['get', ''], /KEY_EMPTY/],
    [['put', 'k'.repeat(4_097), 'value'], /KEY_TOO_LARGE.*4,?097.*4,?096/],
    [['put', 'cart', 'value', '--w', '4'], /QUORUM_INVALID.*4.*3/],
    [['get', 'cart', '--r', '4'], /QUORUM_INVALID.*4.*3/],
    [['put', 'cart', 'value', '--context', 'AAAA'], /CONTEXT_INVALID/],
    [['put', 'another', 'value', '--context', context], /CONTEXT_INVALID/],
    [['get', 'cart', '--namespace', 'No'], /NAMESPACE_INVALID/],
  ];
  for (const [args, named] of refused) {
    const { code, stdout, stderr } = await run(...args);
    assert.match(stderr, named);
    assert.match(stderr, /^cartwheel: [^\n]+\n$/, 'one line');
    assert.deepEqual([code, stdout], [2, ''], stderr);
  }
});

test('what is not there, or cannot be done now, ends with 1', { timeout: hangMs }, async () => {
  for (const [args, named] of [
    [['get', 'nothing'], /nothing/],
    [['get', 'cart', '--namespace', 'none'], /NAMESPACE_UNKNOWN/],
  ] as const) {
    const { code, stderr } = await run(...args);
    assert.match(stderr, named);
    assert.equal(code, 1, stderr);
  }
});
