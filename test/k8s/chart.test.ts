/** The chart without a cluster: what it makes, and what it refuses, by the path of the key. Needs helm. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { manifests, manifestsOf, podsOf } from './manifests.ts';
import { chart, done, isThere, run } from './tools.ts';

interface Port {
  readonly name: string;
}

/** What has metrics, by the names of what makes its pods. */
const processes = ['membership', 'router', 'storage'].map((of) => `test-cartwheel-${of}`);

const skip = (await isThere('helm')) ? false : 'there is no helm';
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cartwheel-chart-'));
});
after(() => rm(directory, { recursive: true, force: true }));

const template = (...args: string[]) => run('helm', ['template', 'test', chart, '--kube-version', '1.30.0', ...args]);

test('it passes helm lint --strict, with every values file of ci/', { skip }, async () => {
  await done('helm', 'lint', '--strict', chart);
  for (const file of await readdir(join(chart, 'ci'))) {
    await done('helm', 'lint', '--strict', chart, '--values', join(chart, 'ci', file));
    const { code, stdout, stderr } = await template('--values', join(chart, 'ci', file));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /kind: StatefulSet/);
  }
});

test('every container runs without rights, on a root file system that it cannot write', { skip }, async () => {
  const { stdout } = await template('--values', join(chart, 'ci', 'strict.yaml'));
  const count = (pattern: RegExp) => stdout.match(pattern)?.length ?? 0;
  const containers = count(/imagePullPolicy:/g);
  assert.equal(containers, 6);
  assert.equal(count(/readOnlyRootFilesystem: true/g), containers);
  assert.equal(count(/allowPrivilegeEscalation: false/g), containers);
  const pods = count(/restartPolicy: Never/g) + count(/^kind: (StatefulSet|Deployment)$/gm);
  const accounts = count(/kind: ServiceAccount\n/g);
  assert.equal(count(/runAsNonRoot: true/g), pods);
  assert.equal(count(/automountServiceAccountToken: false/g), accounts + pods);
});

test('whole numbers of a values file are written out', { skip }, async () => {
  const file = join(directory, 'numbers.yaml');
  await writeFile(file, 'storage: { config: { requests-max: 12000000, exchange-every: 5m } }\n');
  const { stdout } = await template('--values', file);
  assert.match(stdout, /"--exchange-every=5m"\n *- "--requests-max=12000000"/);
});

test('the rules of the chart are those that promtool tests, with the values in their place', { skip }, async () => {
  const rules = await readFile(join(chart, 'rules.yaml'), 'utf8');
  const made = async (...args: string[]) => {
    const enabled = ['--set', 'prometheusRule.enabled=true', '--show-only', 'templates/prometheus-rule.yaml'];
    const { stdout } = await template(...enabled, ...args);
    return stdout
      .slice(stdout.indexOf('spec:\n') + 'spec:\n'.length)
      .replaceAll(/^ {2}/gm, '')
      .trim();
  };
  assert.equal(await made(), rules.trim());
  const other = await made(
    ...['--set', 'prometheusRule.latencyMs=96', '--set', 'prometheusRule.runbooks=https://example.org/r'],
  );
  const wanted = rules.replaceAll('le="0.3"', 'le="0.096"');
  assert.equal(other, wanted.replaceAll('runbook_url: docs/runbooks/', 'runbook_url: https://example.org/r/').trim());
  assert.doesNotMatch((await template()).stdout, /kind: PrometheusRule/);
});

test('the dashboards are in the ConfigMap as they are in the chart, with the values in their place', {
  skip,
}, async () => {
  const { stdout } = await template('--set', 'dashboards.enabled=true', '--show-only', 'templates/dashboards.yaml');
  assert.match(stdout, /grafana_dashboard: "1"/);
  for (const file of await readdir(join(chart, 'dashboards'))) {
    const json = await readFile(join(chart, 'dashboards', file), 'utf8');
    assert.ok(stdout.includes(`  cartwheel-${file}: |\n${json.trim().replaceAll(/^/gm, '    ')}\n`), file);
  }
  const { stdout: other } = await template(
    ...['--set', 'dashboards.enabled=true', '--show-only', 'templates/dashboards.yaml'],
    ...['--set', 'prometheusRule.latencyMs=96', '--set', 'prometheusRule.runbooks=https://example.org/r'],
  );
  const wanted = stdout
    .replaceAll('"value": 0.3,', '"value": 0.096,')
    .replaceAll('"url": "docs/runbooks/', '"url": "https://example.org/r/');
  assert.notEqual(wanted, stdout);
  assert.equal(other, wanted);
  assert.doesNotMatch((await template()).stdout, /-dashboards/);
});

