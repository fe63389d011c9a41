/** What a client says without asking anybody: options that cannot be sent, and everything after its close. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CartwheelClient, connect, OperationFailed } from '../../client/index.ts';

async function refused(attempt: (client: CartwheelClient) => Promise<unknown>): Promise<OperationFailed> {
  const client = connect({ endpoints: ['127.0.0.1:1'] });
  try {
    await attempt(client);
  } catch (error) {
    assert.ok(error instanceof OperationFailed, String(error));
    assert.equal(error.outcome, 'NOT_APPLIED');
    return error;
  } finally {
    await client.close();
  }
  assert.fail('it was not refused');
}

const bad: readonly [string, string, (client: CartwheelClient) => Promise<unknown>][] = [
  ['QUORUM_INVALID', 'w', (client) => client.put('k', 'v', { w: 1.5 })],
  ['QUORUM_INVALID', 'w', (client) => client.put('k', 'v', { w: -1 })],
  ['QUORUM_INVALID', 'w', (client) => client.delete('k', Buffer.alloc(0), { w: Number.NaN })],
  ['QUORUM_INVALID', 'r', (client) => client.get('k', { r: 2 ** 32 })],
  ['OPERATION_INVALID', 'maxBytes', (client) => client.get('k', { maxBytes: -1 })],
  ['OPERATION_INVALID', 'timeoutMs', (client) => client.get('k', { timeoutMs: Number.POSITIVE_INFINITY })],
  ['OPERATION_INVALID', 'timeoutMs', (client) => client.explain('k', { timeoutMs: Number.NaN })],
  ['OPERATION_INVALID', 'attempt', (client) => client.put('k', 'v', { attempt: 0.5 })],
  ['OPERATION_INVALID', 'require.zones', (client) => client.put('k', 'v', { require: { zones: -2 } })],
  ['OPERATION_INVALID', 'traceparent', (client) => client.get('k', { traceparent: 7 as unknown as string })],
  ['OPERATION_INVALID', 'traceparent', (client) => client.get('k', { traceparent: '0'.repeat(129) })],
  ['NAMESPACE_INVALID', 'namespace', (client) => client.get('k', { namespace: 5 as unknown as string })],
  ['CONTEXT_INVALID', 'dots', (client) => client.get('k', { dots: ['00000000000000aa:1', 5 as unknown as string] })],
  ['CONTEXT_INVALID', 'dots', (client) => client.get('k', { dots: 'a:1' as unknown as string[] })],
  ['OPERATION_INVALID', 'timeoutMs', (client) => client.get('k', { timeoutMs: '1000' as unknown as number })],
  ['OPERATION_INVALID', 'timeoutMs', (client) => client.update('k', () => 'v', { timeoutMs: 1n as unknown as number })],
  ['NAMESPACE_INVALID', 'namespace', (client) => client.get('k', { namespace: null as unknown as string })],
  ['NAMESPACE_INVALID', 'namespace', (client) => client.get('k', { namespace: '€'.repeat(2_000_000) })],
  ['NAMESPACE_INVALID', 'namespace', (client) => client.session().get('k', { namespace: 7 as unknown as string })],
  ['KEY_EMPTY', 'key', (client) => client.session().get('')],
  ['KEY_TOO_LARGE', 'key', (client) => client.session().put('k'.repeat(5_000), 'v')],
  ['TTL_INVALID', 'ttlMs', (client) => client.put('k', 'v', { ttlMs: Number.NaN })],
  ['TTL_INVALID', 'ttlMs', (client) => client.put('k', 'v', { ttlMs: '60000' as unknown as number })],
  ['DURABILITY_INVALID', 'durability', (client) => client.put('k', 'v', { durability: 'FOO' as 'DURABLE' })],
  ['DURABILITY_INVALID', 'durability', (client) => client.put('k', 'v', { durability: 'toString' as 'DURABLE' })],
  ['NAMESPACE_INVALID', 'name', (client) => client.namespaces.create(undefined as unknown as string)],
  ['TTL_INVALID', 'ttlMs', (client) => client.namespaces.create('n', { ttlMs: Number.NaN })],
  ['TTL_INVALID', 'losersKeptMs', (client) => client.namespaces.alter('n', { losersKeptMs: Number.POSITIVE_INFINITY })],
  ['QUORUM_INVALID', 'r', (client) => client.namespaces.alter('n', { r: -1 })],
  ['DURABILITY_INVALID', 'durability', (client) => client.namespaces.create('n', { durability: 'FOO' as 'DURABLE' })],
  ['NAMESPACE_INVALID', 'resolution', (client) => client.namespaces.create('n', { resolution: 'FOO' as 'SIBLINGS' })],
  ['NAMESPACE_INVALID', 'readAllProbability', (client) => client.namespaces.alter('n', { readAllProbability: 2 })],
  ['NAMESPACE_INVALID', 'strict', (client) => client.namespaces.alter('n', { strict: 1 as unknown as boolean })],
  ['OPERATION_INVALID', 'expectedVersion', (client) => client.namespaces.alter('n', {}, { expectedVersion: -1 })],
  ['OPERATION_INVALID', 'limit', (client) => client.hotKeys({ limit: -1 })],
];

for (const [reason, field, attempt] of bad) {
  test(`${attempt.toString().replace('(client) => client.', '')} is refused before anything is sent`, async () => {
    const error = await refused(attempt);
    assert.deepEqual([error.reason, error.field], [reason, field]);
  });
}

test('a key or a value that is neither text nor bytes is refused', async () => {
  assert.equal((await refused((client) => client.get(undefined as unknown as string))).reason, 'OPERATION_INVALID');
  assert.equal((await refused((client) => client.put('k', 7 as unknown as string))).reason, 'OPERATION_INVALID');
});

test('the time of an operation, or its end by a signal, is not outlasted by the wait for the first ring', async (t) => {
  const client = connect({ endpoints: ['127.0.0.1:1'], direct: true });
  t.after(() => client.close());
  const ended: string[] = [];
  const abort = new AbortController();
  const end = (what: string) => (error: { reason?: string; name: string }) => {
    ended.push(`${what}: ${error.reason ?? error.name}`);
  };
  await Promise.all([
    client.get('k', { timeoutMs: 1_000 }).catch(end('patient')),
    client.get('k', { timeoutMs: 50 }).catch(end('hasty')),
    client.get('k', { signal: abort.signal }).catch(end('aborted')),
    Promise.resolve().then(() => abort.abort()),
  ]);
  assert.deepEqual(ended, ['aborted: AbortError', 'hasty: NO_RING', 'patient: NO_RING']);
});

test('endpoints that are none are refused at once', () => {
  for (const endpoints of [undefined, [], '127.0.0.1:7400', [7], ['127.0.0.1'], ['http://127.0.0.1:7400'], ['']]) {
    assert.throws(
      () => connect({ endpoints: endpoints as string[] }),
      /TypeError: connect: endpoints has to be a list/,
    );
  }
});

test('after its close a client refuses everything, and keeps no program alive', async () => {
  for (const direct of [false, true]) {
    const client = connect({ endpoints: ['127.0.0.1:1'], direct });
    await client.close();
    for (const attempt of [() => client.get('k', { timeoutMs: 60_000 }), () => client.ring()]) {
      await assert.rejects(attempt, (error) => error instanceof OperationFailed && error.reason === 'DRAINING');
    }
  }
});
