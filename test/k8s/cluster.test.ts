/**
 * The chart on a real cluster: whatever KUBECONFIG names, with the image that CARTWHEEL_IMAGE names (REPOSITORY:TAG, where
 * every node can get it). Clients write and read all the time; nothing they were told is written may be lost.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { basketWanted, makePythonClient } from '../e2e/python-client.ts';
import { retried } from '../e2e/support.ts';
import { chart, done, type Forward, forward, isThere, run } from './tools.ts';

const image = process.env.CARTWHEEL_IMAGE ?? '';
const missing = process.env.KUBECONFIG === undefined || image === '';
const skip = missing || !(await isThere('helm')) ? 'it needs KUBECONFIG, CARTWHEEL_IMAGE and helm' : false;
const [repository = '', tag = ''] = image.split(/:(?=[^:/]*$)/);
const namespace = 'cartwheel-test';
const hangMs = 600_000;
const storage = 'statefulset/cartwheel-storage';
const settings = [
  ...['--set', `image.repository=${repository}`, '--set', `image.tag=${tag}`, '--set', 'image.pullPolicy=Never'],
  ...['--values', `${chart}/ci/small.yaml`, '--set', 'router.replicas=2', '--set', 'membership.replicas=2'],
  ...['--set', 'storage.replaceAutomatically=true'],
];
/** NodeStatus of kv.proto. */
const up = 2;

const kubectl = (...args: string[]) => done('kubectl', '-n', namespace, ...args);
const helm = (command: string, ...args: string[]) => done('helm', '-n', namespace, command, 'cartwheel', ...args);
const ready = async (what = storage) => void (await kubectl('rollout', 'status', what, '--timeout=300s'));
const pods = async (component: string) =>
  (await kubectl('get', 'pods', '-l', `app.kubernetes.io/component=${component}`, '-o', 'name')).trim().split('\n');

/** How it is called, and with what it ended. */
const helmTried = (...args: string[]) => run('helm', ['-n', namespace, ...args]);
const upgrade = (...args: string[]) => helm('upgrade', chart, ...settings, ...args, '--timeout', '5m');
const withNodes = (replicas: number) => ['--set', `storage.replicas=${replicas}`];
const spec = () => kubectl('get', storage, '-o', 'jsonpath={.spec.replicas} {.metadata.generation}');

/** Of what has changed in the ring, as `cartwheel ring status` says it. */
async function claimant(): Promise<{ readonly waitingFor: string; readonly change?: object }> {
  const addresses = [0, 1].map((i) => `cartwheel-membership-${i}.cartwheel-membership:7441`).join();
  const command = ['cartwheel', '--endpoint', addresses, 'ring', 'status', '-o', 'json'];
  const said = await kubectl('exec', 'cartwheel-storage-0', '-c', 'storage-node', '--', ...command);
  return JSON.parse(said).claimant;
}

/** The pods in the ring, by their names, once no change of it is under way. */
async function settledRing(count: number, signal: AbortSignal): Promise<void> {
  await retried(async () => {
    assert.equal((await claimant()).change, undefined);
    const { members } = await client.status();
    const inRing = members.filter(({ status }) => status === up).map(({ address }) => address.split('.')[0]);
    assert.deepEqual(
      inRing.sort(),
      Array.from({ length: count }, (_, i) => `cartwheel-storage-${i}`),
    );
  }, signal);
}

let way: Forward;
let client: CartwheelClient;

before(async () => {
  if (skip !== false) return;
  await run('kubectl', ['delete', 'namespace', namespace, '--ignore-not-found', '--wait']);
  await done('kubectl', 'create', 'namespace', namespace);
  await done('kubectl', 'label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted');
});

after(async () => {
  await client?.close();
  way?.stop();
  if (skip === false) await run('kubectl', ['delete', 'namespace', namespace, '--wait=false']);
});

test('helm install: ready, in a namespace that enforces restricted pods', { skip, timeout: hangMs }, async (t) => {
  const from = performance.now();
  const notes = await helm('install', chart, ...settings);
  await ready();
  await ready('deployment/cartwheel-router');
  t.diagnostic(`ready ${((performance.now() - from) / 1_000).toFixed(0)} s after helm install began`);
  assert.match(notes, /storage nodes, 3 replicas of each key/);
  way = await forward(namespace, 'service/cartwheel', 7400);
  client = connect({ endpoints: [way.address] });
});

