/** How far a change is, and how long it still takes, as the claimant says: with nodes of straw that pull at a pace. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { planChange } from '../../services/core/membership/change-request.ts';
import { noCourse } from '../../services/core/membership/course.ts';
import { adoptClusterId, adoptRing, createMembership } from '../../services/core/membership/membership.ts';
import type { Report } from '../../services/core/membership/rebalance.ts';
import { newNodeOf } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, nodeById, type Ring } from '../../services/core/ring/ring.ts';
import { startClaimLoop } from '../../services/membership/claim-loop.ts';
import { createRingChanges } from '../../services/membership/ring-changes.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { silentLog } from '../platform/recording-log.ts';

const member = (id: string) => ({ id, address: `${id}:7411`, host: `host-${id}`, zone: `zone-${id}` });
const partitions = 64;
const bytes = 1_000_000;
/** That the node in question takes over. */
const replicas = 38;

const stops: (() => Promise<void>)[] = [];
after(() => Promise.all(stops.map((stop) => stop())));

function ringOf(ids: readonly string[]): Ring {
  const nodes = ids.map(member);
  return createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions, replicas: 3, pending: new Map() },
    owners: firstClaim({ nodes, partitions, replicas: 3 }),
    nodes: nodes.map((node, index) => ({ ...node, index, status: 'UP' })),
  });
}

/** Node e joins four others, and pulls what is pending for it. */
async function joining() {
  const clock = createManualClock();
  let known = adoptRing(
    adoptClusterId(createMembership({ clusterId: '', members: [], ring: undefined, namespaces: [] }, undefined), 'c'),
    ringOf(['a', 'b', 'c', 'd']),
  );
  const ring = () => known.ring as Ring;
  /** By partition that is pending for e: 0 to 1. */
  const progress = new Map<number, number>();
  /** Pace: partitions a second, of all that are in flight together. */
  const told = { pace: 0, flips: true };
  const reportOf = (id: string): Report => {
    const own = id === 'e' ? [...progress].filter(([partition]) => ring().pending.has(partition)) : [];
    const pulled = told.flips ? own.filter(([, done]) => done >= 1).map(([partition]) => partition) : [];
    return { version: ring().version, pulled: new Set(pulled), owes: 0, pulling: new Map(own) };
  };
  const gossip = {
    state: () => known,
    async issue(issued: Ring) {
      known = adoptRing(known, issued);
    },
    reachAll: async () => ({}) as never,
  };
  const claimLoop = startClaimLoop({
    ...{ expectedNodes: 4, partitions, replicas: 3, gossip, clock, log: silentLog, course: noCourse },
    random: { u64: () => 1n, below: () => 0 },
    keepCourse: async () => {},
    reports: async () => new Map(ring().nodes.map(({ id }) => [id, reportOf(id)])),
  } as Parameters<typeof startClaimLoop>[0]);
  stops.push(claimLoop.stop);
  const changes = createRingChanges({ gossip, claimLoop, statuses: async () => new Map(), clock } as never);
  const settle = async () => {
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const pass = async (seconds: number) => {
    for (let ms = 0; ms < seconds * 1_000; ms += 100) {
      const e = nodeById(ring(), 'e')?.index;
      const [now] = [...ring().pending].filter(([p, nodes]) => nodes.includes(e ?? -1) && (progress.get(p) ?? 0) < 1);
      if (now !== undefined) progress.set(now[0], Math.min(1, (progress.get(now[0]) ?? 0) + told.pace / 10));
      clock.advance(100);
      await settle();
    }
  };
  await settle();
  const request = { join: [newNodeOf(member('e'))], leave: [], down: [] };
  const { goal } = planChange(ring(), undefined, request, () => bytes, xxh64);
  assert.equal(goal.replicas, replicas);
  await claimLoop.setGoal(() => goal);
  await pass(2);
  const status = () => changes.status() as NonNullable<ReturnType<typeof changes.status>>;
  return {
    told,
    pass,
    status,
    secondsToGo: () => Number(status().etaMs ?? Number.NaN) / 1_000,
    setGoal: (paused: boolean) => claimLoop.setGoal((_, now) => ({ ...(now ?? goal), paused })),
    ended: () => changes.status() === undefined,
  };
}

/** The first seconds, in which nothing was in flight yet, count too. */
function about(seen: number, wanted: number): void {
  assert.ok(Math.abs(seen - wanted) < 0.25 * wanted, `${seen}, wanted about ${wanted}`);
}

test('while partitions are pulled and none is flipped, what is moved grows, and the time to go falls', async () => {
  const world = await joining();
  world.told.flips = false;
  world.told.pace = 0.1;
  const seen: [moved: number, toGo: number][] = [];
  for (let looks = 0; looks < 8; looks++) {
    await world.pass(10);
    seen.push([Number(world.status().bytesMoved), world.secondsToGo()]);
  }
  for (const [look, [moved, toGo]] of seen.entries()) {
    about(moved, (look + 1) * bytes);
    about(toGo, (replicas - look - 1) / 0.1);
    assert.ok(toGo < (seen[look - 1]?.[1] ?? Number.POSITIVE_INFINITY));
  }
});

test('the time to go is by the last minute, however fast it went before', async () => {
  const world = await joining();
  world.told.pace = 0.5;
  await world.pass(20);
  about(world.secondsToGo(), 28 / 0.5);
  world.told.pace = 0.05;
  await world.pass(61);
  about(world.secondsToGo(), 25 / 0.05);
  world.told.pace = 0.5;
  for (let waited = 0; !world.ended(); waited++) {
    assert.ok(waited < 200);
    await world.pass(1);
  }
});

test('where nothing has moved for a minute, or it is paused, no time to go is named', async () => {
  const world = await joining();
  assert.ok(Number.isNaN(world.secondsToGo()));
  world.told.pace = 0.5;
  await world.pass(20);
  assert.ok(world.secondsToGo() > 0);
  await world.setGoal(true);
  assert.ok(Number.isNaN(world.secondsToGo()));
  await world.setGoal(false);
  world.told.pace = 0;
  await world.pass(61);
  assert.ok(Number.isNaN(world.secondsToGo()));
});
