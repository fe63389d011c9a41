/** P3, seen from a client: an update must not cover what its merge has not seen. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type CartwheelClient, connect, OperationFailed } from '../../client/index.ts';
import type { Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { type FakeStore, startFakeStore } from '../cli/fake-store.ts';

/** Three siblings, of which one fits into an answer. */
async function setup(t: TestContext): Promise<[FakeStore, CartwheelClient]> {
  const store = await startFakeStore();
  const client = connect({ endpoints: [store.address] });
  t.after(async () => {
    await client.close();
    store.close();
  });
  store.answerBytesMax = 5;
  for (const value of ['one', 'two', 'three']) store.put('cart', value);
  return [store, client];
}

const isSingleRead = ({ get }: Operation) => get !== undefined && get.dots.length > 0;

const all = (siblings: readonly { readonly value: Buffer }[]) => siblings.map(({ value }) => value.toString()).join();

test('an update merges the siblings too that did not fit into one answer', async (t) => {
  const [store, client] = await setup(t);
  await client.update('cart', all);
  assert.deepEqual(
    store.values.get('cart')?.map(({ value }) => value.toString()),
    ['one,two,three'],
  );
});

test('where a sibling was replaced while the others were read, the update begins again with what replaced it', async (t) => {
  const [store, client] = await setup(t);
  let isReplaced = false;
  store.refuse = (operation) => {
    if (isSingleRead(operation) && !isReplaced) {
      isReplaced = true;
      store.values.set('cart', store.values.get('cart')?.slice(0, 1) ?? []);
      store.put('cart', 'four');
    }
    return undefined;
  };
  let merges = 0;
  await client.update('cart', (siblings) => {
    merges++;
    return all(siblings);
  });
  assert.equal(merges, 1, 'what was read half is never merged');
  assert.deepEqual(
    store.values.get('cart')?.map(({ value }) => value.toString()),
    ['one,four'],
  );
});

test('an update gives up, with nothing written, where siblings go on changing under it', async (t) => {
  const [store, client] = await setup(t);
  let reads = 0;
  store.refuse = (operation) => {
    if (isSingleRead(operation)) {
      reads++;
      store.values.set('cart', store.values.get('cart')?.slice(0, 1) ?? []);
      store.put('cart', `new ${reads}`);
    }
    return undefined;
  };
  await assert.rejects(client.update('cart', all), (error: unknown) => {
    assert.ok(error instanceof OperationFailed);
    assert.equal(error.reason, 'OVERLOADED');
    assert.equal(error.outcome, 'NOT_APPLIED');
    assert.match(error.message, /change faster than they can all be read/);
    return true;
  });
  assert.equal(reads, 5);
  assert.equal(store.requestIds.length, 0);
});