test('helm test passes, and the commands of the notes work as they are', { skip, timeout: hangMs }, async ({
  signal,
}) => {
  await helm('test');
  const notes = await done('helm', '-n', namespace, 'get', 'notes', 'cartwheel');
  const commands = notes.split('\n').filter((line) => /^ +kubectl .* (put|get|status)\b/.test(line));
  assert.equal(commands.length, 4);
  for (const command of commands) {
    const said = await retried(() => done('sh', '-c', command), signal);
    if (command.includes('get cart-1')) assert.match(said, /1\. apple/);
  }
});

test('a client generated in another language puts and gets through the Service', {
  skip,
  timeout: hangMs,
}, async (t) => {
  const made = await makePythonClient();
  if (typeof made === 'string') {
    t.diagnostic(made);
    return;
  }
  try {
    assert.deepEqual(await made.run(way.address), basketWanted);
  } finally {
    await made.close();
  }
});

test('zones and hosts are those of the Kubernetes nodes', { skip, timeout: hangMs }, async ({ signal }) => {
  await settledRing(3, signal);
  const json = JSON.parse(await kubectl('get', 'nodes', '-o', 'json'));
  const zones = new Map<string, string>();
  for (const { metadata } of json.items) {
    zones.set(metadata.name, metadata.labels['topology.kubernetes.io/zone'] ?? metadata.name);
  }
  const { members } = await client.status();
  for (const { address, host, zone } of members) {
    const pod = address.split('.')[0] as string;
    assert.equal(host, await kubectl('get', 'pod', pod, '-o', 'jsonpath={.spec.nodeName}'));
    assert.equal(zone, zones.get(host));
  }
});

/**
 * Writes and reads while `work` goes on; afterwards everything that was acknowledged is there. An operation is tried
 * again for as long as it takes, under one request id.
 */
async function underLoad(name: string, signal: AbortSignal, work: () => Promise<void>): Promise<number> {
  let over = false;
  const written: string[] = [];
  const load = Array.from({ length: 4 }, async (_, worker) => {
    for (let i = 0; !over; i++) {
      const key = `${name} ${worker} ${i}`;
      const requestId = Buffer.from(`${i} ${worker} ${name}`.slice(0, 32));
      await retried(() => client.put(key, key, { timeoutMs: 5_000, requestId }), signal);
      written.push(key);
      await retried(() => client.get(key, { timeoutMs: 5_000 }), signal);
      await pause(20);
    }
  });
  try {
    await work();
  } finally {
    over = true;
    await Promise.all(load);
  }
  const readers = Array.from({ length: 32 }, async (_, reader) => {
    for (let i = reader; i < written.length; i += 32) await hasKept(written[i] as string, signal);
  });
  await Promise.all(readers);
  return written.length;
}

async function hasKept(key: string, signal: AbortSignal): Promise<void> {
  const { siblings } = await retried(() => client.get(key), signal);
  const values = siblings.map(({ value }) => value.toString());
  assert.deepEqual(values, [key], `${key} was acknowledged`);
}

