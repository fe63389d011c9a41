/** What callers of the client say of an operation is what the store is asked. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type CartwheelClient, connect, OperationFailed } from '../../client/index.ts';
import type { Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { startFakeStore } from '../cli/fake-store.ts';

async function setup(t: TestContext): Promise<[CartwheelClient, () => Operation | undefined]> {
  const store = await startFakeStore();
  const client = connect({ endpoints: [store.address] });
  t.after(async () => {
    await client.close();
    store.close();
  });
  let last: Operation | undefined;
  store.refuse = (operation) => {
    last = operation;
    return undefined;
  };
  return [client, () => last];
}

test('P5: a write that its caller tries again says so, or nobody would be asked whether it is known', async (t) => {
  const [client, last] = await setup(t);
  const requestId = Buffer.from('request 1');
  await client.put('cart', 'v', { requestId });
  assert.equal(last()?.put?.attempt, 0);
  await client.put('cart', 'v', { requestId, attempt: 2 });
  assert.equal(last()?.put?.attempt, 2);
  await client.delete('cart', Buffer.from('context'), { requestId, attempt: 1 });
  assert.equal(last()?.delete?.attempt, 1);
});

test('P7: a get goes with the session it belongs to', async (t) => {
  const [client, last] = await setup(t);
  const { context } = await client.put('cart', 'v');
  await client.get('cart', { session: context });
  assert.deepEqual(last()?.get?.sessionContext, context);
});

test('a ttl that is no whole number is the next one, and ends no session for all that is on it', async (t) => {
  const [client, last] = await setup(t);
  await Promise.all([client.get('other'), client.put('cart', 'v', { ttlMs: 1_234.5678 })]);
  assert.deepEqual(last()?.put?.ttl, { seconds: 1n, nanos: 235_000_000 });
});

test('an update has one time for all that it asks', async (t) => {
  const [client, last] = await setup(t);
  const merge = () => {
    for (const end = performance.now() + 5; performance.now() < end; );
    return 'v';
  };
  await client.update('cart', merge, { timeoutMs: 10_000 });
  assert.ok((last()?.timeoutMs ?? 0) <= 9_996, `${last()?.timeoutMs}`);
  const tooLong = () => {
    for (const end = performance.now() + 550; performance.now() < end; );
    return 'never written';
  };
  await assert.rejects(
    client.update('late', tooLong, { timeoutMs: 500 }),
    (error) => error instanceof OperationFailed && error.reason === 'DEADLINE' && error.outcome === 'NOT_APPLIED',
  );
});

test('a put goes with what its acknowledgement has to rest on', async (t) => {
  const [client, last] = await setup(t);
  await client.put('cart', 'v', { require: { zones: 2 } });
  assert.deepEqual(last()?.put?.require, { durable: 0, hosts: 0, zones: 2 });
  await client.put('cart', 'v');
  assert.equal(last()?.put?.require, undefined);
});
