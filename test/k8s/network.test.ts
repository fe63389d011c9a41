/**
 * Who may talk to whom by the NetworkPolicies of the chart, worked out as Kubernetes defines them: nothing is limited for a pod
 * that no policy selects; for one that is, something has to allow it, at both ends.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Manifest, manifests } from './manifests.ts';
import { isThere } from './tools.ts';

const skip = (await isThere('helm')) ? false : 'there is no helm';
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cartwheel-network-'));
});
after(() => rm(directory, { recursive: true, force: true }));

type Labels = Readonly<Record<string, string>>;
interface End {
  readonly namespace: string;
  readonly labels: Labels;
}

const ours = (component: string): End => ({
  namespace: 'default',
  labels: {
    'app.kubernetes.io/name': 'cartwheel',
    'app.kubernetes.io/instance': 'test',
    'app.kubernetes.io/component': component,
  },
});
const other = (namespace: string, labels: Labels = {}): End => ({ namespace, labels });
const dns = other('kube-system', { 'k8s-app': 'kube-dns' });
const internet = other('elsewhere');

const has = (labels: Labels, selector: { matchLabels?: Labels } = {}) =>
  Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);

function isPeer(end: End, { podSelector, namespaceSelector, ipBlock }: Manifest['spec']): boolean {
  if (ipBlock !== undefined) return false;
  const namespace =
    namespaceSelector === undefined
      ? end.namespace === 'default'
      : has({ 'kubernetes.io/metadata.name': end.namespace }, namespaceSelector);
  return namespace && has(end.labels, podSelector);
}

/** As the client library calls its fields. */
interface Rule {
  readonly _from?: readonly Manifest['spec'][];
  readonly to?: readonly Manifest['spec'][];
  readonly ports?: readonly { readonly protocol?: string; readonly port: number }[];
}

function allowed(all: readonly Manifest[], from: End, to: End, port: number, protocol = 'TCP'): boolean {
  const policies = all.filter(({ kind }) => kind === 'NetworkPolicy');
  const at = (end: End, type: 'Ingress' | 'Egress', peer: End) => {
    const selecting = policies.filter(
      ({ spec }) => end.namespace === 'default' && spec.policyTypes.includes(type) && has(end.labels, spec.podSelector),
    );
    const rules: Rule[] = selecting.flatMap(({ spec }) => spec[type.toLowerCase()] ?? []);
    return (
      selecting.length === 0 ||
      rules.some(({ _from: sources, to: targets, ports }) => {
        const peers = type === 'Ingress' ? sources : targets;
        return (
          (peers === undefined || peers.some((each) => isPeer(peer, each))) &&
          (ports === undefined || ports.some((each) => each.port === port && (each.protocol ?? 'TCP') === protocol))
        );
      })
    );
  };
  return at(from, 'Egress', to) && at(to, 'Ingress', from);
}

const enabled = ['--set', 'networkPolicy.enabled=true'];
const [storage, membership, router, drain, helmTest] = ['storage', 'membership', 'router', 'drain', 'test'].map(
  ours,
) as [End, End, End, End, End];
const client = other('shop', { app: 'checkout' });
const prometheus = other('monitoring', { app: 'prometheus' });

/** What each process needs to do its work, by whom and where to. */
const needed: readonly (readonly [what: string, from: End, to: End, port: number])[] = [
  ['gossip of a storage node with membership', storage, membership, 7441],
  ['gossip of membership with a storage node', membership, storage, 7411],
  ['replication, hints, exchanges and transfers', storage, storage, 7411],
  ['gossip of membership processes', membership, membership, 7441],
  ['operations of clients', client, router, 7400],
  ['operations of routers', router, storage, 7411],
  ['the ring of routers', router, membership, 7441],
  ['the command line in a storage pod', storage, router, 7400],
  ['the command line, that asks the claimant', storage, membership, 7441],
  ['helm test', helmTest, router, 7400],
  ['the Job before an upgrade asks the claimant', drain, membership, 7441],
  ['the Job before an upgrade asks all nodes', drain, storage, 7411],
  ['the zone of a Kubernetes node', storage, internet, 6443],
  ['the Lease of membership', membership, internet, 443],
  ['the ConfigMap of the Job before an upgrade', drain, internet, 6443],
  ['metrics of storage nodes', prometheus, storage, 7511],
  ['metrics of membership', prometheus, membership, 7541],
  ['metrics of routers', prometheus, router, 7500],
];

