import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PutRequest, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { neverCancelled } from '../../services/core/cancellation.ts';
import { Failure, type OutcomeName, type ReasonName } from '../../services/core/failure.ts';
import { createExtraBudget } from '../../services/core/quorum/extra-budget.ts';
import { toOperationError } from '../../services/platform/errors.ts';
import { type DispatchPorts, dispatch as dispatchUntil } from '../../services/platform/routing/dispatch.ts';
import { createRequestIds } from '../../services/platform/routing/request-ids.ts';
import type { OperationBody } from '../../services/platform/streams/session-client.ts';

const put: PutRequest = {
  namespace: '',
  key: Buffer.from('k'),
  value: Buffer.from('v'),
  context: Buffer.alloc(0),
  durability: 0,
  requestId: Buffer.alloc(0),
  attempt: 0,
  ttl: undefined,
  require: undefined,
};
const operation: OperationBody = { timeoutMs: 0, put };
const stored = { timeoutMs: 0, put: { context: Buffer.alloc(0), siblings: 1, receipt: undefined } };

interface Sent {
  readonly address: string;
  readonly body: OperationBody;
}

type Reply = 'ok' | { readonly reason: ReasonName; readonly outcome: OutcomeName; readonly inResult?: boolean };

/** A pool whose processes answer as the test says; each answer takes `ms` of its time. */
function poolOf(replies: Readonly<Record<string, Reply>>, { ready = Object.keys(replies), ms = 0 } = {}) {
  const sent: Sent[] = [];
  let now = 0;
  let ids = 0;
  const ports = {
    pool: {
      ready: (address: string) => ready.includes(address),
      async send(address: string, body: OperationBody): Promise<Result | Failure> {
        sent.push({ address, body });
        now += ms;
        const reply = replies[address] as Reply;
        if (reply === 'ok') return { id: 1n, ...stored };
        const failure = new Failure(reply.reason, `from ${address}`, { outcome: reply.outcome });
        return reply.inResult ? { id: 1n, error: toOperationError(failure) } : failure;
      },
    },
    clock: { now: () => now },
    extra: createExtraBudget(10),
    newRequestId: () => Buffer.from(`id${++ids}`),
  };
  return { ports, sent };
}

function dispatch(ports: DispatchPorts, addresses: readonly string[], body: OperationBody, deadline: number) {
  return dispatchUntil(ports, addresses, body, { deadline, cancellation: neverCancelled });
}

const gone: Reply = { reason: 'NOT_ENOUGH_REPLICAS', outcome: 'UNKNOWN' };
const draining: Reply = { reason: 'DRAINING', outcome: 'NOT_APPLIED', inResult: true };

async function failureOf(run: Promise<unknown>): Promise<Failure> {
  try {
    await run;
  } catch (error) {
    assert.ok(error instanceof Failure, `${error}`);
    return error;
  }
  assert.fail('a failure was expected');
}

test('the first process that answers is the last one asked', async () => {
  const { ports, sent } = poolOf({ a: 'ok', b: 'ok' });
  assert.deepEqual(await dispatch(ports, ['a', 'b'], operation, 1_000), { id: 1n, ...stored });
  assert.deepEqual(
    sent.map(({ address }) => address),
    ['a'],
  );
});

test('I1: every attempt of a write carries one request id and the number of the attempt', async () => {
  const { ports, sent } = poolOf({ a: gone, b: draining, c: 'ok' });
  await dispatch(ports, ['a', 'b', 'c'], operation, 1_000);
  assert.deepEqual(
    sent.map(({ body }) => [body.put?.requestId.toString(), body.put?.attempt]),
    [
      ['id1', 0],
      ['id1', 1],
      ['id1', 2],
    ],
  );
});

test('an attempt after the last that can be counted is counted as that one, or no message could carry it', async () => {
  const { ports, sent } = poolOf({ a: gone, b: 'ok' });
  await dispatch(ports, ['a', 'b'], { timeoutMs: 0, put: { ...put, attempt: 2 ** 32 - 1 } }, 1_000);
  assert.equal(sent[1]?.body.put?.attempt, 2 ** 32 - 1);
});

test("I1: a client's own request id and attempt are kept, and deletes get theirs too", async () => {
  const mine = poolOf({ a: gone, b: 'ok' });
  await dispatch(
    mine.ports,
    ['a', 'b'],
    { timeoutMs: 0, put: { ...put, requestId: Buffer.from('mine'), attempt: 4 } },
    1_000,
  );
  assert.deepEqual(
    mine.sent.map(({ body }) => [body.put?.requestId.toString(), body.put?.attempt]),
    [
      ['mine', 4],
      ['mine', 5],
    ],
  );
  const { ports, sent } = poolOf({ a: gone, b: 'ok' });
  const remove = {
    namespace: '',
    key: put.key,
    context: Buffer.from('c'),
    durability: 0 as const,
    requestId: Buffer.alloc(0),
    attempt: 0,
  };
  await dispatch(ports, ['a', 'b'], { timeoutMs: 0, delete: remove }, 1_000);
  assert.deepEqual(
    sent.map(({ body }) => [body.delete?.requestId.toString(), body.delete?.attempt]),
    [
      ['id1', 0],
      ['id1', 1],
    ],
  );
});

