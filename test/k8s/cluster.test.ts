/**
 * The chart on a real cluster (release.ts). A client in it writes and reads all the time: every operation has to succeed in the
 * end, and nothing it was told is written may be lost.
 */
import assert from 'node:assert/strict';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { panelQueries } from '../dashboards/queries.ts';
import { basketWanted, makePythonClient } from '../e2e/python-client.ts';
import { retried, until } from '../e2e/support.ts';
import { slowDiskSource } from '../nemesis/disks.ts';
import { compileLibrary } from '../nemesis/preload.ts';
import { rulesFile } from '../rules/known-series.ts';
import type { LoadReport } from './load.ts';
import {
  allReady,
  cartwheel,
  claimant,
  helm,
  hostOf,
  image,
  install,
  kubectl,
  membership,
  namespace,
  pods,
  ready,
  release,
  revision,
  router,
  skip,
  spec,
  storage,
  upgrade,
  upgradeTried,
  withNodes,
} from './release.ts';
import { done, type Forward, fed, forward, isThere, run } from './tools.ts';
import { createWatchers, type Prometheus, type Watchers } from './watchers.ts';

const hangMs = 600_000;
/** An operation that fails for longer has failed: what a client behind a page would still be waiting for. */
const patienceMs = 30_000;
/** NodeStatus of kv.proto. */
const up = 2;

let way: Forward;
let client: CartwheelClient;
let watchers: Watchers;
/** The Kubernetes node that the watchers are on. */
let watchingFrom: string;
let directory: string;
let python: ReturnType<typeof makePythonClient>;

before(async () => {
  if (skip !== false) return;
  directory = await mkdtemp(join(tmpdir(), 'cartwheel-k8s-'));
  for (const left of [namespace, `${namespace}-watchers`]) {
    await run('kubectl', ['delete', 'namespace', left, '--ignore-not-found', '--wait']);
  }
  await done('kubectl', 'create', 'namespace', namespace);
  await done('kubectl', 'label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted');
});

after(async () => {
  if (skip !== false) return;
  await client?.close();
  way?.stop();
  await watchers?.close();
  await run('kubectl', ['delete', 'namespace', namespace, '--wait=false']);
  await rm(directory, { recursive: true, force: true });
});

/** The pods in the ring, by their names, once no change of it is under way. */
async function settledRing(count: number, signal: AbortSignal): Promise<void> {
  // The router it leads to may be gone, which it would find out after minutes.
  way.renew();
  await retried(
    async () => {
      const { members } = await client.status();
      const inRing = members.filter(({ status }) => status === up).map(({ address }) => address.split('.')[0]);
      assert.deepEqual(
        inRing.sort(),
        Array.from({ length: count }, (_, i) => `cartwheel-storage-${i}`),
      );
      // Last, for it starts a process in a pod each time.
      assert.equal((await claimant()).change, undefined);
    },
    signal,
    1_000,
  );
}

test('helm install: ready, in a namespace that enforces restricted pods', { skip, timeout: hangMs }, async (t) => {
  const from = performance.now();
  const notes = await install();
  await ready(storage);
  await ready(router);
  t.diagnostic(`ready ${((performance.now() - from) / 1_000).toFixed(0)} s after helm install began`);
  assert.match(notes, /storage nodes, 3 replicas of each key/);
  way = await forward(namespace, 'service/cartwheel', 7400);
  client = connect({ endpoints: [way.address] });
  // It takes a while to come; only then, so that it does not count as the chart's time.
  python = makePythonClient();
});

test('helm test passes, and the commands of the notes work as they are', { skip, timeout: hangMs }, async ({
  signal,
}) => {
  await helm('test');
  const notes = await done('helm', '-n', namespace, 'get', 'notes', release);
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
  const made = await python;
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
    assert.equal(host, await hostOf(pod));
    assert.equal(zone, zones.get(host));
  }
});

test('there is a client inside the cluster, on one of its nodes', { skip, timeout: hangMs }, async () => {
  watchingFrom = await hostOf('cartwheel-storage-0');
  watchers = await createWatchers({
    ...{ namespace: `${namespace}-watchers`, watched: namespace, release, image, host: watchingFrom },
  });
});