test('the network policies let everything through that processes need', { skip }, async () => {
  const all = await manifests(...enabled);
  for (const [what, from, to, port] of needed) assert.ok(allowed(all, from, to, port), what);
  for (const from of [storage, membership, router, drain, helmTest]) {
    for (const protocol of ['UDP', 'TCP']) assert.ok(allowed(all, from, dns, 53, protocol), `DNS by ${protocol}`);
  }
});

test('the network policies let nothing else through, in or out', { skip }, async () => {
  const all = await manifests(...enabled);
  for (const [what, from, to, port] of [
    ['a stranger to storage nodes', client, storage, 7411],
    ['a stranger to membership', client, membership, 7441],
    ['a stranger of the same namespace', other('default', { app: 'cron' }), storage, 7411],
    [
      'another release',
      { ...storage, labels: { ...storage.labels, 'app.kubernetes.io/instance': 'b' } },
      storage,
      7411,
    ],
    ['a storage node to the internet', storage, internet, 80],
    ['a router to the API server', router, internet, 6443],
    ['helm test to the API server', helmTest, internet, 443],
    ['a collector of traces, where there is none', storage, internet, 4318],
  ] as const) {
    assert.ok(!allowed(all, from, to, port), what);
  }
  assert.ok(allowed(await manifests(), client, storage, 7411), 'without policies the network is open');
});

test('storage nodes reach the API server only where they read the zone from it', { skip }, async () => {
  assert.ok(!allowed(await manifests(...enabled, '--set', 'storage.zone=rack-1'), storage, internet, 6443));
});

test('the collector of traces is reached at its port', { skip }, async () => {
  for (const [endpoint, port] of [
    ['http://otel-collector.observability:4318', 4318],
    ['http://otel-collector.observability/v1', 80],
    ['https://traces.example.org', 443],
  ] as const) {
    const all = await manifests(...enabled, '--set', `tracing.endpoint=${endpoint}`);
    assert.ok(allowed(all, storage, internet, port) && allowed(all, router, internet, port), endpoint);
    if (port !== 443) assert.ok(!allowed(all, membership, internet, port), endpoint);
  }
});

test('who may connect is narrowed, or widened, by values', { skip }, async () => {
  const file = join(directory, 'peers.yaml');
  const shop = '{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: shop } } }';
  const monitoring =
    '{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: monitoring } }, podSelector: { matchLabels: { app: prometheus } } }';
  await writeFile(
    file,
    `networkPolicy:
  enabled: true
  clients: [${shop}]
  directClients: [${shop}]
  metrics: [${monitoring}]
  egress: { dnsPorts: [5353], apiServerPorts: [8443], others: [{ ports: [{ port: 9999 }] }] }
`,
  );
  const all = await manifests('--values', file);
  const stranger = other('elsewhere');
  assert.ok(allowed(all, client, router, 7400) && !allowed(all, stranger, router, 7400));
  assert.ok(allowed(all, client, storage, 7411) && !allowed(all, stranger, storage, 7411));
  assert.ok(!allowed(all, client, membership, 7441));
  assert.ok(allowed(all, prometheus, storage, 7511) && !allowed(all, stranger, storage, 7511));
  assert.ok(!allowed(all, other('monitoring', { app: 'grafana' }), storage, 7511));
  assert.ok(allowed(all, helmTest, router, 7400), 'the own pods may in any case');
  assert.ok(allowed(all, router, dns, 5353, 'UDP') && !allowed(all, router, dns, 53, 'UDP'));
  assert.ok(allowed(all, membership, internet, 8443) && !allowed(all, membership, internet, 6443));
  assert.ok(allowed(all, storage, internet, 9999));
  const open = await manifests(...enabled, '--set', 'networkPolicy.egress.enabled=false');
  assert.ok(allowed(open, storage, internet, 80) && !allowed(open, client, storage, 7411));
});
