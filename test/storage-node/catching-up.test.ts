/** When a node that was away is ready again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HintStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { watchCatchingUp } from '../../services/storage-node/catching-up.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { silentLog } from '../platform/recording-log.ts';

const patienceMs = 60_000;
const turn = () => new Promise((resolve) => setImmediate(resolve));

function ringOf(...ids: string[]): Ring {
  const nodes = ids.map((id, index) => ({
    ...{
      id,
      index,
      address: `${id}:1`,
      host: id,
      zone: id,
      status: id === 'gone' ? ('LEFT' as const) : ('UP' as const),
    },
  }));
  const owners = firstClaim({ nodes: nodes.slice(0, 1), partitions: 1, replicas: 1 });
  return createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 1, replicas: 1, nodes, owners, pending: new Map() },
  });
}

function kept(nodeId: string, hints: number, markedPartitions = 0): { hints: HintStatus[] } {
  const rest = { bytes: 0n, oldestMs: 0n, delivering: false, delivered: 0n, deliveringMs: 0n };
  return { hints: [{ ...rest, nodeId, hints: BigInt(hints), markedPartitions }] };
}

function started(options: { readonly patienceMs?: number } = {}) {
  const clock = createManualClock();
  const world = {
    ring: undefined as Ring | undefined,
    answers: new Map<string, { hints: HintStatus[] }>(),
    asked: [] as string[][],
  };
  const catching = watchCatchingUp({
    ...{ id: 'a', patienceMs, clock, log: silentLog, ...options },
    ring: () => world.ring,
    async ask(others) {
      world.asked.push(others.map(({ id }) => id));
      return world.answers;
    },
  });
  const look = async () => {
    clock.advance(1_000);
    await turn();
  };
  return { ...catching, world, look, clock };
}

test('it is behind until nobody who answers keeps records for it, or partitions to be compared', async () => {
  const { world, look, behind } = started();
  assert.match(behind() ?? '', /no node was asked/);
  world.ring = ringOf('a', 'b', 'c', 'gone');
  world.answers = new Map([
    ['b', kept('a', 7)],
    ['c', kept('b', 9)],
  ]);
  await look();
  assert.match(behind() ?? '', /: 7 records and 0 partitions to compare at b:1$/);
  assert.deepEqual(world.asked.at(-1), ['b', 'c']);
  world.answers = new Map([['b', kept('a', 0, 3)]]);
  await look();
  assert.match(behind() ?? '', /3 partitions/);
  world.answers = new Map([['c', kept('b', 9)]]);
  await look();
  assert.equal(behind(), undefined);
});

test('having caught up it stays so, and asks nobody any more', async () => {
  const { world, look, behind, clock } = started();
  world.ring = ringOf('a', 'b');
  await look();
  assert.equal(behind(), undefined);
  world.answers = new Map([['b', kept('a', 7)]]);
  const asked = world.asked.length;
  await look();
  assert.equal(behind(), undefined);
  assert.equal(world.asked.length, asked);
  assert.equal(clock.timers, 0);
});

test('what is owed for too long keeps it no more', async () => {
  const { world, look, behind, clock } = started();
  world.ring = ringOf('a', 'b');
  world.answers = new Map([['b', kept('a', 7)]]);
  await look();
  assert.notEqual(behind(), undefined);
  clock.advance(patienceMs);
  await turn();
  await look();
  assert.equal(behind(), undefined);
});

test('with no patience it is ready at once, and so is a node outside the ring', async () => {
  assert.equal(started({ patienceMs: 0 }).behind(), undefined);
  const { world, look, behind } = started();
  world.ring = ringOf('b', 'c');
  world.answers = new Map([['b', kept('a', 7)]]);
  await look();
  assert.equal(behind(), undefined);
});
