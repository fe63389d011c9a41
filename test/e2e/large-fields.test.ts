/** Fields that are short of all who mean well, as long as a message can be: refused, and nobody else notices. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import {
  KeyValueServiceClient,
  Reason,
  type Result,
  type SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { fromServiceError } from '../../services/platform/errors.ts';
import { get, put } from '../storage-node/requests.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { metricsPageOf } from './figures.ts';
import { hangMs, settled, withClient } from './support.ts';

let cluster: Cluster;
before(async () => {
  cluster = await startCluster();
  await settled(cluster);
});
after(() => cluster?.stop());

const nearly = 4 * 1024 * 1024 - 600;
const value = Buffer.alloc(1_024, 1);

test('a router ends no stream to a storage node for what one client sends', { timeout: hangMs }, async () => {
  const client = new KeyValueServiceClient(cluster.router.address, credentials.createInsecure());
  const outcome = (call: (done: (error: ServiceError | null) => void) => void) =>
    new Promise<string>((resolve) =>
      call((error) => resolve(error === null ? 'OK' : fromServiceError(error, 'router').reason)),
    );
  try {
    const requestId = put('key', 'value', { requestId: Buffer.alloc(nearly) }).put;
    assert.equal(await outcome((done) => void client.put(requestId, done)), 'REQUEST_ID_TOO_LONG');
    const dots = get('key', { dots: ['€'.repeat(Math.floor(nearly / 3))] }).get;
    assert.notEqual(await outcome((done) => void client.get(dots, done)), 'OK');
    // Among many others, so that they wait together for a frame to a storage node.
    const session = client.session();
    const results = new Map<bigint, Result>();
    let ids = 0n;
    const small = () => Array.from({ length: 200 }, (_, i) => ({ id: ++ids, timeoutMs: 0, ...put(`${i}`, value) }));
    const large = () => [
      { id: ++ids, timeoutMs: 0, ...get('key'), traceparent: '0'.repeat(nearly) },
      { id: ++ids, timeoutMs: 0, ...put('key', 'value', { requestId: Buffer.alloc(nearly) }) },
    ];
    const answered = new Promise<void>((resolve, reject) => {
      session.on('data', (response: SessionResponse) => {
        for (const result of response.results) results.set(result.id, result);
        if (results.size === Number(ids)) resolve();
      });
      session.on('error', reject);
    });
    const messages = Array.from({ length: 5 }, () => [small(), ...large().map((each) => [each])]).flat();
    for (const operations of messages) session.write({ hello: undefined, operations, sentAtMs: 0 });
    await answered;
    const failed = [...results.values()].flatMap(({ error }) => (error === undefined ? [] : [Number(error.reason)]));
    assert.deepEqual(
      failed,
      Array.from({ length: 5 }, () => Number(Reason.REQUEST_ID_TOO_LONG)),
    );
    session.end();
  } finally {
    client.close();
  }
  await withClient({ endpoints: [cluster.router.address] }, (other) => other.put('other', 'value'));
  for (const { admin, name } of cluster.nodes) {
    const metrics = await metricsPageOf(admin);
    assert.doesNotMatch(metrics, /cartwheel_rpc_seconds_count\{.*RESOURCE_EXHAUSTED.*Session/, name);
    assert.doesNotMatch(metrics, /cartwheel_rpc_seconds_count\{.*Session.*RESOURCE_EXHAUSTED/, name);
  }
});
