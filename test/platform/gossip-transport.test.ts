/** Gossip over gRPC, where the names of seeds lead elsewhere. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { GossipRequest, GossipResponse } from '../../proto/gen/cartwheel/membership/v1/membership.ts';
import { GossipRefused } from '../../services/core/membership/exchange.ts';
import { createGrpcGossipTransport, membershipService } from '../../services/platform/gossip/transport-grpc.ts';
import { startGrpcServer } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { freePorts } from '../e2e/ports.ts';
import { hangMs } from '../e2e/support.ts';
import { startMute, startNameService } from './name-service.ts';
import { silentLog } from './recording-log.ts';

const request = GossipRequest.fromPartial({ wireVersion: 1 });

async function startSeed(t: TestContext, listen: string, responderId: string) {
  const server = await startGrpcServer({
    ...{ listen, log: silentLog, metrics: createMetrics({ service: 'test' }) },
    services: [membershipService({ handle: () => GossipResponse.fromPartial({ responderId }) }, silentLog)],
  });
  const stop = () => server.drain(0);
  t.after(stop);
  return { stop };
}

async function setUp(t: TestContext) {
  const names = startNameService(t);
  const [port] = await freePorts(1);
  const clock = createManualClock();
  const transport = createGrpcGossipTransport(clock);
  t.after(() => transport.close());
  const call = async (timeoutMs = hangMs) =>
    (await transport.exchange(`seed.test:${port}`, request, timeoutMs)).responderId;
  return { names, port: port as number, clock, call };
}

test('a seed made anew at another address is found under its old name by the next call', {
  timeout: hangMs,
}, async (t) => {
  const { names, port, call } = await setUp(t);
  names.set('seed.test', '127.0.0.1');
  const before = await startSeed(t, `127.0.0.1:${port}`, 'before');
  assert.equal(await call(), 'before');
  await before.stop();
  await startSeed(t, `127.0.0.2:${port}`, 'after');
  await assert.rejects(call(), /UNAVAILABLE/);
  names.set('seed.test', '127.0.0.2');
  assert.equal(await call(), 'after');
});

test('a seed is found where its name leads by now, after a minute, though somebody answers at its old address', {
  timeout: hangMs,
}, async (t) => {
  const { names, port, clock, call } = await setUp(t);
  names.set('seed.test', '127.0.0.1');
  await startSeed(t, `127.0.0.1:${port}`, 'old');
  await startSeed(t, `127.0.0.2:${port}`, 'new');
  assert.equal(await call(), 'old');
  names.set('seed.test', '127.0.0.2');
  assert.equal(await call(), 'old');
  assert.equal(names.asked('seed.test'), 1);
  clock.jump(61_000);
  await call();
  assert.equal(await call(), 'new');
});

test('a machine that is gone without a word costs a call its time, and the next call asks for the name again', {
  timeout: hangMs,
}, async (t) => {
  const { names, port, call } = await setUp(t);
  t.after(await startMute('127.0.0.1', port));
  names.set('seed.test', '127.0.0.1');
  await assert.rejects(call(200), /DEADLINE_EXCEEDED/);
  await startSeed(t, `127.0.0.2:${port}`, 'new');
  names.set('seed.test', '127.0.0.2');
  assert.equal(await call(), 'new');
});

test('a refusal is told from a failure', { timeout: hangMs }, async (t) => {
  const { names, port, call } = await setUp(t);
  names.set('seed.test', '127.0.0.1');
  const server = await startGrpcServer({
    ...{ listen: `127.0.0.1:${port}`, log: silentLog, metrics: createMetrics({ service: 'test' }) },
    services: [
      membershipService(
        {
          handle() {
            throw new GossipRefused('FAILED_PRECONDITION', 'of another cluster');
          },
        },
        silentLog,
      ),
    ],
  });
  t.after(() => server.drain(0));
  await assert.rejects(call(), (error) => error instanceof GossipRefused && error.message === 'of another cluster');
});
