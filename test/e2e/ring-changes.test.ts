/**
 * The claimant as a process, with storage nodes that gossip and say what they have pulled, and keep nothing: at once, or
 * when the test lets them. What real nodes do with the same rings is in the tests of services/storage-node.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  ChangeControl,
  ChangeEnd,
  type GetStatusResponse,
  type PlanChangeRequest,
  type PlanChangeResponse,
  type PlanDoublingResponse,
  ProcessKind,
} from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../services/core/failure.ts';
import { nodeById, type Ring } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import type { Gossip } from '../../services/platform/gossip/gossip.ts';
import { createNamespaceAdmin } from '../../services/platform/namespaces/namespace-admin.ts';
import { type AdminCall, callAdmin } from '../../services/platform/routing/admin-call.ts';
import { statusService } from '../../services/platform/status-service.ts';
import { silentLog } from '../platform/recording-log.ts';
import { type FakeNode, startFakeNode } from './fake-node.ts';
import { freePorts } from './ports.ts';
import { cartwheel, hangMs, removeDirectory, temporaryDirectory, until } from './support.ts';

const main = fileURLToPath(new URL('../../services/membership/main.ts', import.meta.url));
const diesAtStep = new URL('./dies-at-step.ts', import.meta.url).href;
const nothing: PlanChangeRequest = { join: [], joinAll: false, leave: [], replace: [], down: [] };

const cleanUps: (() => unknown)[] = [];
after(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

interface TestNode extends FakeNode {
  /** Whether it says that it has pulled what is pending for it. */
  pulls: boolean;
  /** Partitions it would still have to hand back. */
  retiring: number;
  /** Of its disk; undefined: it does not say. */
  diskFreeBytes: bigint | undefined;
  transfersWaitFor: string;
}

async function startNode(id: string, seed: string, at?: string): Promise<TestNode> {
  const told = { pulls: true, retiring: 0, diskFreeBytes: undefined, transfersWaitFor: '' };
  const services = (gossip: Gossip, address: string) => [
    statusService({
      ...{ kind: ProcessKind.STORAGE_NODE, id, address, gossip, clock: createClock(), log: silentLog },
      namespaces: createNamespaceAdmin(gossip),
      storage: () => ({
        keysEstimated: 0n,
        diskBytes: 1_000n,
        primaryPartitions: 0,
        partitions: 10,
        acceptingWrites: true,
        diskFreeBytes: node.diskFreeBytes,
        backgroundBytesPerSecond: 1_000n,
        transfersWaitFor: node.transfersWaitFor,
        pulling: [],
      }),
      pulled: () => (node.pulls ? pendingFor(gossip.ring(), id) : []),
      retiring: () => node.retiring,
    }),
  ];
  const node: TestNode = Object.assign(told, await startFakeNode({ id, seed, address: at, services }));
  cleanUps.push(() => node.stop());
  return node;
}

function pendingFor(ring: Ring | undefined, id: string): number[] {
  const index = ring && nodeById(ring, id)?.index;
  return [...(ring?.pending ?? [])].filter(([, nodes]) => nodes.includes(index ?? -1)).map(([partition]) => partition);
}

interface World {
  readonly seed: string;
  readonly nodes: Map<string, TestNode>;
  plan(request: Partial<PlanChangeRequest>): Promise<PlanChangeResponse>;
  planDoubling(): Promise<PlanDoublingResponse>;
  commit(planId: string): Promise<unknown>;
  control(control: ChangeControl): Promise<unknown>;
  status(): Promise<GetStatusResponse>;
  addNode(id: string, at?: string): Promise<TestNode>;
  /** It then dies at this step of what it does after `arm`, see dies-at-step.ts. */
  restartClaimant(dyingAt?: number): Promise<void>;
  arm(): void;
  claimantRuns(): boolean;
  ring(): Ring;
  changed(): Promise<void>;
}

