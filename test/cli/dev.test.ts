import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Child } from '../../cli/dev/child.ts';
import { askRunning, controlPath, inTurn, listenForControl } from '../../cli/dev/control.ts';
import { storedLayout, storeLayout } from '../../cli/dev/directory.ts';
import {
  basePortMax,
  claimantBeside,
  type DevLayout,
  firstNumbers,
  freeNumbers,
  membershipMax,
  type ProcessPlan,
  processesOf,
  storageNodesMax,
} from '../../cli/dev/layout.ts';
import { between, histogramCounts, quantile, total } from '../../cli/dev/scrape.ts';
import { LiveBlock, liveTable } from '../../cli/dev/view.ts';
import { Problem } from '../../cli/problem.ts';
import { cartwheel } from './run-cartwheel.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-dev-'));
after(() => rmSync(scratch, { recursive: true }));
const layout: DevLayout = {
  ...{ nodes: 3, zones: 2, basePort: 7400, partitions: 64, replicas: 3, membership: 1 },
  storage: [1, 2, 3],
};

function flag(plan: { arguments: readonly string[] }, name: string): string {
  return plan.arguments[plan.arguments.indexOf(name) + 1] as string;
}

test('the ports are the published ones, and no two processes share one even at the largest size', () => {
  const ports = processesOf(layout, '/d').map(({ name, port, adminPort }) => [name, port, adminPort]);
  assert.deepEqual(ports, [
    ['router', 7400, 7500],
    ['storage-1', 7411, 7511],
    ['storage-2', 7412, 7512],
    ['storage-3', 7413, 7513],
    ['membership-1', 7441, 7541],
  ]);
  const storage = firstNumbers(storageNodesMax);
  const largest = { ...layout, storage, membership: membershipMax, basePort: basePortMax };
  const all = processesOf(largest, '/d').flatMap(({ port, adminPort }) => [port, adminPort]);
  assert.equal(new Set(all).size, all.length);
  assert.equal(Math.max(...all), 65_535);
});

test('storage nodes keep their ports, hosts and zones whatever others are there, and a free number is taken again', () => {
  const gapped = { ...layout, storage: [1, 3, 4] };
  const nodes = processesOf(gapped, '/d').filter(({ kind }) => kind === 'storage-node');
  assert.deepEqual(
    nodes.map(({ name, port, zone }) => [name, port, zone]),
    [
      ['storage-1', 7411, 'zone-1'],
      ['storage-3', 7413, 'zone-1'],
      ['storage-4', 7414, 'zone-2'],
    ],
  );
  assert.deepEqual(freeNumbers(gapped, 2), [2, 5]);
  assert.equal(freeNumbers(gapped, storageNodesMax).length, storageNodesMax - 3);
  const [membership] = processesOf(gapped, '/d').filter(({ kind }) => kind === 'membership');
  assert.equal(flag(membership as ProcessPlan, '--expected-nodes'), '3');
});

test('the claimant of dev is found beside its router, on this machine', () => {
  assert.equal(claimantBeside('127.0.0.1:8400'), '127.0.0.1:8441');
  assert.equal(claimantBeside('store.example:8400'), undefined);
});

test('only storage nodes have services/storage-node in their command line', () => {
  for (const { kind, script, arguments: rest } of processesOf(layout, '/d')) {
    assert.equal([script, ...rest].join(' ').includes('services/storage-node'), kind === 'storage-node');
  }
});

test('nodes have hosts and directories of their own, zones in turn, and every seed but themselves', () => {
  const nodes = processesOf(layout, '/d').filter(({ kind }) => kind === 'storage-node');
  assert.deepEqual(
    nodes.map((node) => flag(node, '--zone')),
    ['zone-1', 'zone-2', 'zone-1'],
  );
  assert.equal(new Set(nodes.map((node) => flag(node, '--host'))).size, 3);
  assert.equal(new Set(nodes.map((node) => flag(node, '--data'))).size, 3);
  for (const node of nodes) assert.ok(!flag(node, '--seeds').split(',').includes(flag(node, '--listen')));
});

