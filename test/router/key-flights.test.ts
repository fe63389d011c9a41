/** Single-flight, and how much of one key is under way at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GetRequest, Operation } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelling, neverCancelled, type Until } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import { type Answer, createKeyFlights, keyLimits } from '../../services/router/key-flights.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { createReadableMetrics } from '../storage-node/metrics.ts';
import { failureOf, get as getOf, put as putOf } from '../storage-node/requests.ts';

const { readsMax, writesMax, waitingMax } = keyLimits;

interface Sent {
  readonly key: string;
  readonly operation: Operation;
  readonly until: Until;
  answer(value?: string): void;
  fail(failure: Failure): void;
}

/** A router whose storage nodes answer when the test says so. */
function setup() {
  const clock = createManualClock();
  const metrics = createReadableMetrics();
  const sent: Sent[] = [];
  const flights = createKeyFlights(clock, metrics, (key, operation, until) => {
    return new Promise<Answer>((resolve, reject) => {
      sent.push({ key, operation, until, answer: (value = '') => resolve(answerOf(value)), fail: reject });
    });
  });
  const run = (key: string, body: Partial<Operation>, until: Partial<Until> = {}) =>
    flights.run(
      key,
      { id: 1n, timeoutMs: 0, ...body },
      { deadline: clock.now() + 1_000, cancellation: neverCancelled, ...until },
    );
  const get = (key: string, changes: Partial<GetRequest> = {}, until: Partial<Until> = {}) =>
    run(key, getOf(key, changes), until);
  const put = (key: string, value = 'v', until: Partial<Until> = {}) => run(key, putOf(key, value), until);
  /** As many as may be under way: what comes next waits. */
  const fill = (key: string) => Array.from({ length: readsMax }, () => get(key));
  return { clock, metrics, sent, get, put, fill };
}

function answerOf(value: string): Answer {
  const siblings = [{ value: Buffer.from(value), dot: 'a:1', writtenAtMs: 0n, ttlLeft: undefined }];
  return { get: { siblings, omitted: [], context: Buffer.alloc(0), certificate: undefined } };
}

const valueRead = async (answer: Promise<Answer>) => (await answer).get?.siblings[0]?.value.toString();
const turn = () => new Promise(setImmediate);

test('identical reads that wait share one, and each is answered', async () => {
  const { sent, get, fill, metrics } = setup();
  fill('k');
  const waiting = Array.from({ length: 50 }, () => get('k'));
  assert.equal(sent.length, readsMax);
  assert.equal(metrics.valueOf('cartwheel_waiting_for_key'), 1);
  sent[0]?.answer('old');
  await turn();
  assert.equal(sent.length, readsMax + 1);
  sent.at(-1)?.answer('new');
  assert.deepEqual(await Promise.all(waiting.map(valueRead)), Array(50).fill('new'));
  assert.equal(metrics.valueOf('cartwheel_shared_reads_total'), 49);
  assert.equal(metrics.valueOf('cartwheel_waiting_for_key'), 0);
});

test('I1: a read shares none that was sent before it came, and so sees what its client wrote before', async () => {
  const { sent, get, put, fill } = setup();
  let stored = 'old';
  /** What each read found when it reached the store. */
  const found = new Map<Sent, string>();
  const arrive = () => {
    for (const one of sent) if (!found.has(one)) found.set(one, stored);
  };
  fill('k');
  const waited = get('k');
  sent[0]?.answer();
  await turn(); // What waited is sent now …
  arrive(); // … and read before the write.
  const writing = put('k', 'new');
  stored = 'new';
  sent.at(-1)?.answer();
  await writing;
  const read = get('k'); // By the client whose write was acknowledged.
  for (const one of [...sent]) {
    one.answer(found.get(one));
    await turn();
    arrive();
  }
  for (const one of sent) one.answer(found.get(one));
  assert.equal(await valueRead(waited), 'old');
  assert.equal(await valueRead(read), 'new');
});

test('I2: reads that ask for something else share nothing', async () => {
  const { sent, get, fill } = setup();
  fill('k');
  const changes: Partial<GetRequest>[] = [
    {},
    { r: 1 },
    { r: 2 },
    { maxBytes: 1 },
    { dots: ['a:1'] },
    { dots: ['a:1', 'b:1'] },
    { sessionContext: Buffer.from('seen') },
    // Told apart although they run into each other, as a client might wish that they did.
    { dots: ['a:1,b:1'] },
    { dots: ['a:1 seen'], sessionContext: Buffer.from('it') },
    { dots: ['a:1'], sessionContext: Buffer.from('seen it') },
  ];
  for (const change of changes) {
    void get('k', change);
    void get('k', change);
  }
  for (let i = 0; i < sent.length; i++) {
    sent[i]?.answer();
    await turn();
  }
  assert.deepEqual(
    sent.slice(readsMax).map(({ operation }) => operation.get),
    changes.map((change) => getOf('k', change).get),
  );
});