test('what is set for the pods of a component is set for all, those of hooks too', { skip }, async () => {
  const pod = `{ podLabels: { mark: label }, podAnnotations: { mark: note }, extraEnv: [{ name: MARK, value: x }],
    nodeSelector: { mark: node }, tolerations: [{ key: mark, operator: Exists }], priorityClassName: mark,
    affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [
      { weight: 77, podAffinityTerm: { topologyKey: mark } }] } } }`;
  const file = join(directory, 'pods.yaml');
  await writeFile(file, ['storage', 'router', 'membership'].map((of) => `${of}: ${pod}\n`).join(''));
  const { stdout } = await template('--values', file);
  const kinds = /^kind: (StatefulSet|Deployment|Job|Pod)$/m;
  const found = stdout.split('\n---\n').filter((text) => kinds.test(text));
  assert.deepEqual(found.map((text) => kinds.exec(text)?.[1]).sort(), [
    'Deployment',
    'Job',
    'Pod',
    'StatefulSet',
    'StatefulSet',
  ]);
  for (const text of found) {
    for (const mark of [
      'mark: label',
      'mark: note',
      'name: MARK',
      'mark: node',
      'key: mark',
      'priorityClassName: mark',
      'weight: 77',
    ]) {
      assert.ok(text.includes(mark), `${mark}: ${text}`);
    }
  }
});

test('evictions take one pod of each kind at a time, and old connections go after the time that is set', {
  skip,
}, async () => {
  const { stdout } = await template('--set', 'router.connectionAge=90s');
  const budgets = stdout.split('\n---\n').filter((text) => /^kind: PodDisruptionBudget$/m.test(text));
  assert.deepEqual(
    budgets.map((text) => [/^ {2}name: (.*)$/m.exec(text)?.[1], /maxUnavailable: (.*)/.exec(text)?.[1]]).sort(),
    ['membership', 'router', 'storage'].map((of) => [`test-cartwheel-${of}`, '1']),
  );
  assert.match(stdout, /- --connection-age=90s\n/);
});

