/** Every panel's query, and every recorded series, over a real cluster that a real Prometheus scrapes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { annotationQueries, panelQueries } from '../dashboards/queries.ts';
import { isThere } from '../k8s/tools.ts';
import { type Disks, prepareDisks } from '../nemesis/disks.ts';
import { rulesFile } from '../rules/known-series.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { freePorts } from './ports.ts';
import { hangMs, pause, settled, until, withClient } from './support.ts';

const skip = (await isThere('prometheus')) ? false : 'there is no prometheus (Debian: apt-get install prometheus)';

let cluster: Cluster;
let disks: Disks;
let directory: string;
let stopPrometheus = async () => {};
let ask: (query: string) => Promise<readonly Sample[]>;
let stopLoad = async () => {};

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [at: number, value: string];
}

before(async () => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), 'cartwheel-prometheus-'));
  disks = await prepareDisks(join(directory, 'disks'));
  cluster = await startCluster({
    flags: { node: ['--exchange-every', '5s'] },
    node: (name) => ({ environment: disks.environmentOf(name) }),
  });
  await settled(cluster);
  await startPrometheus();
  startLoad();
});
after(async () => {
  await stopLoad().catch(() => {}); // a test has said so
  await stopPrometheus();
  await cluster?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

/** The rules as they are, but for how often. */
async function startPrometheus(): Promise<void> {
  const rules = readFileSync(rulesFile, 'utf8').replaceAll(/^( +interval:) .*$/gm, '$1 1s');
  writeFileSync(join(directory, 'rules.yaml'), rules);
  const labels = { namespace: 'shop', release: 'carts' };
  const targets = cluster.processes.map(({ admin }) => admin);
  const scrape = { job_name: 'cartwheel', static_configs: [{ targets, labels }] };
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yaml'],
    scrape_configs: [scrape],
  };
  writeFileSync(join(directory, 'prometheus.yaml'), JSON.stringify(config));
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(directory, 'prometheus.yaml')}`,
      ...[`--storage.tsdb.path=${join(directory, 'data')}`, `--web.listen-address=${address}`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  stopPrometheus = async () => {
    child.kill();
    await ended;
  };
  ask = async (query) => {
    const answer = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { status, error, data } = (await answer.json()) as {
      status: string;
      error?: string;
      data: { result: Sample[] };
    };
    assert.equal(status, 'success', `${query}: ${error}`);
    return data.result;
  };
  await until('prometheus answers', async () => {
    assert.equal(child.exitCode, null, said);
    return fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  });
}

/** Clients of the router and of a storage node, until it is stopped. */
function startLoad(): void {
  let stopped = false;
  const { router, nodes } = cluster;
  const clients = [router, ...nodes].map(({ address }) =>
    withClient({ endpoints: [address] }, async (client) => {
      for (let i = 0; !stopped; i++) {
        // Old ones, which are in the cache, and new ones.
        const key = `key-${i % 2 === 0 ? i % 100 : i}`;
        const { context } = await client.get(key);
        const { context: written } = await client.put(key, `value ${i}`, { context });
        if (i % 10 === 0) await client.delete(key, written);
        await pause(10);
      }
    }),
  );
  const ended = Promise.all(clients).then(() => undefined);
  ended.catch(() => {}); // it is looked at when the load is stopped
  stopLoad = () => {
    stopped = true;
    return ended;
  };
}

/** Waits: a rate needs two scrapes, what is recorded needs those, and some things need to have happened. */
async function hasData(what: string, query: string): Promise<void> {
  let found: readonly Sample[] = [];
  await until(`${what}: ${query}`, async () => {
    found = await ask(query);
    return found.some(({ value: [, number] }) => number !== 'NaN');
  });
}

test('every panel of the dashboards has data', { timeout: 2 * hangMs, skip }, async () => {
  for (const { where, expr } of panelQueries('10s')) await hasData(where, expr);
  for (const { expr } of annotationQueries()) await ask(expr);
});

test('nodes can be chosen by the address that status has for them, and by zone', { skip }, async () => {
  const found = await ask('cartwheel_process_info{service="storage-node"}');
  assert.deepEqual(
    found
      .map(({ metric: { node, zone } }) => ({ node, zone }))
      .sort((a, b) => (String(a.zone) < String(b.zone) ? -1 : 1)),
    cluster.nodes.map(({ address }, i) => ({ node: address, zone: `zone-${i + 1}` })),
  );
});

test('everything that is recorded is there, and says that the objectives are met', {
  timeout: 2 * hangMs,
  skip,
}, async () => {
  const recorded = new Set(
    [...readFileSync(rulesFile, 'utf8').matchAll(/record: (\S+)/g)].map(([, name = '']) => name),
  );
  assert.ok(recorded.size > 8);
  for (const name of recorded) {
    for (const slo of ['availability', 'latency']) await hasData(name, `${name}{slo="${slo}"}`);
  }
  const all = await ask('cartwheel:slo_all:rate5m{slo="availability",namespace="shop",release="carts"}');
  assert.ok(Number(all[0]?.value[1]) > 0);
  assert.deepEqual(await ask('cartwheel:slo_bad:rate5m{slo="availability"} > 0'), []);
});

async function hasAlert(name: string, state: 'pending' | 'firing'): Promise<void> {
  const query = `ALERTS{alertname="${name}",alertstate="${state}"}`;
  await until(query, async () => (await ask(query)).length > 0);
}

test('disks that sync slowly: gets and puts are late, and the alerts of both are there', {
  timeout: 2 * hangMs,
  skip,
}, async (t) => {
  if (disks.obstacle !== undefined) {
    t.skip(disks.obstacle);
    return;
  }
  for (const { name } of cluster.nodes) disks.trouble(name, { syncDelayMs: 500 });
  await hasAlert('CartwheelDiskSlow', 'pending');
  await hasAlert('CartwheelLatency', 'firing');
  assert.deepEqual(await ask('ALERTS{alertname="CartwheelAvailability"}'), []);
  for (const { name } of cluster.nodes) disks.trouble(name, {});
});

test('a storage node that is killed makes partitions degraded, and its alert waits for its time', {
  timeout: 2 * hangMs,
  skip,
}, async () => {
  await stopLoad();
  await cluster.nodes[2]?.kill('SIGKILL');
  await hasAlert('CartwheelRedundancyLost', 'pending');
});