async function startWorld(ids: readonly string[]): Promise<World> {
  const [port, adminPort] = await freePorts(2);
  const seed = `127.0.0.1:${port}`;
  const directory = await temporaryDirectory();
  cleanUps.push(() => removeDirectory(directory));
  const flags = ['--listen', seed, '--admin', `127.0.0.1:${adminPort}`, '--data', directory, '--partitions', '16'];
  let child: ChildProcess;
  const start = (dyingAt?: number) => {
    const before = dyingAt === undefined ? [] : ['--import', `${diesAtStep}?at=${dyingAt}`];
    child = spawn(process.execPath, [...before, main, ...flags, '--expected-nodes', String(ids.length)], {
      stdio: 'ignore',
    });
  };
  const kill = async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    if (child.kill('SIGKILL')) await exited;
  };
  start();
  cleanUps.push(kill);
  const nodes = new Map<string, TestNode>();
  const call = <T>(make: AdminCall<T>): Promise<T> => callAdmin(seed, 5_000, make);
  const status = () => call<GetStatusResponse>((on, ...rest) => on.getStatus({}, ...rest));
  const world: World = {
    seed,
    nodes,
    plan: (request) => call((on, ...rest) => on.planChange({ ...nothing, ...request }, ...rest)),
    planDoubling: () => call((on, ...rest) => on.planDoubling({}, ...rest)),
    commit: (planId) => call((on, ...rest) => on.commitChange({ planId }, ...rest)),
    control: (control) => call((on, ...rest) => on.controlChange({ control }, ...rest)),
    status,
    async addNode(id, at) {
      const node = await startNode(id, seed, at);
      nodes.set(id, node);
      await until(`${id} is known`, async () => (await status()).members.some((member) => member.id === id));
      return node;
    },
    arm: () => void child.kill('SIGUSR2'),
    claimantRuns: () => child.exitCode === null && child.signalCode === null,
    async restartClaimant(dyingAt) {
      await kill();
      start(dyingAt);
      await until('the claimant serves', () =>
        status().then(
          () => true,
          () => false,
        ),
      );
    },
    ring: () => {
      const rings = [...nodes.values()].flatMap(({ gossip }) => gossip.ring() ?? []);
      return rings.reduce((a, b) => (a.version.sequence >= b.version.sequence ? a : b));
    },
    changed: () => until('the change has ended', async () => (await status()).claimant?.change === undefined),
  };
  await until('the claimant serves', () =>
    status().then(
      () => true,
      () => false,
    ),
  );
  for (const id of ids) await world.addNode(id);
  await until('there is a ring', async () => (await status()).ring !== undefined);
  await until('all know it', () => [...nodes.values()].every(({ gossip }) => gossip.ring() !== undefined));
  return world;
}

function statusesIn(ring: Ring): Record<string, string> {
  return Object.fromEntries(ring.nodes.map(({ id, status }) => [id, status]));
}

function isIn(ring: Ring, id: string): boolean {
  return nodeById(ring, id) !== undefined;
}

function loads(ring: Ring, id: string): number {
  const index = nodeById(ring, id)?.index;
  return ring.owners.filter((owner) => owner === index).length;
}

test('nodes join, leave and are replaced, and the ring is even afterwards', { timeout: hangMs }, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd', 'e']);
  await world.addNode('f');
  await world.addNode('g');
  const joining = await world.plan({ joinAll: true });
  assert.equal(joining.changeUnderWay, false);
  assert.equal(
    joining.bytes,
    BigInt(joining.transfers.reduce((sum, { partitions }) => sum + partitions.length, 0) * 100),
  );
  assert.deepEqual(new Set(joining.transfers.map(({ to }) => to)), new Set(['f', 'g']));
  await world.commit(joining.planId);
  await world.changed();
  assert.deepEqual(new Set(Object.values(statusesIn(world.ring()))), new Set(['UP']));
  for (const id of world.nodes.keys()) assert.ok(Math.abs(loads(world.ring(), id) - 48 / 7) < 1, id);

  const f = world.nodes.get('f') as TestNode;
  f.retiring = 2;
  await world.addNode('h');
  await world.commit((await world.plan({ replace: [{ leaves: f.address, joins: 'h' }] })).planId);
  await until('f still owes something', async () =>
    /to hand over what it still has \(2\)/.test((await world.status()).claimant?.waitingFor ?? ''),
  );
  assert.equal(statusesIn(world.ring()).f, 'LEAVING');
  f.retiring = 0;
  await world.changed();
  assert.equal(statusesIn(world.ring()).f, 'LEFT');
  assert.ok(loads(world.ring(), 'h') > 0);
});