test('exactly one membership process is the claimant', () => {
  const members = processesOf({ ...layout, membership: 3 }, '/d').filter(({ kind }) => kind === 'membership');
  assert.deepEqual(
    members.map((member) => flag(member, '--claimant')),
    ['true', 'false', 'false'],
  );
});

test('the layout of a data directory is read back as it was stored, and refused when it is of another version', () => {
  assert.equal(storedLayout(scratch), undefined);
  storeLayout(scratch, layout);
  assert.deepEqual(storedLayout(scratch), layout);
  const { storage: _, ...older } = layout;
  writeFileSync(join(scratch, 'dev.json'), JSON.stringify({ ...older, version: 1 }));
  assert.deepEqual(storedLayout(scratch), layout, 'of before nodes could be added');
  writeFileSync(join(scratch, 'dev.json'), JSON.stringify({ ...layout, version: 2 }));
  assert.throws(
    () => storedLayout(scratch),
    (error) => error instanceof Problem && /version 2.*version 1/.test(error.message),
  );
  writeFileSync(join(scratch, 'dev.json'), JSON.stringify({ ...layout, nodes: 'three', version: 1 }));
  assert.throws(
    () => storedLayout(scratch),
    (error) => error instanceof Problem && /nodes is "three"/.test(error.message),
  );
});

test('data made with other flags is not opened, and every difference is named', async () => {
  const directory = join(scratch, 'made');
  mkdirSync(directory);
  storeLayout(directory, { ...layout, zones: 3 });
  const { code, stdout, stderr } = await cartwheel(['dev', '--data', directory, '--nodes', '5', '--partitions', '128']);
  assert.match(
    stderr,
    /made with --nodes 3 --partitions 64, asked for is --nodes 5 --partitions 128.*cartwheel dev add/,
  );
  assert.equal(stdout, '');
  assert.equal(code, 1);
});

test('every port that is taken is named, and nothing is started', async () => {
  const blockers = await Promise.all([7, 8].map(() => listening()));
  const [router = 0] = blockers.map(({ port }) => port).filter((port) => port < basePortMax && port > 1024);
  const directory = join(scratch, 'ports');
  const { code, stdout, stderr } = await cartwheel(['dev', '--data', directory, '--base-port', String(router)]);
  for (const { close } of blockers) close();
  assert.match(stderr, new RegExp(`in use: ${router} \\(router\\).*--base-port`));
  assert.equal(stdout, '');
  assert.equal(code, 1);
  assert.deepEqual(readdirSync(directory), []);
});

test('who holds the control socket of a directory answers for it; a socket left behind is nobody', async () => {
  const directory = join(scratch, 'control');
  mkdirSync(directory);
  assert.equal(await askRunning(directory, { command: 'who' }), undefined);
  const asked: object[] = [];
  const server = await listenForControl(directory, async (request) => {
    asked.push(request);
    return { pid: 42, started: request.command === 'restart' ? ['storage-2'] : [] };
  });
  assert.deepEqual(await askRunning(directory, { command: 'who' }), { pid: 42, started: [] });
  assert.deepEqual(await askRunning(directory, { command: 'restart' }), { pid: 42, started: ['storage-2'] });
  await askRunning(directory, { command: 'add', count: 2 });
  await askRunning(directory, { command: 'remove', name: 'storage-2' });
  assert.deepEqual(asked, [
    { command: 'who' },
    { command: 'restart' },
    { command: 'add', count: 2 },
    { command: 'remove', name: 'storage-2' },
  ]);
  assert.ok(server);
  await new Promise((closed) => server.close(closed));
  writeFileSync(controlPath(directory), '');
  assert.equal(await askRunning(directory, { command: 'who' }), undefined);
});

