import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  drainedTo,
  joinStep,
  numberOf,
  replacementStep,
  SURELY_LOST_MS,
  TOGETHER_MS,
} from '../../services/core/membership/scale.ts';
import type { NewNode } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type NodeStatusName, type Ring } from '../../services/core/ring/ring.ts';

const pattern = 'storage-{}.storage.ns.svc:7411';
const podNode = (number: number, id = `node-${number}`): NewNode => ({
  ...{ id, address: `storage-${number}.storage.ns.svc:7411`, host: `host-${number}`, zone: 'z' },
});

/** Of pods 0, 1, 2 and whoever else is named; the others own nothing. */
function ringOf(...others: readonly (readonly [node: NewNode, status: NodeStatusName])[]): Ring {
  const owners = [0, 1, 2].map((number) => podNode(number));
  return createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 16, replicas: 3, pending: new Map() },
    owners: firstClaim({ nodes: owners, partitions: 16, replicas: 3 }),
    nodes: [...owners.map((node) => [node, 'UP'] as const), ...others].map(([node, status], index) => {
      return { ...node, index, status };
    }),
  });
}

const joins = (ring: Ring, outside: readonly NewNode[], wanted: number) =>
  joinStep(undefined, ring, outside, { pattern, wanted }, 0)[1].map(({ id }) => id);

test('the number of a pod is in its address', () => {
  assert.equal(numberOf(pattern, 'storage-12.storage.ns.svc:7411'), 12);
  for (const other of [
    'storage-.storage.ns.svc:7411',
    'storage-1.storage.other.svc:7411',
    'storage-01.storage.ns.svc:7411',
    'storage-1x.storage.ns.svc:7411',
    '127.0.0.1:7411',
  ]) {
    assert.equal(numberOf(pattern, other), undefined, other);
  }
});

test('pods may be as few as the highest number in the ring, or on the way into it, wants', () => {
  assert.equal(drainedTo(ringOf(), undefined, pattern), 3);
  for (const status of ['UP', 'LEAVING', 'DOWN', 'JOINING'] as const) {
    assert.equal(drainedTo(ringOf([podNode(4), status]), undefined, pattern), 5, status);
  }
  assert.equal(drainedTo(ringOf([podNode(4), 'LEFT']), undefined, pattern), 3);
  assert.equal(drainedTo(ringOf(), { joining: [podNode(6)] }, pattern), 7);
});

test('those that are wanted join together, once all of them are there', () => {
  const ring = ringOf();
  assert.deepEqual(joins(ring, [podNode(3), podNode(4)], 5), ['node-3', 'node-4']);
  assert.deepEqual(joins(ring, [podNode(3)], 5), []);
  assert.deepEqual(joins(ring, [podNode(3), podNode(4)], 4), ['node-3']);
  assert.deepEqual(joins(ring, [podNode(3)], 3), []);
});

test('those that are there do not wait for ever for the others', () => {
  const ring = ringOf();
  const [waiting, none] = joinStep(undefined, ring, [podNode(3)], { pattern, wanted: 6 }, 0);
  assert.deepEqual(none, []);
  const [more] = joinStep(waiting, ring, [podNode(3), podNode(4)], { pattern, wanted: 6 }, TOGETHER_MS - 1);
  const both = [podNode(4), podNode(3)];
  assert.deepEqual(joinStep(more, ring, both, { pattern, wanted: 6 }, 2 * TOGETHER_MS - 2)[1], []);
  assert.deepEqual(joinStep(more, ring, both, { pattern, wanted: 6 }, 2 * TOGETHER_MS - 1)[1], both);
});

test('a pod whose node has left joins again as another one, and one in place of a node of the ring does not', () => {
  assert.deepEqual(joins(ringOf([podNode(3), 'LEFT']), [podNode(3, 'again')], 4), ['again']);
  assert.deepEqual(joins(ringOf([podNode(3), 'LEFT']), [podNode(3)], 4), []);
  assert.deepEqual(joins(ringOf([podNode(3), 'DOWN']), [podNode(3, 'other')], 4), []);
  // The ring has it from a change that was rolled back.
  assert.deepEqual(joins(ringOf([podNode(3), 'JOINING']), [podNode(3)], 4), ['node-3']);
});

test('a pod that answers as another node for long enough takes its own place, where all others answer', () => {
  const ring = ringOf([podNode(3), 'UP']);
  const outside = [podNode(1, 'empty')];
  const all = (id: string) => id !== 'node-1';
  const at = (before: Parameters<typeof replacementStep>[0], now: number, answers = all) =>
    replacementStep(before, ring, outside, answers, pattern, now);
  const [seen, none] = at(undefined, 0);
  assert.equal(none, undefined);
  assert.equal(at(seen, SURELY_LOST_MS - 1)[1], undefined);
  assert.deepEqual(at(seen, SURELY_LOST_MS)[1], { leaves: 'node-1', joins: 'empty', since: 0 });
  // Another one is silent: it may be needed.
  assert.equal(at(seen, SURELY_LOST_MS, (id) => all(id) && id !== 'node-3')[1], undefined);
  // The node is there after all.
  assert.deepEqual(
    at(seen, SURELY_LOST_MS, () => true),
    [undefined, undefined],
  );
  assert.deepEqual(replacementStep(seen, ring, [podNode(4)], all, pattern, SURELY_LOST_MS), [undefined, undefined]);
});

test('a node that is down is replaced too, and one that has left is not', () => {
  const outside = [podNode(3, 'empty')];
  const answers = (id: string) => id !== 'node-3';
  const stepOf = (status: NodeStatusName) =>
    replacementStep(undefined, ringOf([podNode(3), status]), outside, answers, pattern, 0)[0]?.leaves;
  assert.equal(stepOf('DOWN'), 'node-3');
  assert.equal(stepOf('LEFT'), undefined);
});
