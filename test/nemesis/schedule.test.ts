/** Which fault comes how often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../sim/random.ts';
import type { Fault, World } from './faults/world.ts';
import { runFaults } from './schedule.ts';

/** Until so many have been struck; what was struck, in order. */
async function struckBy(faults: readonly Fault[], most: number): Promise<string[]> {
  const over = new AbortController();
  const struck: string[] = [];
  const counts = new Map<string, number>();
  const world = { pause: async () => {} } as unknown as World;
  const noted = faults.map((fault) => ({
    ...fault,
    strike: async () => {
      struck.push(fault.kind);
      if (struck.length === most) over.abort();
    },
  }));
  await runFaults(world, noted, seededRandom(1), over.signal, counts);
  assert.deepEqual(Object.fromEntries(counts), countsOf(struck));
  return struck;
}

const countsOf = (struck: readonly string[]) => {
  return Object.fromEntries([...Map.groupBy(struck, (kind) => kind)].map(([kind, all]) => [kind, all.length]));
};

const fault = (kind: string, more: Partial<Fault> = {}): Fault => {
  return { kind, lane: 'ring', strike: async () => {}, ...more };
};

test('every kind of a lane comes once before any comes again', async () => {
  const struck = await struckBy([fault('a'), fault('b'), fault('c')], 30);
  for (let i = 0; i < struck.length; i += 3) assert.deepEqual(struck.slice(i, i + 3).sort(), ['a', 'b', 'c']);
});

test('a kind that may come twice comes twice, and others go on', async () => {
  assert.deepEqual(countsOf(await struckBy([fault('often'), fault('twice', { mostPerRun: 2 })], 30)), {
    often: 28,
    twice: 2,
  });
});

test('a lane ends when nothing may come any more', async () => {
  assert.deepEqual(await struckBy([fault('twice', { mostPerRun: 2 })], 30), ['twice', 'twice']);
});