test('a node that came back without its disk, as another one at its address, is replaced by itself', {
  timeout: hangMs,
}, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const { address, stop } = world.nodes.get('a') as TestNode;
  await stop();
  world.nodes.delete('a');
  await world.addNode('e', address);
  const plan = await world.plan({ down: [address], replace: [{ leaves: address, joins: address }] });
  assert.deepEqual(
    plan.transfers.map(({ from, to }) => `${from} ${to}`),
    ['a e'],
  );
  const replaced = await cartwheel(['ring', 'replace', address, '--endpoint', world.seed]);
  assert.deepEqual([replaced.code, replaced.stdout], [0, `replaced ${address}\n`], replaced.stderr);
  assert.deepEqual(statusesIn(world.ring()), { a: 'LEFT', b: 'UP', c: 'UP', d: 'UP', e: 'UP' });
});

test('killed after every ring of a change, the claimant goes on with it and ends it right', {
  timeout: 3 * hangMs,
}, async (t) => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  await world.addNode('e');
  await world.commit((await world.plan({ join: ['e'], leave: ['a'] })).planId);
  let kills = 0;
  let seen = -1n;
  while ((await world.status()).claimant?.change !== undefined) {
    const { sequence } = world.ring().version;
    if (sequence > seen) {
      seen = sequence;
      kills += 1;
      await world.restartClaimant();
    }
  }
  t.diagnostic(`${kills} kills, ring ${world.ring().version.term}.${world.ring().version.sequence}`);
  assert.ok(kills >= 3);
  assert.deepEqual(statusesIn(world.ring()), { a: 'LEFT', b: 'UP', c: 'UP', d: 'UP', e: 'UP' });
  await assert.rejects(world.plan({ leave: ['a'] }), /node a has left the ring/);
  assert.equal(world.ring().pending.size, 0);
  assert.ok(loads(world.ring(), 'e') > 0);
});

test('killed at each step of a change, before and after all that it writes, the claimant ends it right', {
  timeout: 10 * hangMs,
}, async (t) => {
  const world = await startWorld(['n0', 'n1', 'n2', 'n3']);
  let kills = 0;
  let hasDied = true;
  for (let step = 1; hasDied; step++) {
    const [joins, leaves] = [`n${step + 3}`, `n${step - 1}`];
    await world.addNode(joins);
    await world.restartClaimant(step);
    await until('both are known', () => world.plan({ join: [joins], leave: [leaves] }).then(Boolean, () => false), 100);
    const plan = () => world.plan({ join: [joins], leave: [leaves] });
    const { planId } = await plan();
    world.arm();
    const isCommitted = await world.commit(planId).then(
      () => true,
      () => false,
    );
    await until('it has died, or has come to its end', async () => {
      if (!world.claimantRuns()) return true;
      const { claimant } = await world.status().catch(() => ({ claimant: undefined }));
      return isCommitted && claimant !== undefined && claimant.change === undefined;
    });
    hasDied = !world.claimantRuns();
    if (hasDied) kills += 1;
    await world.restartClaimant();
    // Killed before the goal was on its disk it does not know of it, and whoever asked for it has been told nothing.
    const isForgotten = async () => (await world.status()).claimant?.change === undefined && !isIn(world.ring(), joins);
    if (!isCommitted && (await isForgotten())) await world.commit((await plan()).planId);
    await world.changed();
    const statuses = statusesIn(world.ring());
    assert.equal(statuses[joins], 'UP', `step ${step}`);
    assert.equal(statuses[leaves], 'LEFT', `step ${step}`);
    assert.equal(world.ring().pending.size, 0, `step ${step}`);
    for (const id of world.nodes.keys())
      if (statuses[id] === 'UP') assert.equal(loads(world.ring(), id), 12, `${id} at step ${step}`);
    await world.nodes.get(leaves)?.stop();
    world.nodes.delete(leaves);
  }
  t.diagnostic(`${kills} steps, ring ${world.ring().version.term}.${world.ring().version.sequence}`);
  assert.ok(kills >= 8);
});

