/** Namespaces on a real cluster: created and altered with the command line, known everywhere, kept over restarts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, type OperationFailed } from '../../client/index.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { cartwheel, until, withClient } from './support.ts';

let cluster: Cluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.stop());

/** The command, asking the process at `address`. */
const run = (address: string, ...args: string[]) => cartwheel([...args, '--endpoint', address]);
const done = async (address: string, ...args: string[]) => {
  const { code, stdout, stderr } = await run(address, ...args);
  assert.equal(code, 0, stderr);
  return stdout;
};
const reasonOf = async (promise: Promise<unknown>) => {
  const error = (await promise.then(
    () => assert.fail('a failure was expected'),
    (failure: unknown) => failure,
  )) as OperationFailed;
  return error.reason;
};

test('a namespace created through the router is known at once at every node, and keys of one are not in another', async () => {
  const { router, nodes } = cluster;
  const said = await done(router.address, 'namespace', 'create', 'carts', '--w', '3', '--strict');
  assert.equal(said, 'created carts, version 1: known to 3 of 3 storage nodes\n');
  for (const { address } of [router, ...nodes]) {
    await withClient({ endpoints: [address] }, async (client) => {
      const key = `key of ${address}`;
      const { receipt } = await client.put(key, 'in carts', { namespace: 'carts' });
      assert.equal(receipt.acks.length, 3, 'w of the namespace');
      assert.equal((await client.get(key, { namespace: 'carts' })).siblings[0]?.value.toString(), 'in carts');
      assert.deepEqual((await client.get(key)).siblings, []);
      const listed = [];
      for await (const { key: found } of client.keys({ namespace: 'carts' })) listed.push(found.toString());
      assert.ok(listed.includes(key));
      assert.equal(
        (await client.explain(key, { namespace: 'carts' })).replicas.filter(({ dots }) => dots.length === 1).length,
        3,
      );
      assert.equal(await reasonOf(client.get(key, { namespace: 'cart' })), 'NAMESPACE_UNKNOWN');
      assert.equal(await reasonOf(client.get(key, { namespace: 'Carts' })), 'NAMESPACE_INVALID');
    });
  }
});

test('what was altered on one process is listed by every other, for people and programs', async () => {
  const { router, nodes, membership } = cluster;
  await done(membership.address, 'namespace', 'create', 'sessions', '--r', '1');
  const altered = JSON.parse(
    await done(
      (nodes[2] as { address: string }).address,
      'namespace',
      'alter',
      'sessions',
      '--read-all',
      '0.5',
      '-o',
      'json',
    ),
  );
  assert.equal(altered.knownBy.length, 3);
  assert.deepEqual([altered.namespace.version, altered.namespace.r, altered.namespace.readAllProbability], [2, 1, 0.5]);
  for (const { address } of [router, ...nodes]) {
    const shown = await done(address, 'namespace', 'show', 'sessions');
    assert.match(shown, /^name +sessions\nversion +2\nr +1\nw +majority\n/);
    const listed = JSON.parse(await done(address, 'namespace', 'list', '-o', 'json')) as { name: string }[];
    assert.deepEqual(
      listed.filter(({ name }) => name !== 'carts').map(({ name }) => name),
      ['default', 'sessions'],
    );
  }
  await until('the membership process has heard of it', async () => {
    return /sessions +2 +1 +majority +DURABLE +SIBLINGS +none +no +0\.5/.test(
      await done(membership.address, 'namespace', 'list'),
    );
  });
});

test('a namespace is there after a restart of a node, even one that was away when it was created', async () => {
  const { router, nodes, membership } = cluster;
  const away = nodes[1] as (typeof nodes)[number];
  await away.kill('SIGKILL');
  const { stdout, stderr } = await run(membership.address, 'namespace', 'create', 'late');
  assert.match(stdout, /created late, version 1: known to 2 of 3 storage nodes/);
  assert.match(stderr, /not reached: [0-9a-f]{16}; they learn it by gossip/);
  await away.start();
  await withClient({ endpoints: [away.address] }, async (client) => {
    await until('it has learnt the namespace', async () =>
      (await client.namespaces.list()).some(({ name }) => name === 'late'),
    );
    await client.put('k', 'v', { namespace: 'late' });
  });
  for (const each of [...nodes, membership]) {
    await each.kill('SIGKILL');
    await each.start();
  }
  await withClient({ endpoints: [router.address] }, async (client) => {
    await until('the value is there', async () => {
      const answer = await client.get('k', { namespace: 'late' }).catch(() => undefined);
      return answer?.siblings.length === 1;
    });
    assert.deepEqual(
      (await client.namespaces.list()).map(({ name }) => name),
      ['carts', 'default', 'late', 'sessions'],
    );
  });
});

test('what cannot be done is said in one line', async () => {
  const { router } = cluster;
  const failures: [args: string[], code: number, line: RegExp][] = [
    [['create', 'carts', '--r', '1'], 1, /^cartwheel: NAMESPACE_EXISTS: .* at version 1 \(.*alter.*\)\n$/],
    [['create', 'No'], 2, /^cartwheel: NAMESPACE_INVALID: .*\n$/],
    [['create', 'other', '--w', '4'], 2, /^cartwheel: QUORUM_INVALID: w is 4; it can be 1 to 3.*\n$/],
    [['create', 'other', '--durability', 'SOMEWHAT'], 2, /SOMEWHAT.*DURABLE, ONE_DURABLE, BUFFERED/],
    [['create', 'other', '--read-all', '2'], 2, /from 0 to 1/],
    [['create'], 2, /missing required argument 'name'/],
    [['alter', 'none', '--w', '1'], 1, /^cartwheel: NAMESPACE_UNKNOWN: there is no namespace none .*\n$/],
    [
      ['alter', 'carts', '--w', '1', '--expected-version', '7'],
      1,
      /^cartwheel: NAMESPACE_CONFLICT: .*1, and 7 was expected.*\n$/,
    ],
    [['alter', 'carts'], 2, /nothing to alter/],
    [['show', 'none'], 1, /^cartwheel: there is no namespace none \(cartwheel namespace list\)\n$/],
  ];
  for (const [args, code, line] of failures) {
    const ended = await run(router.address, 'namespace', ...args);
    assert.deepEqual([ended.code, ended.stdout], [code, ''], args.join(' '));
    assert.match(ended.stderr, line);
    assert.equal(ended.stderr.trim().split('\n').length, 1);
  }
  const client = connect({ endpoints: [router.address] });
  after(() => client.close());
  assert.deepEqual(
    (await client.namespaces.list()).map(({ name }) => name),
    ['carts', 'default', 'late', 'sessions'],
  );
});
