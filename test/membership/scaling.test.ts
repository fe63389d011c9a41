/** The claimant's care for the number of pods, on a Kubernetes and a claimant of straw. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { PlanChangeRequest } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Member } from '../../services/core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  learnMembers,
  type Membership,
} from '../../services/core/membership/membership.ts';
import type { Goal, Reports } from '../../services/core/membership/rebalance.ts';
import { DRAINED_TO, SURELY_LOST_MS, WANTED } from '../../services/core/membership/scale.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import { startScaling } from '../../services/membership/scaling.ts';
import type { Notes } from '../../services/platform/kubernetes/api.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { silentLog } from '../platform/recording-log.ts';

const podMember = (number: number, id = `node-${number}`): Member => ({
  ...{ id, address: `storage-${number}:7411`, host: `host-${number}`, zone: 'z', incarnation: 1n, status: 'JOINING' },
});

function ringOf(members: readonly Member[]): Ring {
  return createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 16, replicas: 3, pending: new Map() },
    owners: firstClaim({ nodes: members, partitions: 16, replicas: 3 }),
    nodes: members.map(({ id, address, host, zone }, index) => ({ id, address, host, zone, index, status: 'UP' })),
  });
}

interface Setting {
  readonly inRing: readonly Member[];
  readonly outside?: readonly Member[];
  /** How many pods are wanted, and how few there may be. */
  readonly notes: readonly [wanted: number, drainedTo?: number];
  /** Ids. */
  readonly silent?: readonly string[];
  /** What the nodes of the ring know; its sequence. */
  readonly sequenceElsewhere?: bigint;
  readonly withoutSource?: readonly number[];
  readonly goal?: Goal;
}

interface World {
  notes(): Setting['notes'];
  readonly requests: readonly Partial<PlanChangeRequest>[];
  readonly commits: readonly string[];
  /** Moves time on by so many looks. */
  looks(count: number): Promise<void>;
}

const stops: (() => Promise<void>)[] = [];
after(() => Promise.all(stops.map((stop) => stop())));

function world({ inRing, outside = [], silent = [], sequenceElsewhere = 1n, ...setting }: Setting): World {
  const ring = ringOf(inRing);
  const nobody = { clusterId: '', members: [], ring: undefined, namespaces: [] };
  const members = [...inRing.map((member) => ({ ...member, status: 'UP' as const })), ...outside];
  const known: Membership = learnMembers(
    adoptRing(adoptClusterId(createMembership(nobody, undefined), 'c'), ring),
    members,
  );
  const clock = createManualClock();
  const [wanted, fewest] = setting.notes;
  let kept: Notes = {
    ...{ name: 'scale', version: '1' },
    notes: { [WANTED]: `${wanted}`, ...(fewest !== undefined && { [DRAINED_TO]: `${fewest}` }), 'of/helm': 'mine' },
  };
  const requests: Partial<PlanChangeRequest>[] = [];
  const commits: string[] = [];
  const reports: Reports = new Map(
    inRing
      .filter(({ id }) => !silent.includes(id))
      .map(({ id }) => [id, { version: { term: 1n, sequence: sequenceElsewhere }, pulled: new Set(), owes: 0 }]),
  );
  stops.push(
    startScaling({
      ...{
        name: 'scale',
        pattern: 'storage-{}:7411',
        joinAutomatically: true,
        replaceAutomatically: true,
        clock,
        log: silentLog,
      },
      kubernetes: {
        notes: async () => kept,
        async replaceNotes(_, notes) {
          kept = { ...kept, notes };
          return kept;
        },
      },
      claimant: {
        claimLoop: { state: () => ({ goal: setting.goal }) as never },
        changes: {
          async plan(request) {
            requests.push(Object.fromEntries(Object.entries(request).filter(([, value]) => value?.length > 0)));
            return { planId: 'p', transfers: [], partitionsWithoutSource: setting.withoutSource ?? [] } as never;
          },
          async commit({ planId }) {
            commits.push(planId);
            return {};
          },
        },
      },
      known: () => known,
      reports: async () => reports,
      statuses: async (targets) => new Map(targets.filter(({ id }) => !silent.includes(id)).map(({ id }) => [id, {}])),
    }),
  );
  return {
    notes() {
      assert.equal(kept.notes['of/helm'], 'mine');
      const { [WANTED]: now, [DRAINED_TO]: least } = kept.notes;
      return least === undefined ? [Number(now)] : [Number(now), Number(least)];
    },
    requests,
    commits,
    async looks(count) {
      for (let i = 0; i < count; i++) {
        for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
        clock.advance(2_000);
      }
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const pods = (...numbers: readonly number[]) => numbers.map((number) => podMember(number));

test('how few pods there may be follows the ring, up and down', async () => {
  const up = world({ inRing: pods(0, 1, 2, 3, 4), notes: [5, 3] });
  await up.looks(1);
  assert.deepEqual(up.notes(), [5, 5]);
  const down = world({ inRing: pods(0, 1, 2), notes: [3, 5] });
  await down.looks(1);
  assert.deepEqual(down.notes(), [3, 3]);
});

test('I1: it is not lowered by what may be an old ring', async () => {
  const notes = [3, 5] as const;
  const newer = world({ inRing: pods(0, 1, 2), notes, sequenceElsewhere: 2n });
  const silent = world({ inRing: pods(0, 1, 2), notes, silent: ['node-0', 'node-1', 'node-2'] });
  const first = world({ inRing: pods(0, 1, 2), notes: [3], sequenceElsewhere: 2n });
  for (const each of [newer, silent, first]) await each.looks(3);
  assert.equal(newer.notes()[1], 5);
  assert.equal(silent.notes()[1], 5);
  assert.equal(first.notes()[1], undefined);
});

test('new pods join, those that answer and are wanted', async () => {
  const both = world({ inRing: pods(0, 1, 2), outside: pods(3, 4), notes: [5, 3] });
  await both.looks(1);
  assert.deepEqual(both.requests[0], { join: ['node-3', 'node-4'] });
  assert.equal(both.commits[0], 'p');
  const one = world({ inRing: pods(0, 1, 2), outside: pods(3, 4), notes: [4, 3] });
  await one.looks(1);
  assert.deepEqual(one.requests[0], { join: ['node-3'] });
  const mute = world({
    inRing: pods(0, 1, 2),
    outside: pods(3),
    silent: ['node-3'],
    notes: [4, 3],
  });
  await mute.looks(30);
  assert.deepEqual(mute.requests, []);
});

test('while the ring changes nobody joins', async () => {
  const goal = { joining: [] } as unknown as Goal;
  const changing = world({ inRing: pods(0, 1, 2), outside: pods(3), notes: [4, 3], goal });
  await changing.looks(3);
  assert.deepEqual(changing.requests, []);
});

test('a pod that answers as another node takes the place of the one that it was, after a while', async () => {
  const setting: Setting = {
    inRing: pods(0, 1, 2),
    outside: [podMember(1, 'empty')],
    silent: ['node-1'],
    notes: [3, 3],
  };
  const lost = world(setting);
  await lost.looks(SURELY_LOST_MS / 2_000 - 1);
  assert.deepEqual(lost.requests, []);
  await lost.looks(2);
  assert.deepEqual(lost.requests[0], { down: ['node-1'], replace: [{ leaves: 'node-1', joins: 'empty' }] });
  assert.equal(lost.commits[0], 'p');

  const worse = world({ ...setting, withoutSource: [7] });
  await worse.looks(SURELY_LOST_MS / 2_000 + 2);
  assert.ok(worse.requests.length > 0);
  assert.deepEqual(worse.commits, []);
});
