/** Two membership processes and one Lease: who claims, and what becomes of the other. The API server is a fake one. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../services/core/failure.ts';
import { type Course, noCourse } from '../../services/core/membership/course.ts';
import { openCourseMap } from '../../services/membership/course-map.ts';
import { createClock } from '../../services/platform/clock.ts';
import { createGossip, type Gossip } from '../../services/platform/gossip/gossip.ts';
import { createGrpcGossipTransport } from '../../services/platform/gossip/transport-grpc.ts';
import { connectKubernetes } from '../../services/platform/kubernetes/api.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createRandom } from '../../services/platform/random.ts';
import { callAdmin } from '../../services/platform/routing/admin-call.ts';
import { silentLog } from '../platform/recording-log.ts';
import {
  configMapPath,
  type FakeKubernetes,
  leasePath,
  serviceAccountPath,
  startFakeKubernetes,
} from './fake-kubernetes.ts';
import { freePorts } from './ports.ts';
import { cleanEnvironment, hangMs, removeDirectory, temporaryDirectory, until } from './support.ts';

const main = fileURLToPath(new URL('../../services/membership/main.ts', import.meta.url));
const uid = '2f1c9a52-7a0e-4d27-9c5e-b3a1f0e4d6c8';

let directory: string;
let kubernetes: FakeKubernetes;

before(async () => {
  directory = await temporaryDirectory();
  kubernetes = await startFakeKubernetes(directory);
});
after(async () => {
  await kubernetes.stop();
  await removeDirectory(directory);
});

interface Candidate {
  readonly address: string;
  readonly child: ChildProcess;
  status(): Promise<GetStatusResponse | undefined>;
  isClaimant(): Promise<boolean>;
}

function startCandidate(name: string, [port, admin]: readonly number[], seeds: string): Candidate {
  const address = `127.0.0.1:${port}`;
  const flags = [
    ...['--listen', address, '--admin', `127.0.0.1:${admin}`, '--data', `${directory}/${name}`, '--seeds', seeds],
    ...['--claimant', 'elected', '--kubernetes-name', 'wheel', '--partitions', '16'],
  ];
  const env = { ...cleanEnvironment(), KUBECONFIG: kubernetes.kubeconfig };
  const child = spawn(process.execPath, [main, ...flags], { stdio: ['ignore', 'ignore', 'inherit'], env });
  const status = () =>
    callAdmin<GetStatusResponse>(address, 1_000, (on, ...rest) => on.getStatus({}, ...rest)).catch(() => undefined);
  return { address, child, status, isClaimant: async () => (await status())?.claimant?.active === true };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGCONT');
  child.kill(signal);
  await exited;
}

async function startNode(id: string, seeds: readonly string[]): Promise<Gossip> {
  const clock = createClock();
  return createGossip({
    self: { id, address: `127.0.0.1:${(await freePorts(1))[0]}`, host: id, zone: id },
    ...{ seeds, clock, random: createRandom(), transport: createGrpcGossipTransport(), log: silentLog },
    metrics: createMetrics({ service: 'test' }),
  });
}

test('one of two membership processes claims; where it is stopped, the other takes over with a higher term', {
  timeout: hangMs,
}, async (t) => {
  kubernetes.put(leasePath('wheel-membership'), { kind: 'Lease', metadata: { uid } });
  kubernetes.put(configMapPath('wheel-goal'), { kind: 'ConfigMap', metadata: {} });
  const ports = await freePorts(4);
  const seeds = `127.0.0.1:${ports[0]},127.0.0.1:${ports[2]}`;
  const candidates = [startCandidate('one', ports.slice(0, 2), seeds), startCandidate('two', ports.slice(2), seeds)];
  const nodes: Gossip[] = [];
  t.after(async () => {
    await Promise.all([...nodes.map((node) => node.stop()), ...candidates.map(({ child }) => ended(child, 'SIGKILL'))]);
  });
  for (const id of ['a', 'b', 'c']) nodes.push(await startNode(id, seeds.split(',')));
  const claimants = async () => {
    const answers = await Promise.all(candidates.map(async (each) => ((await each.isClaimant()) ? [each] : [])));
    return answers.flat();
  };
  const holder = () => kubernetes.objects.get(leasePath('wheel-membership'))?.spec as Record<string, unknown>;

  await until('there is a ring', () => nodes.every((node) => node.ring() !== undefined));
  assert.deepEqual(nodes[0]?.ring()?.version, { term: 1n, sequence: 1n });
  // Whoever else might have formed the first ring at the same moment would have named the cluster alike.
  assert.equal(nodes[0]?.state().clusterId, uid.replaceAll('-', ''));
  const [first, ...more] = await claimants();
  assert.ok(first);
  assert.equal(more.length, 0);
  const other = candidates.find((each) => each !== first) as Candidate;
  const refusal = await callAdmin(other.address, 5_000, (on, ...rest) =>
    on.planChange({ join: [], joinAll: true, leave: [], replace: [], down: [] }, ...rest),
  ).catch((error: unknown) => error);
  assert.ok(refusal instanceof Failure && refusal.reason === 'NOT_IMPLEMENTED', String(refusal));

  first.child.kill('SIGSTOP');
  await until('the other one claims', () => other.isClaimant());
  assert.equal(holder().leaseTransitions, 2);
  first.child.kill('SIGCONT');
  await until('the first one answers', async () => (await first.status()) !== undefined);
  assert.deepEqual(await claimants(), [other]);

  await ended(other.child, 'SIGTERM');
  await until('the first one claims again', () => first.isClaimant());
  assert.equal(holder().leaseTransitions, 3);
});

test('a goal, and how changes before it ended, are kept in a ConfigMap, and not over that of another claimant', async () => {
  process.env.KUBECONFIG = kubernetes.kubeconfig;
  kubernetes.put(configMapPath('goal'), { kind: 'ConfigMap', metadata: { labels: { app: 'wheel' } } });
  const goal: Course['goal'] = {
    ...{ id: 'g', joining: [], leaving: ['a'], down: [], flipped: [3], paused: true, replicas: 2, bytes: 7 },
    owners: Uint16Array.from({ length: 65_536 * 3 }, (_, i) => (i * 7) % 1_000),
    withdrawn: new Map([[1, [2]]]),
  };
  const course: Course = { goal, ended: [{ id: 'f', end: 'REPLACED', by: 'g' }] };
  const one = await openCourseMap(await connectKubernetes(), 'goal');
  assert.deepEqual(one.kept, noCourse);
  await one.keep(course);
  const two = await openCourseMap(await connectKubernetes(), 'goal');
  assert.deepEqual(two.kept, course);
  await two.keep(noCourse);
  assert.equal(one.isStale(), false);
  await assert.rejects(one.keep(course), /config map goal: the object has been modified/);
  assert.equal(one.isStale(), true);
  assert.deepEqual((await openCourseMap(await connectKubernetes(), 'goal')).kept, noCourse);
  assert.deepEqual(kubernetes.objects.get(configMapPath('goal'))?.metadata.labels, { app: 'wheel' });
});

test('what is noted on a service account is replaced only as it was read, and the rest of it stays', async () => {
  process.env.KUBECONFIG = kubernetes.kubeconfig;
  const path = serviceAccountPath('scale');
  const mine = { labels: { app: 'wheel' }, annotations: { wanted: '3' } };
  kubernetes.put(path, { kind: 'ServiceAccount', metadata: mine, automountServiceAccountToken: false });
  const api = await connectKubernetes();
  const before = await api.notes('scale');
  assert.deepEqual(before.notes, { wanted: '3' });
  const next = await api.replaceNotes(before, { ...before.notes, fewest: '2' });
  assert.deepEqual(next.notes, { wanted: '3', fewest: '2' });
  await assert.rejects(api.replaceNotes(before, {}), /service account scale: the object has been modified/);
  const now = kubernetes.objects.get(path);
  assert.deepEqual(now?.metadata.labels, { app: 'wheel' });
  assert.deepEqual(now?.metadata.annotations, { wanted: '3', fewest: '2' });
  assert.equal(now?.automountServiceAccountToken, false);
});