test('a crowd at one key keeps no other waiting', async () => {
  const { sent, get, put } = setup();
  for (let i = 0; i < 2_000; i++) void get('hot');
  for (let i = 0; i < 500; i++) void put('hot');
  const reads = Array.from({ length: 100 }, (_, i) => get(`cold ${i}`));
  const of = (prefix: string) => sent.filter(({ key }) => key.startsWith(prefix));
  assert.equal(of('hot').length, readsMax + writesMax);
  assert.equal(of('cold').length, 100);
  for (const one of of('cold')) one.answer();
  await Promise.all(reads);
});

test('writes of a key go out in their order, as many at a time as may be under way', async () => {
  const { sent, put } = setup();
  const writes = Array.from({ length: 3 * writesMax }, (_, i) => put('k', `v${i}`));
  for (let i = 0; i < writes.length; i++) {
    assert.ok(sent.length - i <= writesMax);
    sent[i]?.answer();
    await turn();
  }
  assert.deepEqual(
    sent.map(({ operation }) => operation.put?.value.toString()),
    writes.map((_, i) => `v${i}`),
  );
});

test('I3: beyond what may wait for one key it is refused, with a time to come back, and another key is not', async () => {
  const { put, metrics, sent } = setup();
  for (let i = 0; i < writesMax + waitingMax; i++) put('k').catch(() => {});
  const failure = await failureOf(put('k'));
  assert.equal(failure.reason, 'OVERLOADED');
  assert.equal(failure.outcome, 'NOT_APPLIED');
  assert.ok(failure.details.retryAfterMs);
  assert.equal(metrics.valueOf('cartwheel_hot_key_refusals_total'), 1);
  void put('other');
  assert.equal(sent.at(-1)?.key, 'other');
});

test('I4: a shared read goes with the latest deadline, and whoever has less time is told at its own', async () => {
  const { clock, sent, get, fill } = setup();
  fill('k');
  const patient = get('k', {}, { deadline: 500 });
  const hasty = failureOf(get('k', {}, { deadline: 100 }));
  sent[0]?.answer();
  await turn();
  assert.equal(sent.at(-1)?.until.deadline, 500);
  clock.advance(150);
  assert.equal((await hasty).reason, 'DEADLINE');
  sent.at(-1)?.answer('v');
  assert.equal(await valueRead(patient), 'v');
});

test('I4: what waits past its deadline was not applied, and is never sent', async () => {
  const { clock, sent, put } = setup();
  for (let i = 0; i < writesMax; i++) void put('k', 'v', { deadline: 10_000 });
  const late = failureOf(put('k', 'late', { deadline: 100 }));
  clock.advance(150);
  const failure = await late;
  assert.deepEqual([failure.reason, failure.outcome], ['DEADLINE', 'NOT_APPLIED']);
  sent[0]?.answer();
  await turn();
  assert.equal(sent.length, writesMax);
});

test('I4: one that is cancelled leaves the others their answer; when all are, the read is', async () => {
  const { sent, get, fill } = setup();
  fill('k');
  const [first, second] = [new Cancelling(), new Cancelling()];
  const cancelled = failureOf(get('k', {}, { cancellation: first }));
  const other = get('k', {}, { cancellation: second });
  sent[0]?.answer();
  await turn();
  first.cancel();
  await cancelled;
  assert.equal(sent.at(-1)?.until.cancellation.cancelled, false);
  second.cancel();
  await failureOf(other);
  assert.equal(sent.at(-1)?.until.cancellation.cancelled, true);
});

test('I4: what all have cancelled while it waits is never sent, and nobody shares it', async () => {
  const { sent, get, fill, metrics } = setup();
  fill('k');
  const cancellation = new Cancelling();
  const cancelled = failureOf(get('k', {}, { cancellation }));
  cancellation.cancel();
  await cancelled;
  assert.equal(metrics.valueOf('cartwheel_waiting_for_key'), 0);
  const read = get('k');
  sent[0]?.answer();
  await turn();
  assert.equal(sent.length, readsMax + 1);
  sent.at(-1)?.answer('v');
  assert.equal(await valueRead(read), 'v');
  await failureOf(get('k', {}, { cancellation }));
  assert.equal(sent.length, readsMax + 1);
});

test('a failure is the failure of all that share it, and the next ones go on', async () => {
  const { sent, get, fill } = setup();
  const first = fill('k').map((read) => read.catch(() => {}));
  const waiting = [get('k'), get('k')].map(failureOf);
  const gone = new Failure('NOT_ENOUGH_REPLICAS', 'gone');
  for (let i = 0; i < readsMax; i++) {
    sent[i]?.fail(gone);
    await turn();
  }
  sent[readsMax]?.fail(gone);
  await Promise.all(first);
  assert.deepEqual(await Promise.all(waiting), [gone, gone]);
  const next = get('k');
  sent.at(-1)?.answer('v');
  assert.equal(await valueRead(next), 'v');
});
