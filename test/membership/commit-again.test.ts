/** Commits that come once more: their answers were lost, or they were on their way for long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChangeControl } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { arrived, type Course, noCourse, turned } from '../../services/core/membership/course.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  learnMembers,
} from '../../services/core/membership/membership.ts';
import type { Goal } from '../../services/core/membership/rebalance.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { createRingChanges } from '../../services/membership/ring-changes.ts';

const member = (id: string) => ({ id, address: `${id}:7411`, host: `host-${id}`, zone: `zone-${id}` });
const request = { join: ['e:7411'], joinAll: false, leave: [], replace: [], down: [] };

/** Four nodes, and a fifth that waits beside the ring. No ring is issued. */
function world() {
  const nodes = ['a', 'b', 'c', 'd'].map(member);
  const ring: Ring = createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 64, replicas: 3, pending: new Map() },
    owners: firstClaim({ nodes, partitions: 64, replicas: 3 }),
    nodes: nodes.map((node, index) => ({ ...node, index, status: 'UP' })),
  });
  const empty = createMembership({ clusterId: '', members: [], ring: undefined, namespaces: [] }, undefined);
  const known = learnMembers(adoptRing(adoptClusterId(empty, 'c'), ring), [
    { ...member('e'), incarnation: 1n, status: 'JOINING' },
  ]);
  let course: Course = noCourse;
  const claimLoop = {
    state: () => course,
    progress: () => undefined,
    async setGoal(decide: (ring: Ring | undefined, goal: Goal | undefined) => Goal) {
      course = turned(course, decide(ring, course.goal));
    },
  };
  const changes = createRingChanges({
    gossip: { state: () => known },
    claimLoop,
    statuses: async (targets: readonly { id: string }[]) => new Map(targets.map(({ id }) => [id, { id }])),
  } as never);
  return {
    changes,
    goal: () => course.goal,
    arrive() {
      course = arrived(course, true);
    },
    plan: async () => (await changes.plan(request)).planId,
  };
}

test('one that is late does not begin again what was rolled back before it had moved anything', async () => {
  const { changes, goal, arrive, plan } = world();
  const planId = await plan();
  await changes.commit({ planId });
  await changes.control({ control: ChangeControl.ROLL_BACK });
  await assert.rejects(changes.commit({ planId }), { reason: 'CHANGE_CONFLICT' });
  arrive();
  await assert.rejects(changes.commit({ planId }), { reason: 'CHANGE_CONFLICT' });
  assert.equal(goal(), undefined);
});

test('what was rolled back can be planned again, under the same id, and committed', async () => {
  const { changes, goal, arrive, plan } = world();
  const planId = await plan();
  await changes.commit({ planId });
  await changes.control({ control: ChangeControl.ROLL_BACK });
  arrive();
  assert.equal(await plan(), planId);
  await changes.commit({ planId });
  assert.equal(goal()?.id, planId);
});

test('of one that is under way, or done, it is said once more that it is committed', async () => {
  const { changes, goal, arrive, plan } = world();
  const planId = await plan();
  await changes.commit({ planId });
  await changes.commit({ planId });
  assert.equal(goal()?.id, planId);
  arrive();
  await changes.commit({ planId });
  assert.equal(goal(), undefined);
});
