/** Processes that are given the data directory of another cluster, or of a node that runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { credentials } from '@grpc/grpc-js';
import { AdminServiceClient, type GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { freePorts } from './ports.ts';
import { hangMs, removeDirectory, temporaryDirectory } from './support.ts';

let ours: Cluster;
let theirs: Cluster;
let copies = '';
before(async () => {
  [ours, theirs] = await Promise.all([startCluster({ nodes: 1 }), startCluster({ nodes: 1 })]);
  copies = await temporaryDirectory();
});
after(async () => {
  await Promise.all([ours?.stop(), theirs?.stop()]);
  await removeDirectory(copies);
});

function statusOf(address: string): Promise<GetStatusResponse> {
  const client = new AdminServiceClient(address, credentials.createInsecure());
  return new Promise((resolve, reject) => {
    client.getStatus({}, (error, status) => {
      client.close();
      if (error === null) resolve(status);
      else reject(error);
    });
  });
}

const nodeOf = (cluster: Cluster) => cluster.nodes[0] as Cluster['nodes'][number];

/** Of a process on free ports that ends by itself. */
async function started(service: 'storage-node' | 'membership', data: string, seeds: string) {
  const [listen, admin] = await freePorts(2);
  const main = fileURLToPath(new URL(`../../services/${service}/main.ts`, import.meta.url));
  const flags = ['--listen', `127.0.0.1:${listen}`, '--admin', `127.0.0.1:${admin}`, '--data', data, '--seeds', seeds];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const late = setTimeout(() => child.kill('SIGKILL'), hangMs / 2);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(late);
  return { code, output };
}

/** Of one that still runs, it can only be read; of both there is a directory that nobody uses. */
function copyOf(cluster: Cluster, kind: 'node' | 'membership'): string {
  const { data } = kind === 'node' ? nodeOf(cluster) : cluster.membership;
  const copy = join(copies, `${kind}-${Math.random().toString(36).slice(2)}`);
  cpSync(join(data, 'data'), copy, { recursive: true });
  return copy;
}

for (const [service, kind] of [
  ['storage-node', 'node'],
  ['membership', 'membership'],
] as const) {
  test(`a ${service} refuses to start on the directory of another cluster than its seeds are of, and harms neither`, {
    timeout: hangMs,
  }, async () => {
    const [own, other] = [await statusOf(ours.membership.address), await statusOf(theirs.membership.address)];
    const data = copyOf(ours, kind);
    const { code, output } = await started(service, data, theirs.membership.address);
    assert.equal(code, 1, output);
    const seed = theirs.membership.address;
    const said = `data directory ${data} is of cluster ${own.clusterId}, and the seed ${seed} is of cluster ${other.clusterId}.`;
    assert.ok(output.includes(`${service} did not start: ${said} Start it with the seeds of its own cluster`), output);
    for (const [before, cluster] of [
      [own, ours],
      [other, theirs],
    ] as const) {
      const { clusterId, members } = await statusOf(cluster.membership.address);
      assert.equal(clusterId, before.clusterId);
      assert.deepEqual(members, before.members);
    }
  });
}

test('a second process on a copy of the directory of a node that runs refuses to start', {
  timeout: hangMs,
}, async () => {
  const { id, address } = await statusOf(nodeOf(ours).address);
  const { code, output } = await started('storage-node', copyOf(ours, 'node'), ours.membership.address);
  assert.equal(code, 1, output);
  assert.ok(
    output.includes(` is of node ${id}, which runs at ${address}: it is a copy of that node's directory`),
    output,
  );
});