/** Every right that is asked for, as `resources: verbs [names]`. */
test('each service account may do what it has to, and no more', { skip }, async () => {
  const { stdout } = await template();
  const roles = stdout.split('\n---\n').filter((text) => /^kind: (Cluster)?Role$/m.test(text));
  const rights = roles.flatMap((role) => {
    const of = /^ {2}name: (.*)$/m.exec(role)?.[1];
    const rules = role.slice(role.indexOf('\nrules:')).replaceAll(/[{}",]/g, ' ');
    const words = (key: string) =>
      [...rules.matchAll(new RegExp(`${key}: \\[([^\\]]*)\\]`, 'g'))].map(([, list = '']) => list.trim());
    const names = words('resourceNames');
    return words('resources').map((resources, i) => `${of}: ${words('verbs')[i]} ${resources} ${names[i] ?? '*'}`);
  });
  assert.deepEqual(rights.map((right) => right.replaceAll(/ +/g, ' ')).sort(), [
    'default.test-cartwheel-zone: get nodes *',
    'test-cartwheel-drain: get statefulsets test-cartwheel-storage',
    'test-cartwheel-drain: get update serviceaccounts test-cartwheel-scale',
    'test-cartwheel-membership: get update configmaps test-cartwheel-goal',
    'test-cartwheel-membership: get update leases test-cartwheel-membership',
    'test-cartwheel-membership: get update serviceaccounts test-cartwheel-scale',
  ]);
  const without = (await template('--set', 'storage.zoneLabel=')).stdout;
  assert.doesNotMatch(without, /kind: ClusterRole|initContainers/);
});

const refused: readonly (readonly [path: RegExp, values: string])[] = [
  [/storage\.replicas is 2 and ring\.replicas is 3/, 'storage: { replicas: 2 }'],
  [/ring\.partitions is 1000; it must be a power of two/, 'ring: { partitions: 1000 }'],
  [/router\.autoscaling\.maxReplicas is 1/, 'router: { autoscaling: { enabled: true, maxReplicas: 1 } }'],
  [/image[/.']*.*repositry/s, 'image: { repositry: x }'],
  [/image[/.]pullPolicy/, 'image: { pullPolicy: Sometimes }'],
  [/storage[/.]replicas/, 'storage: { replicas: three }'],
  [/storage[/.]persistence[/.]size/, 'storage: { persistence: { size: plenty } }'],
  [/storage.*hostAntiAffinity/s, 'storage: { hostAntiAffinity: always }'],
  [/storage.*colour/s, 'storage: { colour: blue }'],
  [/storage[/.]config/, 'storage: { config: { Bad_Flag: 1 } }'],
  [/storage[/.]config/, 'storage: { config: { data: /elsewhere } }'],
  [/storage[/.]config.*no-such-flag/s, 'storage: { config: { no-such-flag: 1 } }'],
  [/storage[/.]config[/.]exchange-every/, 'storage: { config: { exchange-every: soon } }'],
  [/router[/.]config[/.]log-level/, 'router: { config: { log-level: chatty } }'],
  [/storage[/.]podDisruptionBudget/, 'storage: { podDisruptionBudget: { minAvailable: 1 } }'],
  [/storage[/.]terminationGracePeriodSeconds/, 'storage: { terminationGracePeriodSeconds: 0 }'],
  [/router[/.]replicas/, 'router: { replicas: 0 }'],
  [/router[/.]service[/.]type/, 'router: { service: { type: Public } }'],
  [/router[/.]service[/.]port/, 'router: { service: { port: 70000 } }'],
  [/membership[/.]replicas/, 'membership: { replicas: 0 }'],
  [/membership[/.]config/, 'membership: { config: { claimant: "true" } }'],
  [/storage[/.]joinAutomatically/, 'storage: { joinAutomatically: sometimes }'],
  [/storage[/.]drain[/.]stalledAfter/, 'storage: { drain: { stalledAfter: 5 } }'],
  [/storage[/.]persistence[/.]whenScaled/, 'storage: { persistence: { whenScaled: Keep } }'],
  [/storage[/.]zoneLabel/, 'storage: { zoneLabel: "a label" }'],
  [/scaleGuard[/.]enabled/, 'scaleGuard: { enabled: "yes" }'],
  [/networkPolicy[/.]enabled/, 'networkPolicy: { enabled: "yes" }'],
  [/storage[/.]config/, 'storage: { config: { trace-ratio: 1 } }'],
  [/tracing[/.]endpoint/, 'tracing: { endpoint: "collector:4318" }'],
  [/tracing[/.]ratio/, 'tracing: { endpoint: "http://collector:4318", ratio: 2 }'],
  [/monitor[/.]interval/, 'monitor: { interval: often }'],
  [/prometheusRule[/.]latencyMs/, 'prometheusRule: { latencyMs: 250 }'],
  [/prometheusRule[/.]runbooks/, 'prometheusRule: { runbooks: "https://example.org/runbooks/" }'],
  [/dashboards[/.]labels/, 'dashboards: { labels: { grafana_dashboard: 1 } }'],
  [/ring[/.]replicas/, 'ring: { replicas: 0 }'],
  [/storage[/.]podDisruptionBudget[/.]maxUnavailable/, 'storage: { podDisruptionBudget: { maxUnavailable: many } }'],
  [
    /membership[/.]podDisruptionBudget[/.]maxUnavailable/,
    'membership: { podDisruptionBudget: { maxUnavailable: -1 } }',
  ],
  [/router[/.]connectionAge/, 'router: { connectionAge: soon }'],
  [/router[/.]config/, 'router: { config: { connection-age: 1m } }'],
  [/router[/.]tolerations[/.]0/, 'router: { tolerations: [{ efect: NoSchedule }] }'],
  [/storage[/.]affinity/, 'storage: { affinity: { nodeAfinity: {} } }'],
  [/membership[/.]extraEnv[/.]0/, 'membership: { extraEnv: [{ name: A, valeu: b }] }'],
  [/storage[/.]topologySpreadConstraints[/.]0/, 'storage: { topologySpreadConstraints: [{ maxSkew: 1 }] }'],
  [/monitor[/.]kind/, 'monitor: { kind: Monitor }'],
  [/networkPolicy[/.]clients[/.]0/, 'networkPolicy: { clients: [{ podSelektor: {} }] }'],
  [/networkPolicy[/.]egress[/.]dnsPorts/, 'networkPolicy: { egress: { dnsPorts: [dns] } }'],
  [
    /storage\.podDisruptionBudget\.maxUnavailable is 3, 3 of 5 pods, and ring\.replicas is 3.*most is 2/,
    'storage: { replicas: 5, podDisruptionBudget: { maxUnavailable: 3 } }',
  ],
  [
    /storage\.podDisruptionBudget\.maxUnavailable is 41%, 3 of 5 pods/,
    'storage: { replicas: 5, podDisruptionBudget: { maxUnavailable: 41% } }',
  ],
  [
    /storage\.hostAntiAffinity is required, and storage\.affinity/,
    'storage: { hostAntiAffinity: required, affinity: { podAffinity: {} } }',
  ],
  [/sotrage/, 'sotrage: { replicas: 3 }'],
];

test('a share of pods that may be away is taken where it is less than the replicas of a key', { skip }, async () => {
  const { code, stderr } = await template(
    '--set',
    'storage.replicas=20,storage.podDisruptionBudget.maxUnavailable=10%',
  );
  assert.equal(code, 0, stderr);
});

test('a release whose Services could have no such name is refused, with why', { skip }, async () => {
  for (const name of ['1st', 'shop.eu']) {
    const { code, stderr } = await run('helm', ['template', name, chart, '--kube-version', '1.30.0']);
    assert.notEqual(code, 0);
    assert.match(stderr, /the release is called .*begins with a letter/);
  }
});

test('what the monitor selects has a port of its name, whatever kind it is', { skip }, async () => {
  for (const [kind, endpoints] of [
    ['PodMonitor', 'podMetricsEndpoints'],
    ['ServiceMonitor', 'endpoints'],
  ] as const) {
    const all = await manifests('--set', 'monitor.enabled=true', '--set', `monitor.kind=${kind}`);
    const [monitor, ...more] = all.filter((each) => each.kind === 'PodMonitor' || each.kind === 'ServiceMonitor');
    assert.ok(monitor?.kind === kind && more.length === 0);
    const [{ port, relabelings }] = monitor.spec[endpoints];
    assert.equal(relabelings[0].targetLabel, 'release');
    const selected = (labels: Readonly<Record<string, string>> = {}) =>
      Object.entries(monitor.spec.selector.matchLabels).every(([key, value]) => labels[key] === value);
    const pods = [...podsOf(all)].filter(([, { metadata }]) => selected(metadata.labels));
    const hasPort = pods.filter(([, { spec }]) => spec.containers[0].ports?.some((each: Port) => each.name === port));
    assert.deepEqual(hasPort.map(([name]) => name).sort(), processes);
    if (kind === 'PodMonitor') continue;
    // Each process is behind one Service that has the port.
    const services = all.filter((each) => each.kind === 'Service' && selected(each.metadata.labels));
    const behind = services.flatMap(({ spec }) =>
      spec.ports.some((each: Port) => each.name === port)
        ? [`test-cartwheel-${spec.selector['app.kubernetes.io/component']}`]
        : [],
    );
    assert.deepEqual(behind.sort(), processes);
  }
  assert.ok((await manifests()).every((each) => !each.kind.endsWith('Monitor')));
});

test('the rights of the Job before an upgrade stay where helm gives it up and it goes on', { skip }, async () => {
  const rights = (await manifests()).filter(
    ({ kind, metadata }) => metadata.name === 'test-cartwheel-drain' && kind !== 'Job',
  );
  assert.deepEqual(rights.map(({ kind }) => kind).sort(), ['Role', 'RoleBinding', 'ServiceAccount']);
  for (const { kind, metadata } of rights) assert.equal(metadata.annotations?.['helm.sh/hook'], undefined, kind);
});

test('a new version of the chart restarts nothing, where the image is the same one', { skip }, async () => {
  const other = join(directory, 'other');
  await cp(chart, other, { recursive: true });
  const file = join(other, 'Chart.yaml');
  const about = await readFile(file, 'utf8');
  await writeFile(
    file,
    about.replace(/^version: .*$/m, 'version: 9.8.7+build.1').replace(/^appVersion: .*$/m, 'appVersion: 9.9.9'),
  );
  const image = ['--set', 'image.tag=0.1.0'];
  const made = await manifestsOf(other, ...image);
  assert.deepEqual([...podsOf(made)], [...podsOf(await manifests(...image))]);
  for (const { kind, metadata } of made) {
    if (kind !== 'Pod') assert.equal(metadata.labels?.['helm.sh/chart'], 'cartwheel-9.8.7_build.1', kind);
  }
});

test('what is not of a namespace has a name that no other release gets', { skip }, async () => {
  const names = async (...args: string[]) => {
    const { stdout } = await run('helm', ['template', ...args, chart, '--kube-version', '1.30.0']);
    return [...stdout.matchAll(/^kind: ClusterRole\nmetadata:\n {2}name: (.*)$/gm)].map(([, name]) => name);
  };
  const one = await names('eu-cartwheel', '--namespace', 'shop');
  assert.equal(one.length, 1);
  assert.notDeepEqual(one, await names('cartwheel', '--namespace', 'shop-eu'));
});

for (const [path, values] of refused) {
  test(`refused, with the path of the key: ${values}`, { skip }, async () => {
    const file = join(directory, 'values.yaml');
    await writeFile(file, `${values}\n`);
    const { code, stderr } = await template('--values', file);
    assert.notEqual(code, 0);
    assert.match(stderr, path);
  });
}