test('of several that take a directory at once one gets it, also where a socket was left behind', async () => {
  const directory = join(scratch, 'at-once');
  mkdirSync(directory);
  const take = () => listenForControl(directory, async () => ({ pid: 42, started: [] }));
  const [first, ...others] = (await Promise.all([take(), take(), take()])).sort((a) => (a === undefined ? 1 : -1));
  assert.ok(first);
  assert.deepEqual(others, [undefined, undefined]);
  await new Promise((closed) => first.close(closed));
  writeFileSync(controlPath(directory), '');
  const next = await take();
  assert.ok(next);
  assert.equal(await take(), undefined);
  next.close();
});

test('a directory whose path is too long for a socket has its socket elsewhere, one of its own', () => {
  const long = `/tmp/${'x'.repeat(120)}`;
  assert.ok(controlPath(long).length <= 100);
  assert.notEqual(controlPath(long), controlPath(`${long}y`));
  assert.equal(controlPath('/tmp/short'), '/tmp/short/dev.sock');
});

test('rates and quantiles come from the difference of two scrapes, over all label sets', () => {
  const text = (a: number, b: number) =>
    [
      '# TYPE cartwheel_operation_seconds histogram',
      `cartwheel_operation_seconds_bucket{operation="get",le="0.001"} ${a}`,
      `cartwheel_operation_seconds_bucket{operation="get",le="0.5"} ${a}`,
      `cartwheel_operation_seconds_bucket{operation="get",le="+Inf"} ${a}`,
      `cartwheel_operation_seconds_bucket{operation="put",le="0.001"} 0`,
      `cartwheel_operation_seconds_bucket{operation="put",le="0.5"} ${b}`,
      `cartwheel_operation_seconds_bucket{operation="put",le="+Inf"} ${b}`,
      'cartwheel_operation_seconds_sum{operation="put"} 17',
      'other_bucket{le="+Inf"} 1000',
    ].join('\n');
  const before = histogramCounts(text(100, 50), 'cartwheel_operation_seconds');
  const later = histogramCounts(text(1099, 51), 'cartwheel_operation_seconds');
  const recent = between(before, later);
  assert.equal(total(recent), 1000);
  assert.equal(quantile(recent, 0.999), 0.001);
  assert.equal(quantile(recent, 0.9999), 0.5);
  assert.equal(total(between(later, before)), 150, 'a process that started again begins at zero');
  assert.equal(quantile(between(later, later), 0.999), undefined);
});

function listening(): Promise<{ port: number; close: () => void }> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      resolve({ port: (server.address() as { port: number }).port, close: () => server.close() });
    });
  });
}

test('a terminal that does not know its size is shown the table all the same', () => {
  const shown: string[] = [];
  const out = { rows: 0, columns: 0, write: (text: string) => shown.push(text) } as unknown as NodeJS.WriteStream;
  const [plan] = processesOf(layout, '/data');
  const child = new Child(plan as ProcessPlan, () => {});
  const input = { children: [child], figures: new Map(), restartCommand: 'again', now: 0 };
  new LiveBlock(out).draw(liveTable(input, out.columns));
  assert.match(shown.join(''), /^PROCESS +PID .*\nrouter +- +127\.0\.0\.1:\d+ .*\n\nq quits\n$/);
});

test('what changes the layout is carried out one after the other, and who only asks does not wait', async () => {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const answer = inTurn(async (request) => {
    begun.push(request.command);
    if (request.command !== 'who') await new Promise<void>((end) => ends.push(end));
    return { pid: 1, started: [] };
  });
  const added = answer({ command: 'add', count: 1 });
  const removed = answer({ command: 'remove', name: 'storage-4' });
  await answer({ command: 'who' });
  assert.deepEqual(begun, ['who', 'add']);
  ends[0]?.();
  await added;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(begun, ['who', 'add', 'remove']);
  ends[1]?.();
  await removed;
});
