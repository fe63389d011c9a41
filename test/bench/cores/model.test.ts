import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mostOperations, processesFor } from './model.ts';

const cost = { servers: 300, eventLoops: 200, client: 50 };

test('what is busy first is the bound: the processors, the event loops, or who asks', () => {
  const own = { clientProcessors: 'own' } as const;
  assert.equal(mostOperations(cost, { ...own, processors: 3, eventLoops: 3 }), 10_000);
  assert.equal(mostOperations(cost, { ...own, processors: 48, eventLoops: 3 }), 15_000);
  assert.equal(mostOperations(cost, { ...own, processors: 48, eventLoops: 48 }), 20_000);
});

test('a client beside the servers takes its part of their processors', () => {
  assert.equal(mostOperations(cost, { processors: 7, clientProcessors: 'shared', eventLoops: 9 }), 20_000);
  assert.equal(mostOperations(cost, { processors: 3.5, clientProcessors: 'shared', eventLoops: 9 }), 10_000);
});

test('as many processes as keep all processors busy', () => {
  assert.equal(processesFor(16, cost), 11);
});
