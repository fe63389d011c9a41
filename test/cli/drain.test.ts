/**
 * What the Job before an upgrade does, with a claimant and a Kubernetes of straw, and nodes that only say who they are:
 * number 10 to 13, by their addresses, of which 13 is to go.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { drain } from '../../cli/kubernetes/drain.ts';
import type { CartwheelClient } from '../../client/index.ts';
import { ChangeEnd, ProcessKind } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { DRAINED_TO, WANTED } from '../../services/core/membership/scale.ts';
import { createClock } from '../../services/platform/clock.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import type { Kubernetes, Notes } from '../../services/platform/kubernetes/api.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { statusService } from '../../services/platform/status-service.ts';
import { freePorts } from '../e2e/ports.ts';
import { silentLog } from '../platform/recording-log.ts';

const up = 2;
const left = 4;
const numbers = [10, 11, 12, 13];
// Elsewhere the loopback interface has one address only.
const skip = process.platform !== 'linux' && 'it needs the addresses 127.0.0.10 to 13';

const servers: Awaited<ReturnType<typeof startGrpcServer>>[] = [];
let port: number;

before(async () => {
  if (skip !== false) return;
  [port = 0] = await freePorts(1);
  for (const number of numbers) {
    const gossip = { state: () => ({ clusterId: 'c', members: new Map() }) as never, ring: () => undefined };
    const options = { kind: ProcessKind.STORAGE_NODE, address: '', gossip, namespaces: {} as never, log: silentLog };
    servers.push(
      await startGrpcServer({
        listen: `127.0.0.${number}:${port}`,
        services: [statusService({ ...options, id: `n${number}`, clock: createClock() })],
        ...{ log: silentLog, metrics: createMetrics({ service: 'test' }) },
      }),
    );
  }
});
after(() => Promise.all(servers.map((server) => server.drain(0))));

interface World {
  /** What was asked of the claimant, and how many pods were wanted then. */
  readonly calls: readonly string[];
  wanted(): string | undefined;
  run(): Promise<void>;
}

interface WorldOptions {
  /** Of number 13. */
  readonly status?: number;
  /** A node that nobody runs. */
  readonly silent?: number;
  readonly withoutSource?: readonly number[];
  readonly stalls?: boolean;
  /** Somebody rolls it back, and it has ended when it is looked at. */
  readonly isGivenUp?: boolean;
}

function world({
  status = up,
  silent,
  withoutSource = [],
  stalls = false,
  isGivenUp = false,
}: WorldOptions = {}): World {
  const calls: string[] = [];
  const members = numbers.map((number) => ({
    id: `n${number}`,
    address: `127.0.0.${number}:${number === silent ? 1 : port}`,
    ...{ status: number === 13 ? status : up, incarnation: 1n, host: '', zone: '' },
  }));
  let kept: Notes = { name: 'scale', version: '1', notes: { [WANTED]: '14', [DRAINED_TO]: '13' } };
  let change: object | undefined;
  const ended: object[] = [];
  const call = (what: string) => void calls.push(`${what} (${kept.notes[WANTED]} wanted)`);
  const client = {
    changes: {
      status: async () => ({ members, claimant: { waitingFor: '', change, ended } }),
      async plan({ leave }: { leave: string[] }) {
        call(`plan ${leave.join()}`);
        const nodes = members.map(({ id, address, status }) => ({
          id,
          address,
          status: leave.includes(id) ? left : status,
        }));
        return { planId: 'p', nodes, transfers: [], partitions: 1, bytes: 1n, partitionsWithoutSource: withoutSource };
      },
      async commit(id: string) {
        call(`commit ${id}`);
        for (const member of members) if (member.id === 'n13' && !isGivenUp) member.status = left;
        ended.push({ planId: id, end: isGivenUp ? ChangeEnd.ROLLED_BACK : ChangeEnd.DONE, replacedBy: '' });
        if (stalls) change = { planId: id, partitionsLeft: 1, partitionsInFlight: 1, bytes: 1n, bytesMoved: 0n };
      },
      control: async (what: string) => call(what),
    },
  } as unknown as CartwheelClient;
  const kubernetes = {
    notes: async () => kept,
    async replaceNotes(_: Notes, notes: Notes['notes']) {
      kept = { ...kept, notes };
      return kept;
    },
  } as unknown as Kubernetes;
  const options = {
    to: 13,
    pattern: `127.0.0.{}:${port}`,
    scaleAccount: 'scale',
    stalledAfterMs: 1,
    answerWithinMs: 500,
  };
  return { calls, wanted: () => kept.notes[WANTED], run: () => drain(client, kubernetes, options) };
}

test('nodes that are to go leave, and are not wanted from before they do', { skip }, async () => {
  const { calls, wanted, run } = world();
  await run();
  assert.deepEqual(calls, ['plan n13 (14 wanted)', 'commit p (13 wanted)']);
  assert.equal(wanted(), '13');
});

test('where they have left already, nothing is asked of the claimant', { skip }, async () => {
  const { calls, run } = world({ status: left });
  await run();
  assert.deepEqual(calls, []);
});

test('where a node of the ring does not answer, nothing is begun', { skip }, async () => {
  const { calls, wanted, run } = world({ silent: 11 });
  await assert.rejects(run(), /1 node of the ring does not answer: 127\.0\.0\.11:1/);
  assert.deepEqual(calls, []);
  assert.equal(wanted(), '14');
});

test('where data would be lost, nothing is begun', { skip }, async () => {
  const { calls, wanted, run } = world({ withoutSource: [3, 4] });
  await assert.rejects(run(), /all owners of 2 partitions are down/);
  assert.deepEqual(calls, ['plan n13 (14 wanted)']);
  assert.equal(wanted(), '14');
});

test('where it comes no further, it is rolled back, and as many are wanted as before', { skip }, async () => {
  const { calls, wanted, run } = world({ stalls: true });
  await assert.rejects(run(), /the nodes have not left: no further for/);
  assert.deepEqual(calls, ['plan n13 (14 wanted)', 'commit p (13 wanted)', 'ROLL_BACK (13 wanted)']);
  assert.equal(wanted(), '14');
});

test('where somebody else rolls it back, it does not say that they have left', { skip }, async () => {
  const { wanted, run } = world({ isGivenUp: true });
  await assert.rejects(run(), /the nodes have not left: the change was rolled back/);
  assert.equal(wanted(), '14');
});