test('a change is paused, resumed and rolled back, and says how far it is', { timeout: hangMs }, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  e.pulls = false;
  const plan = await world.plan({ join: [e.address] });
  await world.commit(plan.planId);
  await until('it waits for e', async () =>
    /to pull \d+ partition/.test((await world.status()).claimant?.waitingFor ?? ''),
  );
  const { change } = (await world.status()).claimant ?? {};
  assert.equal(change?.planId, plan.planId);
  assert.equal(change?.partitionsInFlight, world.ring().pending.size);
  assert.deepEqual([change?.bytesMoved, change?.bytes], [0n, plan.bytes]);
  await world.control(ChangeControl.PAUSE);
  assert.equal((await world.status()).claimant?.change?.paused, true);
  await world.control(ChangeControl.RESUME);
  assert.equal((await world.status()).claimant?.change?.paused, false);
  await world.control(ChangeControl.ROLL_BACK);
  await world.changed();
  assert.deepEqual([world.ring().pending.size, loads(world.ring(), 'e')], [0, 0]);
  const rolledBack = { planId: plan.planId, end: ChangeEnd.ROLLED_BACK, replacedBy: '' };
  assert.deepEqual((await world.status()).claimant?.ended, [rolledBack]);
  await world.restartClaimant();
  assert.deepEqual((await world.status()).claimant?.ended, [rolledBack], 'it is on the disk');
});

test('a commit that is asked for again when the change is done is done', { timeout: hangMs }, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  const { planId } = await world.plan({ join: [e.address] });
  await world.commit(planId);
  await world.changed();
  const owned = loads(world.ring(), 'e');
  assert.ok(owned > 0);
  await world.commit(planId);
  await world.restartClaimant();
  await world.commit(planId);
  const { claimant } = await world.status();
  assert.deepEqual([claimant?.change, claimant?.ended], [undefined, [{ planId, end: ChangeEnd.DONE, replacedBy: '' }]]);
});

test('the command line plans a change, carries it out and says what is under way', { timeout: hangMs }, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  const ring = (...args: string[]) => cartwheel(['ring', ...args, '--endpoint', world.seed]);
  const planned = await ring('plan', '--join', 'all');
  assert.match(planned.stdout, /^moves {4}\d+ replicas of \d+ partitions, about .* B$/m);
  assert.match(
    planned.stdout,
    new RegExp(`^e +${e.address} +zone-e +e +1 +up +0 +\\d+ +~\\d+(\\.\\d)? K?i?B +-$`, 'm'),
  );
  assert.match(planned.stdout, /^time {5}about \d.* s, as fast as the background is now$/m);
  const [, commit = ''] = /^carry it out: cartwheel (.*)$/m.exec(planned.stdout) ?? [];
  assert.equal((await ring('status')).stdout, 'ring     1.1\nchange   none is under way\n');
  e.pulls = false;
  assert.match((await ring(...commit.split(' ').slice(1))).stdout, /^committed: /);
  await until('it shows what it waits for', async () =>
    /change {3}[0-9a-f]{16}: \d+ partitions left, .* in flight; .*; waiting for .* to pull/.test(
      (await ring('status')).stdout,
    ),
  );
  assert.equal((await ring('pause')).stdout, 'paused\n');
  assert.match((await ring('status')).stdout, /PAUSED/);
  assert.equal((await ring('rollback')).stdout, 'rolled back\n');
  await world.changed();
  e.pulls = true;
  const { planId } = JSON.parse((await ring('plan', '--join', 'e', '-o', 'json')).stdout);
  const waited = await ring('commit', planId, '--wait');
  assert.deepEqual([waited.code, waited.stdout], [0, 'done\n']);
  assert.ok(loads(world.ring(), 'e') > 0);
  const refused = await ring('plan', '--join', 'e');
  assert.deepEqual([refused.code, refused.stdout], [1, '']);
  assert.match(refused.stderr, /^cartwheel: CHANGE_IMPOSSIBLE: .* is in the ring already\n$/);
  const elsewhere = await cartwheel(['ring', 'status', '--endpoint', e.address]);
  assert.match(elsewhere.stderr, /is not the claimant, which alone changes the ring/);
});

