import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GetAnswer, PutAnswer } from '../../../client/index.ts';
import { audited } from './acknowledged.ts';

/** A store of one key at a time that keeps what it is told to: values by name, and contexts that say what they cover. */
function store() {
  let values: Buffer[] = [];
  const covered = new Map<string, Buffer[]>();
  let contexts = 0;
  const contextOf = (seen: Buffer[]) => {
    const context = Buffer.from(String(++contexts));
    covered.set(context.toString(), seen);
    return context;
  };
  let fails = false;
  return {
    forget: (at: number) => values.splice(at, 1),
    bringBack: (value: Buffer) => values.push(value),
    get values() {
      return values;
    },
    set fails(now: boolean) {
      fails = now;
    },
    client: {
      async get(): Promise<GetAnswer> {
        return {
          siblings: values.map((value) => ({ value })),
          context: contextOf([...values]),
        } as unknown as GetAnswer;
      },
      async put(_: unknown, value: Uint8Array, options?: { context?: Uint8Array | undefined }): Promise<PutAnswer> {
        const seen = covered.get(options?.context?.toString() ?? '') ?? [];
        values = [...values.filter((one) => !seen.includes(one)), value as Buffer];
        if (fails) throw new Error('nobody knows');
        return { context: contextOf([...seen, value as Buffer]) } as unknown as PutAnswer;
      },
    },
  };
}

const value = Buffer.alloc(16);
const whole = { r: 3, readers: 1 };

test('what is covered need not be there, and what was written beside it must', async () => {
  const { client, values: _ } = store();
  const all = audited(client as never);
  await all.put('k', value);
  const { context } = await all.get('k');
  const first = await all.put('k', value, { context });
  await all.put('k', value, { context });
  await all.put('k', value, { context: first.context });
  const { acknowledged, lost, cameBack } = await all.audit(whole);
  assert.deepEqual({ acknowledged, lost, cameBack }, { acknowledged: 4, lost: [], cameBack: [] });
});

test('a write that is gone is lost', async () => {
  const kept = store();
  const all = audited(kept.client as never);
  await all.put('k', value);
  await all.put('k', value);
  kept.forget(0);
  assert.deepEqual((await all.audit(whole)).lost, ['write 1 of k']);
});

test('a write that was covered and is there has come back', async () => {
  const kept = store();
  const all = audited(kept.client as never);
  await all.put('k', value);
  const [first] = kept.values;
  const { context } = await all.get('k');
  await all.put('k', value, { context });
  kept.bringBack(first as Buffer);
  assert.deepEqual((await all.audit(whole)).cameBack, ['write 1 of k']);
});

test('a write of unknown outcome may have covered what was there', async () => {
  const kept = store();
  const all = audited(kept.client as never);
  await all.put('k', value);
  const { context } = await all.get('k');
  kept.fails = true;
  await assert.rejects(all.put('k', value, { context }));
  const { acknowledged, lost, cameBack } = await all.audit(whole);
  assert.deepEqual({ acknowledged, lost, cameBack }, { acknowledged: 1, lost: [], cameBack: [] });
});
