/** Nodes that have left are in the ring for ever; nobody connects to them. */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { connect } from '../../client/index.ts';
import { KeyValueServiceService } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import { createRing } from '../../services/core/ring/ring.ts';
import { createClock } from '../../services/platform/clock.ts';
import { bidi, unary } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createSessionServer } from '../../services/platform/streams/session-server.ts';
import { readConfig } from '../../services/router/config.ts';
import { startRouter } from '../../services/router/server.ts';
import { startFakeNode } from '../e2e/fake-node.ts';
import { freePorts } from '../e2e/ports.ts';
import { hangMs, until } from '../e2e/support.ts';
import { silentLog } from '../platform/recording-log.ts';

const clock = createClock();

/** Answers each get with nothing. */
const sessions = createSessionServer({
  ...{ clock, limits: requestLimits, log: silentLog, metrics: createMetrics({ service: 'test' }) },
  ringVersion: () => undefined,
  execute: async () => ({ get: { siblings: [], omitted: [], context: Buffer.alloc(0), certificate: undefined } }),
});
const notServed = unary<unknown, never>(silentLog, async () => {
  throw new Failure('NOT_IMPLEMENTED', 'not in this test');
});
const keyValue = {
  definition: KeyValueServiceService,
  implementation: {
    ...{ get: notServed, put: notServed, delete: notServed, explain: notServed },
    ...{ listKeys: notServed, watchRing: notServed },
    session: bidi(silentLog, (stream: Parameters<typeof sessions.serve>[0]) => sessions.serve(stream)),
  },
};

test('neither a router nor a client connects to a node that has left', { timeout: hangMs }, async (t) => {
  let connections = 0;
  const left = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => left.listen(0, '127.0.0.1', resolve));
  t.after(() => left.close());
  const [seed, listen, admin] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`) as [string, string, string];
  const node = await startFakeNode({ id: 'here', seed, address: seed, services: () => [keyValue] });
  t.after(() => node.stop());
  const nodeAt = (index: number, id: string, address: string) => ({ index, id, address, host: id, zone: id });
  const ring = createRing({
    ...{ version: { term: 1n, sequence: 1n }, partitions: 1, replicas: 1, pending: new Map() },
    nodes: [
      { ...nodeAt(0, 'left', `127.0.0.1:${(left.address() as AddressInfo).port}`), status: 'LEFT' },
      { ...nodeAt(1, 'here', seed), status: 'UP' },
    ],
    owners: Uint16Array.of(1),
  });
  await node.gossip.issue(ring, 'cluster');
  const config = readConfig(
    ['--listen', listen, '--admin', admin, '--seeds', seed, '--log-level', 'error', '--drain', '0s'],
    {},
  );
  const stop = await startRouter(config);
  t.after(() => stop('the test is over'));
  await until('the router is ready', async () => (await fetch(`http://${admin}/readyz`)).ok);
  const client = connect({ endpoints: [listen], direct: true });
  t.after(() => client.close());
  assert.deepEqual((await client.get('k')).siblings, []);
  assert.equal(connections, 0);
  const { peers } = await client.status();
  assert.deepEqual(
    peers.map(({ nodeId }) => nodeId),
    ['here'],
  );
});
