/**
 * Who watches the cluster from inside, in a namespace of its own on one Kubernetes node: a pod whose client writes and reads
 * (load.ts), and a Prometheus that scrapes every process of the chart.
 */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { until } from '../e2e/support.ts';
import type { LoadReport } from './load.ts';
import { chart, done, fed, rawApi } from './tools.ts';

export interface WatchersOptions {
  /** Of the watchers; made, and removed by `close`. */
  readonly namespace: string;
  /** Of the chart, and its release. */
  readonly watched: string;
  readonly release: string;
  readonly image: string;
  /** The Kubernetes node they are on. */
  readonly host: string;
}

export interface Load {
  /** Ends it; resolves once everything that was acknowledged has been read again. */
  stop(): Promise<LoadReport>;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

export interface Prometheus {
  /** Through the API server, as `kubectl get --raw` does. */
  ask(query: string): Promise<readonly Sample[]>;
  /** Waits: a rate needs two scrapes, and some things need to have happened. */
  hasData(what: string, query: string): Promise<void>;
  /** Names of alerts and recorded series that it evaluates, and what went wrong with them. */
  rules(): Promise<{ readonly names: readonly string[]; readonly wrong: readonly string[] }>;
}

const program = fileURLToPath(new URL('load.ts', import.meta.url));
const client = 'client';
const prometheus = 'prometheus';

export async function createWatchers({ namespace, watched, release, image, host }: WatchersOptions) {
  const kubectl = (...args: string[]) => done('kubectl', '-n', namespace, ...args);
  const apply = (...objects: object[]) =>
    fed(
      Readable.from([JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })]),
      'kubectl',
      'apply',
      '-f',
      '-',
    );

  function pod(name: string, container: object, volume: object) {
    return {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': host },
        terminationGracePeriodSeconds: 1,
        // Without a share of the processor it would see how busy the machine is, and nothing else.
        containers: [{ name, image, imagePullPolicy: 'Never', resources: { requests: { cpu: '250m' } }, ...container }],
        volumes: [volume],
      },
    };
  }

  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  await kubectl('create', 'configmap', client, `--from-file=${program}`);
  // Beside the client of the image, as it is beside it here.
  const mount = { name: 'load', mountPath: '/app/test/k8s/load.ts', subPath: 'load.ts' };
  await apply(
    pod(
      client,
      { command: ['sleep', 'infinity'], volumeMounts: [mount] },
      { name: 'load', configMap: { name: client } },
    ),
  );
  await kubectl('wait', `pod/${client}`, '--for=condition=Ready', '--timeout=120s');
  const apiServer = await rawApi();

  return {
    /** Resolves once every worker has written and read. Operations that fail for longer than `patienceMs` have failed. */
    async load(name: string, patienceMs: number): Promise<Load> {
      const command = ['node', '/app/test/k8s/load.ts', `${release}.${watched}.svc:7400`, name, `${patienceMs}`];
      const child = spawn('kubectl', ['-n', namespace, 'exec', '-i', client, '--', ...command]);
      child.stdin.on('error', () => {}); // it has ended, which `said` reports
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const problem = text(child.stderr);
      const said = async (): Promise<string> => {
        const { value, done: over } = await lines.next();
        if (over === true) throw new Error(`the load ended by itself: ${await problem}`);
        return value;
      };
      await said(); // that it has begun
      return {
        async stop() {
          child.stdin.end();
          return JSON.parse(await said());
        },
      };
    },

    /**
     * With the rules of the chart, but that a pending alert waits for seconds in place of minutes, and that rates are those of
     * 20 s in place of 5 min. Debian's Prometheus knows nothing of Kubernetes, so it finds the processes by DNS.
     */
    async prometheus(binary: string): Promise<Prometheus> {
      const names = ['storage', 'membership', 'router'].map((of) => `_admin._tcp.${release}-${of}.${watched}.svc`);
      const label = (name: string, replacement: string) => ({ target_label: name, replacement });
      const settings = {
        global: { scrape_interval: '2s', evaluation_interval: '2s' },
        rule_files: ['/etc/prometheus/rules.yaml'],
        scrape_configs: [
          {
            job_name: release,
            dns_sd_configs: [{ names, type: 'SRV', refresh_interval: '2s' }],
            // As the operator does by the monitor of the chart.
            relabel_configs: [
              label('namespace', watched),
              label('release', release),
              { source_labels: ['__address__'], regex: '([^.]+)\\..*', target_label: 'pod' },
            ],
          },
        ],
      };
      const made = ['--kube-version', '1.30.0', '--set', 'prometheusRule.enabled=true'];
      const rule = await done(
        'helm',
        'template',
        release,
        chart,
        ...made,
        '--show-only',
        'templates/prometheus-rule.yaml',
      );
      const rules = rule
        .slice(rule.indexOf('spec:\n') + 'spec:\n'.length)
        .replaceAll(/^( +interval:) .*$/gm, '$1 2s')
        .replaceAll(/^( +for: \d+)m$/gm, '$1s')
        .replaceAll('[5m]', '[20s]');
      const files = { 'prometheus.yaml': JSON.stringify(settings), 'rules.yaml': rules };
      await apply(
        { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: prometheus, namespace }, data: files },
        pod(
          prometheus,
          {
            command: [
              'sh',
              '-c',
              'until test -x /tmp/prometheus; do sleep 0.2; done; cd /tmp; exec ./prometheus $FLAGS',
            ],
            env: [
              { name: 'FLAGS', value: '--config.file=/etc/prometheus/prometheus.yaml --storage.tsdb.path=/tmp/data' },
            ],
            volumeMounts: [{ name: 'settings', mountPath: '/etc/prometheus' }],
          },
          { name: 'settings', configMap: { name: prometheus } },
        ),
      );
      await kubectl('wait', `pod/${prometheus}`, '--for=condition=Ready', '--timeout=120s');
      const copy = 'cat >/tmp/copy && chmod +x /tmp/copy && mv /tmp/copy /tmp/prometheus';
      await fed(createReadStream(binary), 'kubectl', '-n', namespace, 'exec', '-i', prometheus, '--', 'sh', '-c', copy);

      const api = `/api/v1/namespaces/${namespace}/pods/${prometheus}:9090/proxy`;
      const raw = (path: string) => apiServer.get(`${api}${path}`);
      const isUp = () =>
        raw('/-/ready').then(
          () => true,
          () => false,
        );
      await until('prometheus is ready', isUp, 500);

      const ask = async (query: string): Promise<readonly Sample[]> =>
        JSON.parse(await raw(`/api/v1/query?query=${encodeURIComponent(query)}`)).data.result;
      return {
        ask,
        hasData: (what, query) =>
          until(`${what}: ${query}`, async () => (await ask(query)).some(({ value: [, n] }) => n !== 'NaN'), 500),
        async rules() {
          const { groups } = JSON.parse(await raw('/api/v1/rules')).data as { groups: { rules: Rule[] }[] };
          const all = groups.flatMap(({ rules: each }) => each);
          return {
            names: all.map(({ name }) => name),
            wrong: all.flatMap(({ name, lastError = '' }) => (lastError === '' ? [] : [`${name}: ${lastError}`])),
          };
        },
      };
    },

    async close(): Promise<void> {
      apiServer.stop();
      await done('kubectl', 'delete', 'namespace', namespace, '--ignore-not-found', '--wait=false');
    },
  };
}

export type Watchers = Awaited<ReturnType<typeof createWatchers>>;

interface Rule {
  readonly name: string;
  readonly lastError?: string;
}