/** Writes and reads while `work` goes on; afterwards everything that was acknowledged is there. */
async function underLoad(t: TestContext, work: () => Promise<void>, patience = patienceMs): Promise<void> {
  const load = await watchers.load(t.name, patience);
  let report: LoadReport | undefined;
  try {
    await work();
  } finally {
    const from = performance.now();
    report = await load.stop();
    const readAgainMs = performance.now() - from;
    const { writes, reads, again, longestMs, failed, lost } = report;
    t.diagnostic(
      `${writes} writes and ${reads} reads: ${failed.length} failed, ${lost.length} lost; ` +
        `${again} attempts more, the longest operation took ${(longestMs / 1_000).toFixed(1)} s; ` +
        `all were read again in ${(readAgainMs / 1_000).toFixed(1)} s`,
    );
  }
  assert.deepEqual(report.lost.slice(0, 5), []);
  assert.deepEqual(report.failed.slice(0, 5), []);
  assert.ok(report.writes > 0 && report.reads > 0);
}

const withoutPrometheus = (await isThere('prometheus')) ? skip : 'there is no prometheus to put into the cluster';
let prometheus: Prometheus;

test('a Prometheus in the cluster scrapes every pod, and has loaded every rule and every alert of the chart', {
  skip: withoutPrometheus,
  timeout: hangMs,
}, async () => {
  prometheus = await watchers.prometheus((await done('sh', '-c', 'command -v prometheus')).trim());
  await until('all are scraped', async () => {
    const [scraped] = await prometheus.ask(`count(up{release="${release}"} == 1)`);
    return scraped?.value[1] === '7';
  });
  const wanted = [...readFileSync(rulesFile, 'utf8').matchAll(/(?:record|alert): (\S+)/g)].map(([, name]) => name);
  const { names, wrong } = await prometheus.rules();
  assert.deepEqual(names.toSorted(), wanted.toSorted());
  assert.deepEqual(wrong, []);
});

test('every panel of the dashboards has data, asked as kubectl get --raw asks', {
  skip: withoutPrometheus,
  timeout: hangMs,
}, async (t) => {
  await underLoad(t, async () => {
    const queries = panelQueries('20s');
    const asking = Array.from({ length: 8 }, async (_, i) => {
      for (let at = i; at < queries.length; at += 8) {
        const { where, expr } = queries[at] as (typeof queries)[number];
        await prometheus.hasData(where, expr);
      }
    });
    await Promise.all(asking);
    t.diagnostic(`${queries.length} queries have data`);
  });
});

/** The storage node's, of a disk that can be made slow; on its volume before the pod begins anew. */
const slowDisk = { library: '/var/lib/cartwheel/slow-disk.so', control: '/var/lib/cartwheel/slow-disk' };
let withoutSlowDisk: string | undefined;

async function placeSlowDisk(): Promise<void> {
  const library = join(directory, 'slow-disk.so');
  withoutSlowDisk = await compileLibrary(slowDiskSource, library);
  if (withoutSlowDisk !== undefined) return;
  for (const pod of await pods('storage')) await writeInto(pod, slowDisk.library, createReadStream(library));
}

/** At once: never seen half written. */
async function writeInto(pod: string, path: string, content: Parameters<typeof fed>[0]): Promise<void> {
  const write = `cat >${path}.next && mv ${path}.next ${path}`;
  await fed(content, 'kubectl', '-n', namespace, 'exec', '-i', pod, '-c', 'storage-node', '--', 'sh', '-c', write);
}

/** What the release has been set to by then: an upgrade keeps nothing that it is not told again. */
const changed = [
  ...['storage', 'router', 'membership'].flatMap((of) => ['--set', `${of}.podAnnotations.upgraded=yes`]),
  ...['--set', `storage.extraEnv[0].name=LD_PRELOAD,storage.extraEnv[0].value=${slowDisk.library}`],
  ...['--set', `storage.extraEnv[1].name=SLOW_DISK_CONTROL,storage.extraEnv[1].value=${slowDisk.control}`],
];
let withThree: string;