test('a change that a disk has not the room for is shown, and refused with what is wanted and what is free', {
  timeout: hangMs,
}, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  e.diskFreeBytes = 900n;
  const plan = await world.plan({ join: ['e'] });
  const [wanting] = plan.nodes.filter(({ id }) => id === 'e');
  assert.deepEqual([wanting?.host, wanting?.bytesFree, wanting?.bytes], ['e', 900n, plan.bytes]);
  assert.ok((wanting?.bytesWanted ?? 0n) > plan.bytes);
  const shown = await cartwheel(['ring', 'plan', '--join', 'e', '--endpoint', world.seed]);
  assert.match(shown.stdout, /^NO ROOM {2}127\.0\.0\.1:\d+ would want .* of its disk, and has 900 B free/m);
  await assert.rejects(
    world.commit(plan.planId),
    (error) =>
      error instanceof Failure &&
      error.reason === 'CHANGE_IMPOSSIBLE' &&
      error.message.includes(
        `${e.address} would take over ${wanting?.partitionsAfter} partitions: that wants ${wanting?.bytesWanted} bytes of its disk, and 900 are free`,
      ),
  );
  assert.equal((await world.status()).claimant?.change, undefined);
  e.diskFreeBytes = 1_000_000n;
  e.pulls = false;
  e.transfersWaitFor = 'no room';
  await world.commit(plan.planId);
  await until('it says why e does not pull', async () =>
    /to pull \d+ partitions? \(no room\)/.test((await world.status()).claimant?.waitingFor ?? ''),
  );
  e.pulls = true;
  await world.changed();
});

test('killed after every step of a doubling, the claimant ends it, and doubles once', {
  timeout: 2 * hangMs,
}, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const { owners } = world.ring();
  const planned = await world.planDoubling();
  assert.deepEqual([planned.partitionsBefore, planned.partitionsAfter, planned.bytesMoved], [16, 32, 0n]);
  assert.deepEqual(
    planned.nodes.map((node) => node.partitionsAfter),
    [24, 24, 24, 24],
  );
  assert.deepEqual(
    planned.nodes.map((node) => node.pairsAfter),
    [48, 48, 48, 48],
  );
  // It cannot go on before every node has said which ring it knows: the goal is on the disk, and no ring is issued.
  const d = world.nodes.get('d') as TestNode;
  await world.restartClaimant();
  await d.stop();
  const { planId } = await world.planDoubling();
  await world.commit(planId);
  await until(
    'it waits for d',
    async () =>
      (await world.status()).claimant?.waitingFor.includes(`${d.address} to say which ring is known there`) === true,
  );
  assert.equal((await world.status()).claimant?.change?.partitionsLeft, 16);
  await assert.rejects(world.plan({ leave: ['a'] }), /the partitions are being doubled, from 16/);
  await world.restartClaimant();
  assert.equal((await world.status()).claimant?.change?.planId, planId, 'the goal is known after a kill');
  world.nodes.delete('d');
  await world.addNode('d', d.address);
  await until('it is issued', () => world.ring().partitions === 32);
  await world.restartClaimant();
  await world.changed();
  await until('all know it', () => [...world.nodes.values()].every(({ gossip }) => gossip.ring()?.partitions === 32));
  const { version, owners: after, pending } = world.ring();
  assert.deepEqual([pending.size, after.length], [0, 2 * owners.length]);
  await world.restartClaimant();
  assert.deepEqual((await world.status()).claimant?.change, undefined);
  await world.commit(planId);
  assert.deepEqual((await world.status()).claimant?.change, undefined);
  assert.deepEqual(world.ring().version, version, 'nothing is issued again');

  const e = await world.addNode('e');
  await world.commit((await world.plan({ join: [e.address] })).planId);
  await world.changed();
  assert.ok(Math.abs(loads(world.ring(), 'e') - 96 / 5) < 1, 'partitions move as before, in the smaller size');
});

