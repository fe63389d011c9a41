/** What commands say of a change that was over before they looked at it: the claimant, of straw, remembers how it ended. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ChangeEnd, ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { createClock } from '../../services/platform/clock.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { type RingChanges, statusService } from '../../services/platform/status-service.ts';
import { freePorts } from '../e2e/ports.ts';
import { silentLog } from '../platform/recording-log.ts';
import { cartwheel } from './run-cartwheel.ts';

const ended = [
  { planId: 'd0', end: ChangeEnd.DONE, replacedBy: '' },
  { planId: 'ba', end: ChangeEnd.ROLLED_BACK, replacedBy: '' },
  { planId: '0e', end: ChangeEnd.REPLACED, replacedBy: 'd0' },
];

let server: Awaited<ReturnType<typeof startGrpcServer>>;
let endpoint: string;

before(async () => {
  const [port = 0] = await freePorts(1);
  endpoint = `127.0.0.1:${port}`;
  const gossip = { state: () => ({ clusterId: 'c', members: new Map() }) as never, ring: () => undefined };
  server = await startGrpcServer({
    listen: endpoint,
    services: [
      statusService({
        ...{ kind: ProcessKind.MEMBERSHIP, id: '', address: endpoint, gossip, namespaces: {} as never },
        ...{ clock: createClock(), log: silentLog },
        claimant: () => ({
          ...{ active: true, expectedNodes: 3, joinedNodes: 3, waitingFor: '', change: undefined, ended },
        }),
        changes: { commit: async () => ({}) } as unknown as RingChanges,
      }),
    ],
    ...{ log: silentLog, metrics: createMetrics({ service: 'test' }) },
  });
});
after(() => server.drain(0));

const commands = [
  ['ring', 'commit', '--wait'],
  ['partitions', 'double', '--commit'],
];

for (const command of commands) {
  const name = command.join(' ');
  const run = (planId: string) => cartwheel([...command, planId, '--endpoint', endpoint]);

  test(`\`${name}\` says that it is done where the change has come to its goal`, async () => {
    const { code, stdout, stderr } = await run('d0');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^done/);
  });

  for (const [planId, said] of [
    ['ba', /^cartwheel: the change was rolled back: what it had moved by then stays/],
    ['0e', /^cartwheel: another change has taken this one in: d0/],
    ['ff', /^cartwheel: the change is not under way, and the claimant does not remember how it ended/],
  ] as const) {
    test(`\`${name}\` ends with 1, and never says that it is done, where it finds ${said}`, async () => {
      const { code, stdout, stderr } = await run(planId);
      assert.match(stderr, said);
      assert.deepEqual([code, stdout, stderr.split('\n').length], [1, '', 2]);
    });
  }
}

test('`ring status` says how the last change ended', async () => {
  const { stdout } = await cartwheel(['ring', 'status', '--endpoint', endpoint]);
  assert.match(stdout, /^last {5}0e: another change, d0, has taken it in$/m);
});
