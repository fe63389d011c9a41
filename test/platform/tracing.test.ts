/** Which operations are traced, and that their spans reach a collector. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { neverCancelled } from '../../services/core/cancellation.ts';
import { Failure } from '../../services/core/failure.ts';
import type { PartOfOperation } from '../../services/core/ports.ts';
import { createClock } from '../../services/platform/clock.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { tracedExecute } from '../../services/platform/tracing/traced.ts';
import { type OpenTracing, openTracing } from '../../services/platform/tracing/tracing.ts';
import { get } from '../storage-node/requests.ts';
import { type OtlpReceiver, startOtlpReceiver } from './otlp-receiver.ts';
import { recordingLog } from './recording-log.ts';

const part: PartOfOperation = { name: 'part', kind: 'SERVER' };
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';
const sampled = `00-${traceId}-${parentId}-01`;
const notSampled = `00-${traceId}-${parentId}-00`;

let receiver: OtlpReceiver;
before(async () => {
  receiver = await startOtlpReceiver();
});
after(() => receiver.close());

function open(ratio: number, endpoint?: string) {
  const metrics = createMetrics({ service: 'test' });
  const log = recordingLog();
  const shared = { ratio, service: 'test', instance: 'one', clock: createClock(), log, metrics };
  return { metrics, log, opened: openTracing({ ...shared, endpoint }) };
}

async function tracing(ratio: number): Promise<OpenTracing> {
  return (await open(ratio, receiver.endpoint).opened) as OpenTracing;
}

test('without an endpoint there is no tracing', async () => {
  assert.equal(await open(1).opened, undefined);
});

test('nothing loads the SDK but what an endpoint asks for', () => {
  const root = new URL('../../', import.meta.url);
  let imports = 0;
  for (const folder of ['services', 'client', 'cli']) {
    const files = readdirSync(fileURLToPath(new URL(folder, root)), { recursive: true, encoding: 'utf8' });
    for (const file of files.filter((name) => name.endsWith('.ts'))) {
      const text = readFileSync(new URL(`${folder}/${file}`, root), 'utf8');
      for (const [line] of text.matchAll(/^.*['"]@opentelemetry\/.*$/gm)) {
        imports++;
        assert.match(line, /^import type |^ +import\(/, `${folder}/${file}`);
      }
    }
  }
  assert.ok(imports > 0);
});

test('the caller decides, whatever the ratio is', async () => {
  const [none, all] = [await tracing(0), await tracing(1)];
  assert.match(none.beginTrace(part, sampled)?.traceparent ?? '', new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
  assert.equal(all.beginTrace(part, notSampled), undefined);
  assert.equal(all.begin(part, notSampled), undefined);
});

test('where nobody has decided the ratio does, and only where a trace may begin', async () => {
  const [none, all] = [await tracing(0), await tracing(1)];
  for (const nothing of [
    undefined,
    '',
    'garbage',
    `00-${'0'.repeat(32)}-${parentId}-01`,
    `ff-${traceId}-${parentId}-01`,
  ]) {
    assert.equal(none.beginTrace(part, nothing), undefined);
    assert.match(all.beginTrace(part, nothing)?.traceparent ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    assert.equal(all.begin(part, nothing), undefined);
  }
});

test('a span reaches the collector with its parent, its attributes and why it failed', async () => {
  const open = await tracing(0);
  const outer = open.beginTrace({ ...part, name: 'outer', attributes: { 'cartwheel.replica': 'n1' } }, sampled);
  const inner = open.begin({ ...part, name: 'inner', kind: 'CLIENT' }, outer?.traceparent);
  inner?.set('cartwheel.attempt', 2);
  inner?.end(new Failure('OVERLOADED', 'full'));
  outer?.end();
  await open.close();
  const [first, second] = ['outer', 'inner'].map((name) => receiver.spans.find((span) => span.name === name));
  assert.deepEqual(first, {
    ...{ service: 'cartwheel-test', instance: 'one', traceId, parentId, name: 'outer', kind: 'SERVER' },
    ...{ id: outer?.traceparent.split('-')[2], attributes: { 'cartwheel.replica': 'n1' }, isError: false },
  });
  assert.deepEqual(
    { ...second, id: '' },
    {
      ...{ service: 'cartwheel-test', instance: 'one', traceId, parentId: first?.id, name: 'inner', kind: 'CLIENT' },
      ...{ id: '', attributes: { 'cartwheel.attempt': '2', 'error.type': 'OVERLOADED' }, isError: true },
    },
  );
});

test('an operation that is not traced goes on without a traceparent', async () => {
  const seen: unknown[] = [];
  const execute = tracedExecute(
    async (operation) => {
      seen.push(operation.traceparent);
      return {};
    },
    await tracing(0),
  );
  const operation = { id: 1n, timeoutMs: 0, ...get('key') };
  const arrival = { deadline: 0, cancellation: neverCancelled, forwarded: false };
  await execute({ ...operation, traceparent: notSampled }, arrival);
  await execute({ ...operation, traceparent: 'garbage' }, arrival);
  await execute(operation, { ...arrival, relayed: true, traceparent: sampled });
  assert.deepEqual([seen[0], seen[1]], [undefined, undefined]);
  assert.match(String(seen[2]), new RegExp(`^00-${traceId}-`));
});

test('spans that the collector does not take are counted and logged', async () => {
  const { metrics, log, opened } = open(1, `${receiver.endpoint}/elsewhere/`);
  const refused = (await opened) as OpenTracing;
  refused.beginTrace(part, undefined)?.end();
  await refused.close();
  const text = await metrics.text();
  assert.match(text, /^cartwheel_spans_total\S* 1$/m);
  assert.match(text, /^cartwheel_spans_sent_total\S* 0$/m);
  assert.match(text, /^cartwheel_spans_lost_total\S* 1$/m);
  const [warning] = log.lines.filter(({ level }) => level === 'warn');
  assert.equal(warning?.fields.url, `${receiver.endpoint}/elsewhere/v1/traces`);
});

test('a collector that is away does not keep the process from stopping', async () => {
  const gone = await startOtlpReceiver();
  await gone.close();
  const away = (await open(1, gone.endpoint).opened) as OpenTracing;
  away.beginTrace(part, undefined)?.end();
  await away.close();
});