test('a doubling is refused while partitions move, and the command line shows it and carries it out', {
  timeout: hangMs,
}, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  const double = (...args: string[]) => cartwheel(['partitions', 'double', ...args, '--endpoint', world.seed]);
  const old = /^plan +([0-9a-f]{16})$/m.exec((await double('--plan')).stdout)?.[1] ?? '';
  e.pulls = false;
  await world.commit((await world.plan({ join: ['e'] })).planId);
  const refused = await double('--commit');
  assert.deepEqual([refused.code, refused.stdout], [1, '']);
  assert.match(
    refused.stderr,
    /^cartwheel: CHANGE_CONFLICT: the change [0-9a-f]{16} is under way: .* \(cartwheel ring status/,
  );
  e.pulls = true;
  await world.changed();
  const stale = await double('--commit', old);
  assert.match(stale.stderr, /^cartwheel: CHANGE_CONFLICT: the ring, or the change under way, is another one by now/);

  const { stdout } = await double('--plan');
  assert.match(stdout, /^partitions +16 now, 32 afterwards, 65,536 at most$/m);
  assert.match(stdout, /^moves +0 B: each partition becomes two, with the owners that it has$/m);
  assert.match(stdout, /^trees +8(\.0)? MiB of memory at each node, now and afterwards/m);
  const [, commit = ''] = /^carry it out: cartwheel partitions double (.*)$/m.exec(stdout) ?? [];
  assert.match((await double(...commit.split(' '))).stdout, /^done: 32 partitions, ring \d+\.\d+\n$/);
  assert.match((await double('--commit', '-o', 'json')).stdout, /"partitions":64,.*"done":true/);
  assert.equal(world.ring().partitions, 64);
});

test('what cannot be is refused: an old plan, no change to control, a node that is gone, a process that is no claimant', {
  timeout: hangMs,
}, async () => {
  const world = await startWorld(['a', 'b', 'c', 'd']);
  const e = await world.addNode('e');
  const failing = async (made: Promise<unknown>, reason: string, message: RegExp) =>
    assert.rejects(made, (error) => error instanceof Failure && error.reason === reason && message.test(error.message));
  await failing(world.commit('0123'), 'CHANGE_CONFLICT', /no plan 0123/);
  await failing(world.control(ChangeControl.PAUSE), 'CHANGE_CONFLICT', /no change of the ring is under way/);
  await failing(world.plan({ join: ['nobody'] }), 'CHANGE_IMPOSSIBLE', /no node nobody is known; there are /);
  await failing(world.plan({ leave: ['a', 'b'] }), 'CHANGE_IMPOSSIBLE', /3 replicas need as many nodes, and 2/);
  await failing(
    callAdmin(e.address, 5_000, (on, ...rest) => on.planChange(nothing, ...rest)),
    'NOT_IMPLEMENTED',
    /only the claimant/,
  );
  const first = await world.plan({ join: ['e'] });
  const second = await world.plan({ leave: ['a'] });
  await world.commit(first.planId);
  await failing(world.commit(second.planId), 'CHANGE_CONFLICT', /plan again/);
  await world.commit(first.planId);
  await world.changed();
  await failing(world.plan({ join: ['e'] }), 'CHANGE_IMPOSSIBLE', /is in the ring already/);
  const f = await world.addNode('f');
  await f.stop();
  await failing(world.plan({ join: ['f'] }), 'CHANGE_IMPOSSIBLE', /does not answer: start it before it joins/);
});
