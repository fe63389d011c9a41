/** The election as it is run, over a lease of straw. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELD_MS, LOOK_INTERVAL_MS } from '../../services/core/membership/election.ts';
import type { Mandate } from '../../services/membership/claim-loop.ts';
import { type Leadership, startLeadership } from '../../services/membership/leadership.ts';
import type { KeptLease } from '../../services/platform/kubernetes/api.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { silentLog } from '../platform/recording-log.ts';

interface World {
  readonly leadership: Leadership;
  lease: KeptLease;
  isAway: boolean;
  isSuperseded: boolean;
  ringTerm: bigint;
  readonly mandates: Mandate[];
  readonly ended: bigint[];
  pass(ms: number): Promise<void>;
}

function start(): World {
  const clock = createManualClock();
  const settle = async () => {
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const world: World = {
    lease: { name: 'l', uid: '12-34', version: '1', holder: '', term: 0n },
    ...{ isAway: false, isSuperseded: false, ringTerm: 0n, mandates: [], ended: [] },
    async pass(ms) {
      await settle();
      for (let left = ms; left > 0; left -= LOOK_INTERVAL_MS) {
        clock.advance(Math.min(left, LOOK_INTERVAL_MS));
        await settle();
      }
    },
    leadership: startLeadership({
      ...{ lease: 'l', self: 'me', clock, log: silentLog },
      kubernetes: {
        async lease() {
          if (world.isAway) throw new Error('away');
          return world.lease;
        },
        async replaceLease(before, write) {
          if (world.isAway || before.version !== world.lease.version) throw new Error('conflict');
          world.lease = { ...world.lease, ...write, version: `${Number(before.version) + 1}` };
        },
      },
      ringTerm: () => world.ringTerm,
      async begin(mandate) {
        world.mandates.push(mandate);
        return {
          isSuperseded: () => world.isSuperseded,
          stop: async () => void world.ended.push(mandate.term),
        };
      },
    }),
  };
  return world;
}

test('it claims while it holds the lease, and gives it back at the end', async () => {
  const world = start();
  await world.pass(60_000);
  assert.deepEqual(
    world.mandates.map(({ term, clusterId, isHeld }) => [term, clusterId, isHeld()]),
    [[1n, '1234', true]],
  );
  assert.equal(world.leadership.isHeld(), true);
  await world.leadership.stop();
  assert.deepEqual(world.ended, [1n]);
  assert.equal(world.lease.holder, '');
  assert.equal(world.leadership.isHeld(), false);
});

test('it stops in time where it cannot renew the lease, and begins again with a higher term', async () => {
  const world = start();
  await world.pass(4_000);
  world.isAway = true;
  await world.pass(HELD_MS + LOOK_INTERVAL_MS);
  assert.equal(world.mandates[0]?.isHeld(), false);
  assert.deepEqual(world.ended, [1n]);
  // Another one had it meanwhile.
  world.lease = { ...world.lease, holder: '', term: 5n, version: '50' };
  world.isAway = false;
  await world.pass(LOOK_INTERVAL_MS);
  assert.equal(world.mandates.at(-1)?.term, 6n);
  await world.leadership.stop();
});

test('where another one takes the lease it stops at its next look', async () => {
  const world = start();
  await world.pass(4_000);
  world.lease = { ...world.lease, holder: 'other', term: 2n, version: '9' };
  await world.pass(LOOK_INTERVAL_MS);
  assert.deepEqual(world.ended, [1n]);
  assert.equal(world.mandates[0]?.isHeld(), false);
  await world.leadership.stop();
  assert.equal(world.lease.holder, 'other');
});

test('where its term is too low it gives the lease back, and takes it with one above the ring', async () => {
  const world = start();
  await world.pass(4_000);
  world.isSuperseded = true;
  world.ringTerm = 7n;
  await world.pass(LOOK_INTERVAL_MS);
  world.isSuperseded = false;
  assert.deepEqual(world.ended, [1n]);
  await world.pass(LOOK_INTERVAL_MS);
  assert.equal(world.mandates.at(-1)?.term, 8n);
  await world.leadership.stop();
});
