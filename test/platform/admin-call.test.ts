import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAdmin } from '../../services/platform/routing/admin-call.ts';
import { startFakeStore } from '../cli/fake-store.ts';

test('what cannot be made into a request fails the call, and not the process', async (t) => {
  const store = await startFakeStore();
  t.after(() => store.close());
  const call = () => {
    throw new RangeError('no such number');
  };
  await assert.rejects(callAdmin(store.address, 3_000, call), /no such number/);
});
