/** What the client remembers for its callers: sessions, where a value was read, what is under way. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import type { CartwheelClient } from '../../client/index.ts';
import { type ConnectOptions, connect, type OperationEvent, OperationFailed } from '../../client/index.ts';
import { createSession } from '../../client/session.ts';
import { Reason } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { createContextCodec } from '../../services/core/codec/context.ts';
import { hashOfStorageKey, storageKey } from '../../services/core/ring/storage-key.ts';
import { contains } from '../../services/core/versioning/causal-context.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { startFakeStore } from '../cli/fake-store.ts';

async function setup(t: TestContext, options: Partial<ConnectOptions> = {}) {
  const store = await startFakeStore();
  const client = connect({ endpoints: [store.address], ...options });
  t.after(async () => {
    await client.close();
    store.close();
  });
  return { store, client };
}

const contexts = createContextCodec(xxh64);
const keyHash = hashOfStorageKey(storageKey('default', Buffer.from('cart'), xxh64));
const contextOf = (actor: bigint, upTo: number) =>
  Buffer.from(contexts.encode([{ actor, upTo, detached: [], height: 0 }], keyHash));

test('P7: a session sends what it has seen, and keeps both of two answers that overtake each other', async () => {
  const [a, b] = [contextOf(1n, 3), contextOf(2n, 1)];
  const sent: (Uint8Array | undefined)[] = [];
  const answers = [Promise.withResolvers<Buffer>(), Promise.withResolvers<Buffer>()];
  const waiting = answers.slice();
  const fake = {
    async get(_: unknown, { session }: { session?: Uint8Array }) {
      sent.push(session);
      return { context: (await waiting.shift()?.promise) ?? a };
    },
    put: async () => ({ context: b }),
  } as unknown as CartwheelClient;
  const session = createSession(fake);
  const reads = [session.get('cart'), session.get('cart')];
  answers[1]?.resolve(a);
  answers[0]?.resolve(contextOf(1n, 1));
  await Promise.all(reads);
  await session.put('cart', 'v');
  await session.get('cart');
  assert.deepEqual(sent.slice(0, 2), [undefined, undefined]);
  const seen = contexts.decode(sent[2] as Uint8Array, keyHash);
  assert.ok(contains(seen, { actor: 1n, counter: 3 }) && contains(seen, { actor: 2n, counter: 1 }));
  await session.get('other key');
  assert.equal(sent[3], undefined);
});

test('P7: a session goes with what its caller names beside what it has seen, and not in its place', async () => {
  const sent: (Uint8Array | undefined)[] = [];
  const fake = {
    async get(_: unknown, { session }: { session?: Uint8Array }) {
      sent.push(session);
      return { context: contextOf(1n, 1) };
    },
    put: async () => ({ context: contextOf(1n, 3) }),
  } as unknown as CartwheelClient;
  const session = createSession(fake);
  await session.put('cart', 'v');
  await session.get('cart', { session: undefined });
  await session.get('cart', { session: contextOf(2n, 1) });
  await session.get('other', { session: contextOf(2n, 1) });
  const [mine, both, other] = sent.map((context) => contexts.decode(context as Uint8Array, keyHash));
  assert.ok(contains(mine ?? [], { actor: 1n, counter: 3 }));
  assert.ok(contains(both ?? [], { actor: 1n, counter: 3 }) && contains(both ?? [], { actor: 2n, counter: 1 }));
  assert.ok(!contains(other ?? [], { actor: 1n, counter: 1 }) && contains(other ?? [], { actor: 2n, counter: 1 }));
});

test('an update writes nothing where what was read does not cover the session', async (t) => {
  const { store, client } = await setup(t);
  store.coversSession = false;
  await assert.rejects(
    client.session().update('cart', () => 'v'),
    (error) => {
      return (
        error instanceof OperationFailed && error.reason === 'NOT_ENOUGH_REPLICAS' && error.outcome === 'NOT_APPLIED'
      );
    },
  );
  assert.equal(store.values.size, 0);
});

test('P7: a session remembers what the merge of an update has seen, though nothing was written', async (t) => {
  const { store, client } = await setup(t);
  await client.put('cart', 'v');
  const { context } = await client.get('cart');
  const session = client.session();
  const failure = new Error('of the merge');
  await assert.rejects(
    session.update('cart', () => {
      throw failure;
    }),
    failure,
  );
  let sent: Uint8Array | undefined;
  store.refuse = ({ get }) => {
    sent = get?.sessionContext;
    return undefined;
  };
  await session.get('cart');
  assert.deepEqual(Buffer.from(sent ?? []), Buffer.from(context));
});

test('the hook is told of each operation, and of why it failed', async (t) => {
  const events: OperationEvent[] = [];
  const { store, client } = await setup(t, { onOperation: (event) => events.push(event) });
  await client.put('cart', 'v', { namespace: 'carts' });
  store.refuse = () => ({ reason: Reason.NAMESPACE_UNKNOWN, code: 5 });
  await assert.rejects(client.get('cart'));
  store.refuse = () => undefined;
  await assert.rejects(client.get('cart', { signal: AbortSignal.abort() }));
  assert.deepEqual(
    events.map(({ operation, namespace, attempts, address, reason }) => [
      operation,
      namespace,
      attempts,
      address,
      reason,
    ]),
    [
      ['put', 'carts', 1, store.address, undefined],
      ['get', '', 1, store.address, 'NAMESPACE_UNKNOWN'],
    ],
  );
  assert.ok(events.every(({ milliseconds }) => milliseconds >= 0));
});

test('what was refused because too much was under way is tried once more', async (t) => {
  const { store, client } = await setup(t);
  let refused = 0;
  store.refuse = () => (refused++ === 0 ? { reason: Reason.OVERLOADED, code: 8, retryAfterMs: 20 } : undefined);
  await client.put('cart', 'v');
  assert.equal(refused, 2);
  refused = 0;
  store.refuse = () => {
    refused++;
    return { reason: Reason.OVERLOADED, code: 8, retryAfterMs: 20 };
  };
  await assert.rejects(client.put('cart', 'v'), /refused by the test/);
  assert.equal(refused, 2);
});

test('a signal that outlives many operations keeps nothing of them', async (t) => {
  const { store, client } = await setup(t);
  const { signal } = new AbortController();
  let refused = 0;
  store.refuse = () => (refused++ % 2 === 0 ? { reason: Reason.OVERLOADED, code: 8, retryAfterMs: 1 } : undefined);
  for (let i = 0; i < 3; i++) await client.put('cart', 'v', { signal });
  assert.equal(refused, 6);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('a client that is closed waits for an update that has begun, and for its write', async (t) => {
  const { store, client } = await setup(t);
  const updates = Array.from({ length: 5 }, (_, i) => client.update(`cart-${i}`, () => 'v'));
  await client.close();
  await Promise.all(updates);
  assert.equal(store.values.size, 5);
});

test('a client that is closed waits for what is under way, and begins nothing more', async (t) => {
  const { store, client } = await setup(t);
  const writes = Array.from({ length: 20 }, (_, i) => client.put(`cart-${i}`, 'v'));
  const closed = client.close();
  await assert.rejects(
    client.put('late', 'v'),
    (error) => error instanceof OperationFailed && error.reason === 'DRAINING',
  );
  await Promise.all(writes);
  await closed;
  assert.equal(store.values.size, 20);
});

test('with direct, what no storage node can be reached for goes to the endpoints', async (t) => {
  const { store, client } = await setup(t, { direct: true });
  store.nodeAddress = '127.0.0.1:1';
  await client.put('cart', 'v', { timeoutMs: 8_000 });
  assert.equal(store.values.size, 1);
});