type Event = (signal: AbortSignal) => Promise<void>;
const events: readonly (readonly [name: string, work: Event, patienceMs?: number])[] = [
  [
    'each storage pod is deleted with grace 0',
    async () => {
      for (const pod of await pods('storage')) {
        await kubectl('delete', pod, '--grace-period=0', '--force');
        await pause(1_000);
        await ready(storage);
      }
    },
  ],
  [
    'the router pods are deleted',
    async () => {
      for (const pod of await pods('router')) {
        await kubectl('delete', pod);
        await ready(router);
      }
    },
  ],
  [
    'membership is deleted, and another one is elected',
    async (signal) => {
      for (const pod of await pods('membership')) await kubectl('delete', pod, '--grace-period=0', '--force');
      await pause(1_000);
      await ready(membership);
      await retried(claimant, signal);
    },
  ],
  [
    'three nodes become five',
    async (signal) => {
      await upgrade(...withNodes(5));
      await ready(storage);
      await settledRing(5, signal);
    },
  ],
  [
    'five nodes cannot become three, for one of them is down, and nothing changes',
    async (signal) => {
      const before = await spec();
      const on = await hostOf('cartwheel-storage-1');
      await kubectl('cordon', on);
      try {
        await kubectl('delete', 'pod', 'cartwheel-storage-1', '--grace-period=0', '--force');
        const { code } = await upgradeTried(...withNodes(3));
        assert.notEqual(code, 0);
        const why = 'jsonpath={.items[*].status.containerStatuses[0].state.terminated.message}';
        const said = await kubectl('get', 'pods', '-l', 'app.kubernetes.io/component=drain', '-o', why);
        assert.match(said, /1 node of the ring does not answer: cartwheel-storage-1\..*nothing was changed/);
      } finally {
        await kubectl('uncordon', on);
      }
      assert.equal(await spec(), before);
      await ready(storage);
      await settledRing(5, signal);
    },
  ],
  [
    'five nodes become three, though helm does not wait for it, and by the same command again',
    async (signal) => {
      assert.notEqual((await upgradeTried(...withNodes(3), '--timeout', '3s')).code, 0);
      // What has begun goes on, with the rights that it needs at its end.
      await kubectl('wait', 'job/cartwheel-drain', '--for=condition=Complete', '--timeout=300s');
      await upgrade(...withNodes(3));
      await ready(storage);
      await settledRing(3, signal);
      withThree = await revision();
    },
  ],
  [
    'three become four, on the volume of one that had left',
    async (signal) => {
      await upgrade(...withNodes(4));
      await ready(storage);
      await settledRing(4, signal);
    },
  ],
  [
    'helm rollback makes four three, and one leaves before its pod goes',
    async (signal) => {
      await helm('rollback', withThree, '--timeout', '5m');
      await settledRing(3, signal);
      await retried(async () => assert.equal((await pods('storage')).length, 3), signal);
    },
  ],
  [
    'everything is upgraded, one after the other',
    async (signal) => {
      await placeSlowDisk();
      await upgrade(...changed);
      await allReady();
      await settledRing(3, signal);
    },
  ],
  [
    'an upgrade that storage nodes refuse stops at one pod, and helm rollback takes it back',
    async (signal) => {
      const good = await revision();
      const uids = () =>
        kubectl('get', 'pods', 'cartwheel-storage-0', 'cartwheel-storage-1', '-o', 'jsonpath={.items[*].metadata.uid}');
      const others = await uids();
      await upgrade(...changed, '--set', 'storage.config.buffer-records=0');
      try {
        await retried(async () => {
          const ended = 'jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}';
          assert.equal(await kubectl('get', 'pod', 'cartwheel-storage-2', '-o', ended), '2');
        }, signal);
        assert.equal(await uids(), others);
      } finally {
        await helm('rollback', good, '--timeout', '5m');
      }
      await ready(storage);
      await settledRing(3, signal);
      assert.equal(await uids(), others);
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
      await ready(storage);
    },
  ],
  [
    'all pods are killed at once',
    async () => {
      await kubectl('delete', 'pods', '--all', '--grace-period=0', '--force');
      await pause(1_000);
      await allReady();
    },
    // Nobody is there meanwhile.
    300_000,
  ],
];