const events: readonly (readonly [string, (signal: AbortSignal) => Promise<void>])[] = [
  [
    'each storage pod is deleted with grace 0',
    async () => {
      for (const pod of await pods('storage')) {
        await kubectl('delete', pod, '--grace-period=0', '--force');
        await pause(1_000);
        await ready();
      }
    },
  ],
  [
    'the router pods are deleted',
    async () => {
      for (const pod of await pods('router')) {
        await kubectl('delete', pod);
        await ready('deployment/cartwheel-router');
      }
    },
  ],
  [
    'membership is deleted, and another one is elected',
    async (signal) => {
      for (const pod of await pods('membership')) await kubectl('delete', pod, '--grace-period=0', '--force');
      await pause(1_000);
      await ready('statefulset/cartwheel-membership');
      await retried(claimant, signal);
    },
  ],
  [
    'three nodes become five',
    async (signal) => {
      await upgrade(...withNodes(5));
      await ready();
      await settledRing(5, signal);
    },
  ],
  [
    'five nodes cannot become three, for one of them is down, and nothing changes',
    async (signal) => {
      const before = await spec();
      const on = await kubectl('get', 'pod', 'cartwheel-storage-1', '-o', 'jsonpath={.spec.nodeName}');
      await kubectl('cordon', on);
      try {
        await kubectl('delete', 'pod', 'cartwheel-storage-1', '--grace-period=0', '--force');
        const { code } = await helmTried(
          'upgrade',
          'cartwheel',
          chart,
          ...settings,
          ...withNodes(3),
          '--timeout',
          '5m',
        );
        assert.notEqual(code, 0);
        const why = 'jsonpath={.items[*].status.containerStatuses[0].state.terminated.message}';
        const said = await kubectl('get', 'pods', '-l', 'app.kubernetes.io/component=drain', '-o', why);
        assert.match(said, /1 node of the ring does not answer: cartwheel-storage-1\..*nothing was changed/);
      } finally {
        await kubectl('uncordon', on);
      }
      assert.equal(await spec(), before);
      await ready();
      await settledRing(5, signal);
    },
  ],
  [
    'five nodes become three',
    async (signal) => {
      await upgrade(...withNodes(3));
      await ready();
      await settledRing(3, signal);
    },
  ],
  [
    'three become four, on the volume of one that had left',
    async (signal) => {
      await upgrade(...withNodes(4));
      await ready();
      await settledRing(4, signal);
    },
  ],
  [
    'everything is upgraded, one after the other, and one node leaves',
    async (signal) => {
      const changed = ['storage', 'router', 'membership'].flatMap((of) => [
        '--set',
        `${of}.podAnnotations.upgraded=yes`,
      ]);
      await upgrade(...changed);
      await ready();
      await ready('deployment/cartwheel-router');
      await ready('statefulset/cartwheel-membership');
      await settledRing(3, signal);
    },
  ],
  [
    'the volume of a node is lost',
    async (signal) => {
      const pod = 'cartwheel-storage-1';
      const idOf = async () => {
        const { members } = await client.status();
        return members.filter(({ address, status }) => status === up && address.startsWith(pod)).map(({ id }) => id);
      };
      const [before] = await idOf();
      await kubectl('delete', 'pvc', `data-${pod}`, '--wait=false');
      await kubectl('delete', 'pod', pod, '--grace-period=0', '--force');
      await retried(async () => {
        const [now, ...more] = await idOf();
        assert.ok(now !== undefined && now !== before && more.length === 0, `${before}: ${now}`);
      }, signal);
      await settledRing(3, signal);
      await ready();
    },
  ],
  [
    'all pods are killed at once',
    async () => {
      await kubectl('delete', 'pods', '--all', '--grace-period=0', '--force');
      await pause(1_000);
      await ready();
      await ready('deployment/cartwheel-router');
      await ready('statefulset/cartwheel-membership');
    },
  ],
];

for (const [name, work] of events) {
  test(`nothing acknowledged is lost while ${name}`, { skip, timeout: hangMs }, async (t) => {
    const written = await underLoad(name, t.signal, () => work(t.signal));
    t.diagnostic(`${written} writes acknowledged, 0 lost`);
    assert.ok(written > 0);
  });
}

test('fewer nodes than replicas are refused, with why, and nothing changes', { skip, timeout: hangMs }, async () => {
  const before = await spec();
  const { code, stderr } = await helmTried('upgrade', 'cartwheel', chart, ...settings, ...withNodes(2));
  assert.notEqual(code, 0);
  assert.match(stderr, /storage\.replicas is 2 and ring\.replicas is 3.*--set storage\.replicas=3/);
  assert.equal(await spec(), before);
});

test('pods of nodes in the ring are not scaled away, with what to do instead', { skip, timeout: hangMs }, async () => {
  const before = await spec();
  for (const attempt of [
    ['scale', storage, '--replicas=1'],
    ['scale', storage, '--replicas=0'],
    ['patch', storage, '--type=merge', '--patch', '{"spec":{"replicas":2}}'],
  ]) {
    const { code, stderr } = await run('kubectl', ['-n', namespace, ...attempt]);
    assert.notEqual(code, 0, attempt.join(' '));
    assert.match(stderr, /nodes in the ring up to pod 2.*helm upgrade cartwheel .*--set storage\.replicas=3/s);
  }
  assert.equal(await spec(), before);
  // What takes nobody away is not in the way of it.
  await kubectl('scale', storage, '--replicas=3');
});

test('helm uninstall leaves the volumes, and nothing else', { skip, timeout: hangMs }, async ({ signal }) => {
  await helm('uninstall', '--wait');
  await retried(async () => {
    assert.equal(
      (await kubectl('get', 'pods,jobs,services,statefulsets,deployments,pdb,roles', '-o', 'name')).trim(),
      '',
    );
  }, signal);
  const volumes = (await kubectl('get', 'pvc', '-o', 'name')).trim().split('\n');
  assert.equal(volumes.length, 5 + 2);
});