test('I2: processes that are ready come first, in the order given; each address is tried at most once', async () => {
  const { ports, sent } = poolOf({ a: gone, b: gone, c: gone }, { ready: ['b', 'c'] });
  await failureOf(dispatch(ports, ['a', 'b', 'c', 'b', 'a'], operation, 1_000));
  assert.deepEqual(
    sent.map(({ address }) => address),
    ['b', 'c', 'a'],
  );
  const all = poolOf({ a: gone, b: gone });
  await failureOf(dispatch(all.ports, ['a', 'a', 'b', 'a'], operation, 1_000));
  assert.deepEqual(
    all.sent.map(({ address }) => address),
    ['a', 'b'],
  );
});

test('I3: NOT_APPLIED is said only where no attempt can have been applied', async () => {
  const reasons = fc.constantFrom<ReasonName>(
    'DRAINING',
    'NO_RING',
    'NOT_ENOUGH_REPLICAS',
    'STORAGE_FAILED',
    'OVERLOADED',
    'DEADLINE',
    'CONTEXT_INVALID',
    'INTERNAL',
  );
  const reply: fc.Arbitrary<Reply> = fc.oneof(
    fc.constant('ok' as const),
    fc.record({
      reason: reasons,
      outcome: fc.constantFrom<OutcomeName>('NOT_APPLIED', 'UNKNOWN'),
      inResult: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(reply, { maxLength: 5 }), fc.constantFrom(0, 300), async (replies, ms) => {
      const named = Object.fromEntries(replies.map((one, i) => [`p${i}`, one]));
      const { ports, sent } = poolOf(named, { ms });
      const addresses = Object.keys(named);
      const answered = await dispatch(ports, addresses, operation, 1_000).then(
        () => undefined,
        (failure: Failure) => failure,
      );
      const tried = sent.map(({ address }) => named[address] as Reply);
      assert.equal(new Set(sent.map(({ address }) => address)).size, sent.length);
      if (answered === undefined) {
        assert.equal(tried.at(-1), 'ok');
      } else {
        const inDoubt = tried.some((one) => one !== 'ok' && one.outcome === 'UNKNOWN');
        assert.equal(answered.outcome, inDoubt ? 'UNKNOWN' : 'NOT_APPLIED');
      }
    }),
  );
});

test('only what another process may do better is sent on', async () => {
  for (const reason of ['CONTEXT_INVALID', 'OVERLOADED', 'REQUEST_ID_REUSED', 'INTERNAL'] as const) {
    const { ports, sent } = poolOf({ a: { reason, outcome: 'NOT_APPLIED', inResult: true }, b: 'ok' });
    assert.equal((await failureOf(dispatch(ports, ['a', 'b'], operation, 1_000))).reason, reason);
    assert.equal(sent.length, 1);
  }
  for (const reason of ['DEADLINE', 'DRAINING', 'NO_RING', 'NOT_ENOUGH_REPLICAS', 'STORAGE_FAILED'] as const) {
    const { ports, sent } = poolOf({ a: { reason, outcome: 'NOT_APPLIED', inResult: true }, b: 'ok' });
    await dispatch(ports, ['a', 'b'], operation, 1_000);
    assert.equal(sent.length, 2);
  }
});

test('each attempt gets its share of the time that is left, and none is made when there is none', async () => {
  const { ports, sent } = poolOf({ a: gone, b: draining, c: 'ok' }, { ms: 400 });
  const failure = await failureOf(dispatch(ports, ['a', 'b', 'c'], operation, 750));
  assert.deepEqual(
    sent.map(({ body }) => body.timeoutMs),
    [250, 175],
  );
  assert.equal(failure.reason, 'DEADLINE');
  assert.equal(failure.outcome, 'UNKNOWN');
  assert.match(failure.message, /after 2 attempts/);
});

test('with nobody to ask, the failure says so and nothing was applied', async () => {
  const failure = await failureOf(dispatch(poolOf({}).ports, [], operation, 1_000));
  assert.deepEqual([failure.reason, failure.outcome], ['NOT_ENOUGH_REPLICAS', 'NOT_APPLIED']);
});

test('the last failure is passed on whole, but for an outcome that became unknown', async () => {
  const { ports } = poolOf({ a: gone, b: { reason: 'OVERLOADED', outcome: 'NOT_APPLIED', inResult: true } });
  const failure = await failureOf(dispatch(ports, ['a', 'b'], operation, 1_000));
  assert.deepEqual([failure.reason, failure.message, failure.outcome], ['OVERLOADED', 'from b', 'UNKNOWN']);
});

test('request ids of one process are 14 bytes and never twice the same', () => {
  const next = createRequestIds({ u64: () => 0x0102_0304_0506_0708n, below: () => 0 });
  const ids = Array.from({ length: 1_000 }, () => next().toString('hex'));
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.every((id) => id.length === 28 && id.startsWith('0102030405060708')));
});

test('attempts beyond the first are bound to a share of all operations', async () => {
  const { ports, sent } = poolOf({ a: draining, b: 'ok' }, { ready: [] });
  let failed = 0;
  for (let i = 0; i < 1_000; i++) {
    await dispatch(ports, ['a', 'b'], operation, 1_000).catch((error: unknown) => {
      assert.ok(error instanceof Failure && error.reason === 'DRAINING');
      failed++;
    });
  }
  // Ten were saved up.
  const second = sent.filter(({ address }) => address === 'b').length;
  assert.ok(second >= 50 && second <= 60, `${second} second attempts`);
  assert.equal(failed, 1_000 - second);
});
