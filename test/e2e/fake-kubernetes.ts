/**
 * As much of an API server as this project asks: objects that are read, and replaced as they were read. Over HTTP, with a
 * kubeconfig for the client that is used against a real one.
 */

import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

interface KubernetesObject {
  readonly metadata: { readonly resourceVersion?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export interface FakeKubernetes {
  /** A file for KUBECONFIG. */
  readonly kubeconfig: string;
  /** By path, without the first slash. */
  readonly objects: Map<string, KubernetesObject>;
  put(path: string, object: object): void;
  stop(): Promise<void>;
}

export const namespacePath = 'namespaces/test';
export const leasePath = (name: string) => `apis/coordination.k8s.io/v1/${namespacePath}/leases/${name}`;
export const configMapPath = (name: string) => `api/v1/${namespacePath}/configmaps/${name}`;
export const serviceAccountPath = (name: string) => `api/v1/${namespacePath}/serviceaccounts/${name}`;
export const statefulSetPath = (name: string) => `apis/apps/v1/${namespacePath}/statefulsets/${name}`;

export async function startFakeKubernetes(directory: string): Promise<FakeKubernetes> {
  const objects = new Map<string, KubernetesObject>();
  let version = 0;
  const put = (path: string, object: object) => {
    const { metadata, ...rest } = object as KubernetesObject;
    const name = path.slice(path.lastIndexOf('/') + 1);
    const uid = `00000000-0000-4000-8000-${name
      .padEnd(12, '0')
      .slice(0, 12)
      .replaceAll(/[^0-9a-f]/g, 'e')}`;
    objects.set(path, { ...rest, metadata: { name, uid, ...metadata, resourceVersion: String(++version) } });
  };
  const server = createServer((request, response) => void serve(request, response));

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').slice(1).replace(/\?.*$/, '');
    const before = objects.get(path);
    const say = (code: number, body: object) => {
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const refuse = (code: number, message: string) => say(code, { kind: 'Status', status: 'Failure', code, message });
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    if (before === undefined) return refuse(404, `${path} not found`);
    if (request.method === 'PUT') {
      const body = JSON.parse(Buffer.concat(parts).toString()) as KubernetesObject;
      if (body.metadata.resourceVersion !== before.metadata.resourceVersion) {
        return refuse(409, 'the object has been modified');
      }
      put(path, { ...body, metadata: { ...before.metadata, ...body.metadata } });
    } else if (request.method !== 'GET') return refuse(405, `${request.method} is not known here`);
    say(200, objects.get(path) as object);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'fake', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'nobody', user: { token: 'none' } }],
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'nobody', namespace: 'test' } }],
      'current-context': 'fake',
    }),
  );
  return {
    kubeconfig,
    objects,
    put,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
