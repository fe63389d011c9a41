/** Which home of a key an operation is sent to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import type { RingNode } from '../../services/core/ring/ring.ts';
import { storageKey, storageKeyText } from '../../services/core/ring/storage-key.ts';
import { toOperationError } from '../../services/platform/errors.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createHotKeys } from '../../services/platform/hot-keys.ts';
import { createBalancer } from '../../services/platform/routing/balancer.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { seededRandom } from '../sim/random.ts';
import { createReadableMetrics } from '../storage-node/metrics.ts';

const nodeOf = (index: number): RingNode => {
  return { index, id: `n${index}`, address: `h${index}`, host: `h${index}`, zone: `z${index}`, status: 'UP' };
};
const homes = [0, 1, 2].map(nodeOf);
const fallbacks = [3, 4].map(nodeOf);
const coordinators = { homes, fallbacks };
const body = { timeoutMs: 0 };
const unsendable = { timeoutMs: 0 };

/** `ms`: how long each takes, more or less. */
function setup({ zone, noisy = false }: { zone?: string; noisy?: boolean } = {}) {
  const clock = createManualClock();
  const ready = new Set([...homes, ...fallbacks].map(({ address }) => address));
  const ms: Record<string, number> = {};
  const noise = seededRandom(1, 'noise');
  const answers: Record<string, Result | Failure> = {};
  const balancer = createBalancer({
    pool: {
      ready: (address) => ready.has(address),
      keep() {},
      send(address, what) {
        if (what === unsendable) throw new TypeError('it has no size');
        clock.advance((ms[address] ?? 1) * (noisy ? noise.between(0.3, 3) : 1));
        return Promise.resolve(answers[address] ?? { id: 1n });
      },
    },
    clock,
    random: seededRandom(1),
    zone,
  });
  /** How often each comes first. */
  async function firsts(count: number, operation: 'read' | 'write' = 'read'): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const [first] = balancer.order(coordinators, operation) as [string];
      counts[first] = (counts[first] ?? 0) + 1;
      await balancer.send(first, body, 1_000);
    }
    return counts;
  }
  return { balancer, clock, ready, ms, answers, firsts };
}

test('homes that are alike share the operations, and fallbacks get none', async () => {
  const { firsts } = setup();
  const counts = await firsts(600);
  assert.deepEqual(Object.keys(counts).sort(), ['h0', 'h1', 'h2']);
  for (const count of Object.values(counts)) assert.ok(count > 100, JSON.stringify(counts));
});

test('who is slow gets little, and its share again when it is not', async () => {
  const { firsts, ms } = setup({ noisy: true });
  ms.h1 = 400;
  const while1Slow = await firsts(600);
  assert.ok((while1Slow.h1 ?? 0) < 60, JSON.stringify(while1Slow));
  ms.h1 = 1;
  await firsts(8_000);
  const after = await firsts(600);
  assert.ok((after.h1 ?? 0) > 100, JSON.stringify(after));
});

test('who fails fast is not fast', async () => {
  for (const answer of [
    new Failure('OVERLOADED', 'full'),
    { id: 1n, error: toOperationError(new Failure('STORAGE_FAILED', 'no disk')) },
  ]) {
    const { firsts, ms, answers } = setup();
    Object.assign(ms, { h0: 5, h1: 0, h2: 5 });
    answers.h1 = answer;
    const counts = await firsts(600);
    assert.ok((counts.h1 ?? 0) < 60, JSON.stringify(counts));
  }
});

test('what every home would refuse alike, or nobody waits for, says nothing of one', async () => {
  for (const answer of [
    { id: 1n, error: toOperationError(new Failure('CONTEXT_INVALID', 'no context')) },
    new Cancelled('UNKNOWN'),
  ]) {
    const { firsts, answers } = setup();
    answers.h1 = answer;
    const counts = await firsts(600);
    assert.ok((counts.h1 ?? 0) > 60, JSON.stringify(counts));
  }
});

test('what is thrown when it is sent is not under way for ever', async () => {
  const { balancer, firsts } = setup();
  await firsts(100);
  for (let i = 0; i < 1_000; i++) await assert.rejects(balancer.send('h1', unsendable, 1_000), /no size/);
  const counts = await firsts(600);
  assert.ok((counts.h1 ?? 0) > 60, JSON.stringify(counts));
});

test('I1: homes that are ready come first, then the other homes, then fallbacks; each once', () => {
  const { balancer, ready } = setup();
  ready.delete('h0');
  for (let i = 0; i < 50; i++) {
    const order = balancer.order(coordinators, i % 2 === 0 ? 'read' : 'write');
    assert.deepEqual([...order.slice(0, 2)].sort(), ['h1', 'h2']);
    assert.deepEqual(order.slice(2), ['h0', 'h3', 'h4']);
  }
});

test('I3: a write goes to the first home that is ready, until that costs twice as much', async () => {
  const { firsts, ms, ready } = setup();
  Object.assign(ms, { h0: 6, h1: 4, h2: 4 });
  assert.ok(((await firsts(400, 'write')).h0 ?? 0) > 350);
  ms.h0 = 100;
  assert.ok(((await firsts(400, 'write')).h0 ?? 0) < 100);
  ms.h0 = 6;
  ready.delete('h0');
  assert.ok(((await firsts(400, 'write')).h1 ?? 0) > 350);
});

test('I2: the home in the own zone is taken until it costs twice as much', async () => {
  const { firsts, ms } = setup({ zone: 'z2' });
  Object.assign(ms, { h0: 4, h1: 4, h2: 6 });
  assert.ok(((await firsts(400)).h2 ?? 0) > 350);
  ms.h2 = 100;
  assert.ok(((await firsts(400)).h2 ?? 0) < 100);
});

test('hot keys come with their rates, and the metrics with their shares', () => {
  const clock = createManualClock();
  const metrics = createReadableMetrics();
  const hotKeys = createHotKeys(clock, metrics);
  const key = (name: string) => storageKeyText(storageKey('carts', Buffer.from(name), xxh64));
  assert.deepEqual(hotKeys.top(3), []);
  const second = () => {
    for (let i = 0; i < 90; i++) hotKeys.observe(key('hot \u00ff'), i % 3 > 0);
    for (let i = 0; i < 10; i++) hotKeys.observe(key(`cold ${i}`), true);
    clock.advance(1_000);
  };
  for (let seconds = 0; seconds < 95; seconds++) second();
  const [hottest] = hotKeys.top(1);
  assert.equal(hottest?.namespace, 'carts');
  assert.equal(Buffer.from(hottest?.key ?? []).toString(), 'hot \u00ff');
  assert.ok(Math.abs((hottest?.readsPerSecond ?? 0) - 60) < 3, JSON.stringify(hottest));
  assert.ok(Math.abs((hottest?.writesPerSecond ?? 0) - 30) < 2, JSON.stringify(hottest));
  assert.ok(Math.abs((hottest?.share ?? 0) - 0.9) < 0.01);
  // An hour without any.
  clock.advance(3_600_000);
  assert.deepEqual(hotKeys.top(1), []);
});