for (const [name, work, patience] of events) {
  test(`nothing fails and nothing is lost while ${name}`, { skip, timeout: hangMs }, async (t) => {
    await underLoad(t, () => work(t.signal), patience);
  });
}

async function firing(alert: string, labels = ''): Promise<boolean> {
  return (await prometheus.ask(`ALERTS{alertname="${alert}",alertstate="firing"${labels}}`)).length > 0;
}

test('a disk that syncs slowly fires the alert of slow disks, for its pod, and no operation fails', {
  skip: withoutPrometheus,
  timeout: hangMs,
}, async (t) => {
  const pod = 'cartwheel-storage-2';
  const isLoaded = await run('kubectl', [
    '-n',
    namespace,
    'exec',
    pod,
    '--',
    'grep',
    '-q',
    'slow-disk',
    '/proc/1/maps',
  ]);
  if (isLoaded.code !== 0) withoutSlowDisk ??= 'the image cannot load what this machine compiles';
  if (withoutSlowDisk !== undefined) {
    t.skip(withoutSlowDisk);
    return;
  }
  const isFiring = () => firing('CartwheelDiskSlow', `,pod="${pod}"`);
  const syncsTake = (ms: number) => writeInto(pod, slowDisk.control, Readable.from([`${ms} 0\n`]));
  await underLoad(t, async () => {
    await until('the alert is silent', async () => !(await isFiring()), 1_000);
    await syncsTake(400);
    await until('the alert fires', isFiring, 1_000);
    await syncsTake(0);
    await until('the alert is silent again', async () => !(await isFiring()), 1_000);
  });
});

/** Called with `stop` or `start`, and the name of a Kubernetes node to be taken off the network, or brought back. */
const cutNode = process.env.CARTWHEEL_CUT_NODE;

test('nothing fails and nothing is lost while a Kubernetes node, all of its zone, is cut off for a minute', {
  skip: withoutPrometheus || (cutNode === undefined ? 'it needs CARTWHEEL_CUT_NODE' : false),
  timeout: hangMs,
}, async (t) => {
  const hosts = new Map<string, string>();
  for (const pod of await pods('storage')) hosts.set(pod, await hostOf(pod.replace('pod/', '')));
  assert.equal(new Set(hosts.values()).size, hosts.size, 'two storage pods are on one Kubernetes node');
  const cut = [...hosts.values()].find((host) => host !== watchingFrom);
  const [pod = ''] = [...hosts].find(([, host]) => host !== cut) ?? [];
  const isFiring = () => firing('CartwheelRedundancyLost');
  await until('the alert is silent', async () => !(await isFiring()), 1_000);
  await underLoad(t, async () => {
    await done('sh', '-c', `${cutNode} stop ${cut}`);
    try {
      const minute = pause(60_000);
      await kubectl('wait', `node/${cut}`, '--for=condition=Ready=Unknown', '--timeout=60s');
      await everythingWorks(pod.replace('pod/', ''), t.signal);
      await until('the alert fires', isFiring, 1_000);
      for (const other of ['CartwheelLastCopy', 'CartwheelRoutersMissing', 'CartwheelRingConflict']) {
        assert.equal(await firing(other), false, other);
      }
      await minute;
    } finally {
      await done('sh', '-c', `${cutNode} start ${cut}`);
    }
    await kubectl('wait', `node/${cut}`, '--for=condition=Ready=True', '--timeout=120s');
    await settledRing(3, t.signal);
    await until('the alert is silent again', async () => !(await isFiring()), 1_000);
  });
});

