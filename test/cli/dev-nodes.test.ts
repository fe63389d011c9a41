/** `cartwheel dev remove` where the claimant, of straw, knows less than it should; and so is the dev that would end the process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ControlRequest, listenForControl } from '../../cli/dev/control.ts';
import { storeLayout } from '../../cli/dev/directory.ts';
import { addressOf, claimantBeside } from '../../cli/dev/layout.ts';
import { ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { createClock } from '../../services/platform/clock.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { type RingChanges, statusService } from '../../services/platform/status-service.ts';
import { freeBasePort } from '../e2e/ports.ts';
import { removeDirectory, temporaryDirectory } from '../e2e/support.ts';
import { silentLog } from '../platform/recording-log.ts';
import { cartwheel } from './run-cartwheel.ts';

test('a claimant that has lost its directory, and knows no ring, is not taken to say that a node has left', async (t) => {
  const data = await temporaryDirectory();
  t.after(() => removeDirectory(data));
  const basePort = await freeBasePort();
  const storage = [1, 2, 3];
  storeLayout(data, { nodes: 3, storage, zones: 3, basePort, partitions: 64, replicas: 3, membership: 1 });
  const asked: ControlRequest[] = [];
  const control = await listenForControl(data, async (request) => {
    asked.push(request);
    return { pid: process.pid, started: [] };
  });
  t.after(() => control?.close());
  const listen = claimantBeside(addressOf(basePort)) as string;
  const server = await startGrpcServer({
    listen,
    services: [
      statusService({
        ...{ kind: ProcessKind.MEMBERSHIP, id: '', address: listen, namespaces: {} as never },
        gossip: { state: () => ({ clusterId: '', members: new Map() }) as never, ring: () => undefined },
        ...{ clock: createClock(), log: silentLog, changes: {} as RingChanges },
        claimant: () => ({
          ...{ active: true, expectedNodes: 3, joinedNodes: 0, waitingFor: '', change: undefined, ended: [] },
        }),
      }),
    ],
    ...{ log: silentLog, metrics: createMetrics({ service: 'test' }) },
  });
  t.after(() => server.drain(0));

  const { code, stdout, stderr } = await cartwheel(['dev', 'remove', 'storage-1', '--data', data]);
  assert.match(stderr, /^cartwheel: membership-1 knows no ring, and so not whether \S+ has left \(.*\)$/m);
  assert.deepEqual([code, stdout], [1, '']);
  assert.deepEqual(asked, [{ command: 'who' }]);
});
