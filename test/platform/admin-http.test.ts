import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { startAdminServer } from '../../services/platform/admin-http.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { parsePrometheusText } from '../contract/prometheus-text.ts';
import { recordingLog } from './recording-log.ts';

async function startAdmin(listen = '127.0.0.1:0') {
  const metrics = createMetrics({ service: 'test' });
  const state = { ready: { ok: false, reason: 'no ring yet' } as { ok: boolean; reason?: string } };
  const log = recordingLog();
  const probes = { startup: () => ({ ok: true }), live: () => ({ ok: true }), ready: () => state.ready };
  const server = await startAdminServer({ listen, metrics, probes, log });
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`http://${server.address}${path}`, { method });
    return { status: response.status, body: await response.text(), headers: response.headers };
  };
  return { server, state, metrics, log, ask };
}

test('probes answer 200 when they hold, 503 with the reason when not', async () => {
  const { server, state, ask } = await startAdmin();
  assert.deepEqual([(await ask('/livez')).status, (await ask('/startupz?verbose')).status], [200, 200]);
  const notReady = await ask('/readyz');
  assert.deepEqual([notReady.status, notReady.body], [503, 'no ring yet\n']);
  state.ready = { ok: true };
  assert.deepEqual((await ask('/readyz')).body, 'ok\n');
  await server.close();
});

test('/metrics is the scrape, under its content type', async () => {
  const { server, metrics, ask } = await startAdmin();
  metrics.counter('c_total', 'A counter.').add(3);
  const { body, headers } = await ask('/metrics');
  assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  assert.equal(parsePrometheusText(body).get('c_total')?.samples[0]?.value, 3);
  await server.close();
});

test('other paths are 404 with the list of those there are; other methods 405; HEAD has no body', async () => {
  const { server, ask } = await startAdmin();
  const missing = await ask('/nope');
  assert.equal(missing.status, 404);
  for (const path of ['/livez', '/readyz', '/startupz', '/metrics']) assert.ok(missing.body.includes(path));
  const posted = await ask('/metrics', 'POST');
  assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD']);
  const head = await ask('/livez', 'HEAD');
  assert.deepEqual([head.status, head.body, head.headers.get('content-length')], [200, '', '3']);
  await server.close();
});

test('a probe that throws is a 500 that the log has, and the next one is answered', async () => {
  const { server, metrics, log, ask } = await startAdmin();
  let isBroken = true;
  metrics.gauge('g', 'A gauge.', () => {
    if (isBroken) throw new Error('no number');
    return 1;
  });
  assert.equal((await ask('/metrics')).status, 500);
  assert.match(String(log.lines[0]?.fields.err), /no number/);
  isBroken = false;
  assert.equal((await ask('/metrics')).status, 200);
  await server.close();
});

test('bytes that are no HTTP end that connection only', async () => {
  const { server, ask } = await startAdmin();
  const socket = connect(Number(server.address.split(':')[1]), '127.0.0.1');
  socket.on('error', () => {});
  socket.end(Buffer.alloc(100_000, 7));
  socket.resume();
  await new Promise((resolve) => socket.on('close', resolve));
  assert.equal((await ask('/livez')).status, 200);
  await server.close();
});

test('close ends connections that are kept alive, and a taken port says which', async () => {
  const { server, ask } = await startAdmin();
  await ask('/livez');
  await assert.rejects(startAdmin(server.address), new RegExp(`--admin: cannot listen on ${server.address}`));
  const idle = connect(Number(server.address.split(':')[1]), '127.0.0.1');
  await once(idle, 'connect');
  await server.close();
});