/** What people do with a cluster, from a pod that is there. */
async function everythingWorks(pod: string, signal: AbortSignal): Promise<void> {
  const say = (...args: string[]) => retried(() => cartwheel(pod, '--endpoint', 'cartwheel:7400', ...args), signal);
  await helm('test');
  await say('put', 'cart-of-a-zone', 'pear');
  assert.match(await say('get', 'cart-of-a-zone'), /1\. pear/);
  await say('delete', 'cart-of-a-zone');
  await say('namespace', 'create', 'made-without-a-zone');
  assert.match(await say('namespace', 'list'), /made-without-a-zone/);
  await retried(() => claimant(pod), signal);
}

test('fewer nodes than replicas are refused, with why, and nothing changes', { skip, timeout: hangMs }, async () => {
  const before = await spec();
  const { code, stderr } = await upgradeTried(...withNodes(2));
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

/** Everything that an upgrade would restart. */
const uidsOf = () =>
  kubectl('get', 'pods', '-l', 'app.kubernetes.io/component=storage', '-o', 'jsonpath={.items[*].metadata.uid}');

test('volumes of another size are refused, with where to read how they grow; what is read there restarts nothing', {
  skip,
  timeout: hangMs,
}, async (t) => {
  const before = [await spec(), await uidsOf()];
  const larger = [...changed, '--set', 'storage.persistence.size=2Gi'];
  const { code, stderr } = await upgradeTried(...larger);
  assert.notEqual(code, 0);
  assert.match(stderr, /storage\.persistence\.size is 2Gi, and cartwheel-storage makes volumes of 1Gi.*volumes\.md/);
  assert.deepEqual([await spec(), await uidsOf()], before);
  await underLoad(t, async () => {
    await kubectl('delete', storage, '--cascade=orphan');
    await upgrade(...larger);
    await ready(storage);
  });
  assert.equal(await uidsOf(), before[1]);
  const made = 'jsonpath={.spec.volumeClaimTemplates[0].spec.resources.requests.storage}';
  assert.equal(await kubectl('get', storage, '-o', made), '2Gi');
});

/** Of any kind, that a release makes. */
const kinds = ['pods', 'jobs', 'services', 'statefulsets', 'deployments', 'pdb', 'leases', 'networkpolicies', 'roles'];
const ofRelease = ['-l', `app.kubernetes.io/instance=${release}`, '-o', 'name'];
const ofCluster = 'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings';

test('helm uninstall leaves the volumes, and nothing else', { skip, timeout: hangMs }, async ({ signal }) => {
  await client.put('kept', 'on the volumes');
  const volumes = () => kubectl('get', 'pvc', '-o', 'name');
  const before = await volumes();
  await helm('uninstall', '--wait');
  await retried(async () => {
    const left = [...kinds, 'rolebindings', 'serviceaccounts', 'configmaps'].join();
    assert.equal((await kubectl('get', left, ...ofRelease)).trim(), '');
    assert.equal((await done('kubectl', 'get', ofCluster, ...ofRelease)).trim(), '');
  }, signal);
  assert.equal(await volumes(), before);
});

test('installed again on the volumes that were left, everything is there, and the guard knows the new release', {
  skip,
  timeout: hangMs,
}, async ({ signal }) => {
  await install();
  await allReady();
  await settledRing(3, signal);
  const { siblings } = await retried(() => client.get('kept'), signal);
  assert.deepEqual(
    siblings.map(({ value }) => value.toString()),
    ['on the volumes'],
  );
  // An API server may go by what it knew of a parameter before (kubernetes#130887). Nobody writes this one meanwhile.
  await kubectl('scale', membership, '--replicas=0');
  await kubectl('wait', 'pods', '-l', 'app.kubernetes.io/component=membership', '--for=delete', '--timeout=120s');
  const toTwo = () => run('kubectl', ['-n', namespace, 'scale', storage, '--replicas=2', '--dry-run=server']);
  for (const [fewest, answer] of [
    ['5', /nodes in the ring up to pod 4/],
    ['2', /scaled/],
  ] as const) {
    await kubectl('annotate', '--overwrite', 'serviceaccount/cartwheel-scale', `cartwheel/drained-to=${fewest}`);
    await retried(async () => {
      const { stdout, stderr } = await toTwo();
      assert.match(stdout + stderr, answer);
    }, signal);
  }
});
